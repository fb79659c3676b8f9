from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from deployments import retention
from deployments.retention import Rule


class Command(BaseCommand):
    help = "Removes what nothing asks for any more, in small batches; a job does the same every hour."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *args: Any, **options: Any) -> None:
        for rule, rows in _counted() if options["dry_run"] else retention.run(budget_sec=float("inf")):
            self.stdout.write(f"{rows:>12,}  {rule.words}")


def _counted() -> Iterator[tuple[Rule, int]]:
    return ((rule, retention.count(rule)) for rule in retention.rules())
