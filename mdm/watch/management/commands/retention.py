from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deployments import retention
from mdm.watch import cutting


class Command(BaseCommand):
    help = (
        "Removes what nothing asks for any more, and moves events of deployments that ended long ago into files"
        " (KEEP_EVENTS_DAYS), in small batches; jobs do the same every hour."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *args: Any, **options: Any) -> None:
        for words, rows in _counted() if options["dry_run"] else _removed():
            self.stdout.write(f"{rows:>12,}  {words}")
        if not options["dry_run"]:
            self._cut()

    def _cut(self) -> None:
        done = cutting.run(budget_sec=float("inf"))
        self.stdout.write(f"{done.rows:>12,}  {cutting.WORDS}")
        if done.troubles:
            raise CommandError("\n".join(trouble.message for trouble in done.troubles))


def _removed() -> Iterator[tuple[str, int]]:
    return ((rule.words, rows) for rule, rows in retention.run(budget_sec=float("inf")))


def _counted() -> Iterator[tuple[str, int]]:
    yield from ((rule.words, retention.count(rule)) for rule in retention.rules())
    yield cutting.WORDS, cutting.count()
