import signal

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string

from mdm.ticker import Beside, Ticker


class Command(BaseCommand):
    help = "Rings every second for deployments that are due. Several may run: one works, the others wait."

    def handle(self, *args: object, **options: object) -> None:
        ticker = Ticker(import_string(settings.TICK_CALLABLE))
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: ticker.stopping.set())
        beside = [
            Beside(import_string(act), every, ticker.stopping) for act, every in settings.BESIDE_THE_TICK
        ]
        for each in beside:
            each.start()
        ticker.run()
        for each in beside:
            each.join(timeout=3.0)
