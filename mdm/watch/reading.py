"""How many tasks are where, and what is late: looked at by the watch every few seconds and kept in one row, so that
neither /metrics nor an alert counts 100,000 rows anew."""

from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from deployments.reading import backlog
from deployments.reading.backlog import Backlog
from mdm.watch.models import Reading

FRESH: Final = timedelta(seconds=15)


def take(now: datetime) -> None:
    found = backlog.measure(now)
    values = {"taken_at": now, "depth": dict(found.depth), "oldest_due": found.oldest_due}
    Reading.objects.update_or_create(pk=1, defaults=values)


def latest() -> Backlog:
    """At most 15 s old: where nobody has looked for longer (no ticker, no sweep) it is measured now."""
    now = timezone.now()
    kept = Reading.objects.filter(pk=1, taken_at__gt=now - FRESH).first()
    return Backlog(kept.depth, kept.oldest_due) if kept else backlog.measure(now)
