from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deployments.models import Deployment
from deployments.reading.log_replay import differences
from mdm.watch.seal_check import Check
from mdm.watch.seal_head import Head


class Command(BaseCommand):
    help = (
        "Rebuilds the statuses of a deployment from its audit log and checks the log's seals."
        " Exit 0: log and tables agree and every seal holds; 1: they do not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("deployment_id", nargs="?", type=int)
        which.add_argument(
            "--all", action="store_true", help="every deployment, and everything that is sealed"
        )
        parser.add_argument(
            "--head",
            type=_head,
            action="append",
            default=[],
            metavar="NUMBER:MAC",
            help="a seal that must still be there, as a log line or an alert tells it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = Deployment.objects.order_by("id").values_list("id", flat=True)
        only = None if options["all"] else options["deployment_id"]
        if only is not None:
            wanted = wanted.filter(pk=only)
            if not wanted.exists():
                raise CommandError(f"There is no deployment {only}.")
        self.checked = 0
        differing = self._say_all(self._statuses(wanted.iterator()))
        check = Check(only, options["head"])
        broken = self._say_all(check.faults())
        if differing:
            self.stderr.write(f"Log and tables differ in {differing:,} places.")
        if broken:
            self.stderr.write(f"{broken:,} seals do not hold.")
        if differing or broken:
            raise CommandError("The audit log is not to be trusted as it is.")
        self.stdout.write(f"Log and tables agree ({self.checked:,} deployments).")
        fresh = f"; {check.unsealed:,} events are too new" if check.unsealed else ""
        self.stdout.write(f"Every seal holds ({check.seals:,} seals over {check.rows:,} events{fresh}).")

    def _statuses(self, deployment_ids: Iterator[int]) -> Iterator[str]:
        for deployment_id in deployment_ids:
            self.checked += 1
            yield from (f"#{deployment_id}: {sentence}" for sentence in differences(deployment_id))

    def _say_all(self, sentences: Iterator[str]) -> int:
        count = 0
        for sentence in sentences:
            count += 1
            self.stdout.write(sentence)
        return count


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
