"""What the ledger of sends proves about the limits, reckoned without any code of the product."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from deployments.models import DeploymentAttempt

MINUTE = timedelta(seconds=60)
COLUMNS = ("deployment_id", "device_id", "number", "sent_at", "finished_at")


@dataclass(frozen=True, slots=True)
class Send:
    """One row. `end` None: still in flight."""

    deployment: int
    device: int
    number: int
    start: datetime
    end: datetime | None


def sends(deployment_id: int | None = None) -> list[Send]:
    """All rows of the ledger, or one deployment's."""
    rows = DeploymentAttempt.objects.order_by("sent_at", "id")
    if deployment_id is not None:
        rows = rows.filter(deployment_id=deployment_id)
    return [Send(*row) for row in rows.values_list(*COLUMNS)]


def most_per_minute(ledger: Sequence[Send]) -> int:
    """The most sends in any half-open interval [t, t + 60 s): some such interval begins with a send."""
    starts = sorted(send.start for send in ledger)
    return max((bisect_left(starts, start + MINUTE) - index for index, start in enumerate(starts)), default=0)


def most_at_once(ledger: Sequence[Send]) -> int:
    """The most in flight at one moment: in flight from the send until just before the end."""
    edges = sorted([(send.start, 1) for send in ledger] + [(send.end, -1) for send in ledger if send.end])
    now = peak = 0
    for _, step in edges:  # where a place is freed and taken at one moment, the end (-1) sorts first
        now += step
        peak = max(peak, now)
    return peak


def twice_at_once(ledger: Iterable[Send]) -> list[tuple[Send, Send]]:
    """Pairs of sends of one deployment that were in flight on one device at the same time.

    Not to be asked of several: a send is stamped when its own deployment's limits are measured, and another
    deployment may let go of the device in the moment between that and the claim.
    """
    by_device = defaultdict(list)
    for send in ledger:
        by_device[send.device].append(send)
    return [
        (first, second)
        for each in by_device.values()
        for first, second in pairwise(each)
        if first.end is None or first.end > second.start
    ]
