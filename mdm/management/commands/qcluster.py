from django.core.management.base import BaseCommand

from mdm.cluster import run_cluster


class Command(BaseCommand):
    help = "One background worker (a django-q2 cluster of one). Stops at SIGTERM after the task at hand."

    def handle(self, *args: object, **options: object) -> None:
        run_cluster()
