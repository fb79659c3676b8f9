"""Installs per minute of one deployment, from the ledger of sends: a stall shows here before it does in a share."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from deployments.models import Deployment

MINUTES: Final = 60

# A subquery: an array of (minute, successes in it, of which in the last 60 s); NULL = none. The ledger has an index
# by send; one that took hours is missing from the drawing, not from the counts.
PER_MINUTE: Final = """SELECT array_agg(ARRAY[minute, successes, lately]) FROM (
    SELECT floor(extract(epoch FROM finished_at - %(start)s) / 60)::int AS minute, count(*)::int AS successes,
        (count(*) FILTER (WHERE finished_at > %(lately)s))::int AS lately
    FROM deployment_attempt WHERE deployment_id = %(id)s AND sent_at > %(start)s - interval '3 hours'
        AND finished_at >= %(start)s AND finished_at < %(end)s AND outcome = 'succeeded' GROUP BY minute) minutes"""


def span(deployment: Deployment, now: datetime) -> dict[str, Any]:
    """Parameters of PER_MINUTE: up to now, or up to the end of a deployment that has ended."""
    until = min(now, deployment.finished_at or now)
    end = until.replace(second=0, microsecond=0) + timedelta(minutes=1)
    start = end - timedelta(minutes=MINUTES)
    return {"id": deployment.pk, "start": start, "end": end, "lately": now - timedelta(seconds=60)}


def drawn(found: Iterable[tuple[int, int, int]] | None) -> tuple[list[int], int]:
    """Successes in each of the last 59 full minutes and the running one, and in the last 60 seconds."""
    rows = list(found or ())
    successes = {minute: count for minute, count, _ in rows}
    return [successes.get(minute, 0) for minute in range(MINUTES)], sum(row[2] for row in rows)
