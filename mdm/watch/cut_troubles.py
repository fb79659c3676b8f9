"""What keeps old events from being moved into files: found by the job that moves them, kept in one row, told as alerts.

Kept, because the job runs once an hour and the watch looks every few seconds; and because a run whose time is up has
not seen everything, so that what it did not come to is believed as it was found before.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from django.db.models import F
from django.utils import timezone

from mdm.watch.models import LastCut

ARCHIVE: Final = "archive"
DATABASE: Final = "database"
CUT_SHORT: Final = "run"
TRIES: Final = 4  # the one under way, and three before it that came to no end
_NO_END: Final = (
    "Moving old events into files has begun again and again and come to no end. The workers' log says why."
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """`subject`: the archive, the database, a key or a deployment; one trouble of each is told."""

    subject: str
    message: str
    deployment_id: int | None = None


def begin() -> None:
    """Whoever is killed before `end` is counted."""
    now = timezone.now()
    if not LastCut.objects.update(begun_at=now, tries=F("tries") + 1):
        LastCut.objects.create(begun_at=now, tries=1)


def end(found: Sequence[Trouble], overcome: Collection[str] | None) -> None:
    """What was found stands from now on. `overcome`: the subjects whose troubles are over; None = all others."""
    known = {trouble.subject for trouble in found}
    kept = [
        trouble
        for trouble in _told(LastCut.objects.get())
        if overcome is not None and trouble.subject not in known and trouble.subject not in overcome
    ]
    LastCut.objects.update(tries=0, troubles=[asdict(trouble) for trouble in (*found, *kept)])


def standing() -> Iterator[Trouble]:
    for last in LastCut.objects.all():  # one, or none
        yield from _told(last)
        if last.tries >= TRIES:
            yield Trouble(CUT_SHORT, _NO_END)


def _told(last: LastCut) -> list[Trouble]:
    return [Trouble(**each) for each in last.troubles]
