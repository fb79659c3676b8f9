from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from deployments.models import Deployment
from deployments.reading.log_replay import differences
from mdm.watch import archive, cutting
from mdm.watch.anchors import Anchors
from mdm.watch.cut_check import ArchiveCheck
from mdm.watch.seal_check import Check
from mdm.watch.seal_head import Head

SHOWN: Final = 20  # of a list of deployments


class Command(BaseCommand):
    help = (
        "Rebuilds the statuses of a deployment from its audit log and checks the log's seals, with what was cut out of"
        " it and archived."
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
        parser.add_argument(
            "--archive",
            type=Path,
            metavar="FOLDER",
            help="where the files of what was cut out of the log lie; each must be there"
            " (otherwise AUDIT_ARCHIVE_DIR, and what is not there is left out and named)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        only = None if options["all"] else options["deployment_id"]
        if only is not None and not Deployment.objects.filter(pk=only).exists():
            raise CommandError(f"There is no deployment {only}.")
        with cutting.held_off():
            self._verify(only, options["head"], options["archive"])

    def _verify(self, only: int | None, heads: list[Head], named: Path | None) -> None:
        anchors = Anchors.read()
        archives = ArchiveCheck(anchors, named or archive.folder(), demanded=named is not None)
        check = Check(only, heads, anchors)
        self.checked = 0
        differing = self._say_all(self._statuses(only, archives))
        broken = self._say_all(chain(anchors.faults, check.faults()))
        self._say_what_was_cut(only, archives)
        if differing:
            self.stderr.write(f"Log and tables differ in {differing:,} places.")
        if broken:
            self.stderr.write(f"{broken:,} seals do not hold.")
        if differing or broken:
            raise CommandError("The audit log is not to be trusted as it is.")
        self.stdout.write(f"Log and tables agree ({self.checked:,} deployments).")
        fresh = f"; {check.unsealed:,} events are too new" if check.unsealed else ""
        self.stdout.write(f"Every seal holds ({check.seals:,} seals over {check.rows:,} events{fresh}).")

    def _statuses(self, only: int | None, archives: ArchiveCheck) -> Iterator[str]:
        wanted = Deployment.objects.order_by("id").values_list("id", flat=True)
        for deployment_id in wanted.filter(pk=only) if only is not None else wanted.iterator():
            cut = deployment_id in archives.anchors.of
            found = archives.faults(deployment_id) if cut else differences(deployment_id)
            yield from (f"#{deployment_id}: {sentence}" for sentence in found)
            self.checked += deployment_id not in archives.left_out[-1:]

    def _say_what_was_cut(self, only: int | None, archives: ArchiveCheck) -> None:
        cuts = [cut for of in archives.anchors.of.values() for cut in of if only in (None, cut.deployment_id)]
        if not cuts:
            return
        rows = sum(cut.rows for cut in cuts)
        self.stdout.write(f"Cut out of the log and archived in {archives.folder}: {rows:,} events.")
        for cut in cuts:
            self.stdout.write(
                f"  deployment {cut.deployment_id}, up to {cut.last_id:,}: {cut.rows:,} events, {cut.file}"
            )
        self.stdout.write(
            f"Rebuilt from the archive: {archives.rebuilt:,} deployments ({archives.rows:,} events)."
        )
        if archives.left_out:
            count, names = len(archives.left_out), ", ".join(f"#{pk}" for pk in archives.left_out[:SHOWN])
            self.stdout.write(f"Not seen: {count:,} deployments, whose files are not there ({names}).")

    def _say_all(self, sentences: Iterable[str]) -> int:
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
