from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deployments.log_replay import differences
from deployments.models import Deployment


class Command(BaseCommand):
    help = "Rebuilds the statuses of a deployment from its audit log. Exit 0: log and tables agree; 1: they do not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("deployment_id", nargs="?", type=int)
        which.add_argument("--all", action="store_true", help="every deployment")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = Deployment.objects.order_by("id").values_list("id", flat=True)
        if not options["all"]:
            wanted = wanted.filter(pk=options["deployment_id"])
            if not wanted.exists():
                raise CommandError(f"There is no deployment {options['deployment_id']}.")
        checked = found = 0
        for deployment_id in wanted.iterator():
            checked += 1
            for sentence in differences(deployment_id):
                found += 1
                self.stdout.write(f"#{deployment_id}: {sentence}")
        if found:
            raise CommandError(f"Log and tables differ in {found:,} places.")
        self.stdout.write(f"Log and tables agree ({checked:,} deployments).")
