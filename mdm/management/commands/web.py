from django.conf import settings
from django.core.management.base import BaseCommand
from django.urls import get_resolver
from granian.constants import Interfaces
from granian.server import Server

from mdm import counters
from mdm.lifeline import prepare_to_fork
from mdm.wsgi import application

WORKERS, THREADS = 2, 4  # the best throughput of agents' callbacks among what was measured
LINE = '%(time)s %(addr)s "%(method)s %(path)s %(protocol)s" %(status)d %(dt_ms).1f ms'  # without the query


class Command(BaseCommand):
    help = "The web server on HOST:PORT."

    def handle(self, *args: object, **options: object) -> None:
        assert get_resolver().url_patterns, "loaded now, shared by the workers"
        prepare_to_fork()
        counters.gatherer.writes_itself = True
        Server(
            "mdm.wsgi:application",
            address=settings.HOST,
            port=settings.PORT,
            interface=Interfaces.WSGI,
            workers=WORKERS,
            blocking_threads=THREADS,
            respawn_failed_workers=True,
            workers_kill_timeout=5,
            log_access=True,
            log_access_format=LINE,
        ).serve(target_loader=lambda *_: application)
