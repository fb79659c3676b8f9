from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mdm.people import SYSTEM
from mdm.watch import audit_export


class Command(BaseCommand):
    help = "Writes the audit logs as JSON lines to standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=int, default=0, metavar="ID", help="only rows with a greater id")
        parser.add_argument("--deployment", type=int, metavar="ID", help="only the log of this deployment")

    def handle(self, *args: Any, **options: Any) -> None:
        lines = audit_export.export(SYSTEM, since=options["since"], deployment_id=options["deployment"])
        for chunk in lines:
            self.stdout.write(chunk, ending="")
