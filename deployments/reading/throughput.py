"""Installs per minute of one deployment, from the ledger of sends: a stall shows here before it does in a share."""

from datetime import datetime, timedelta
from typing import Any, Final

from deployments.models import Deployment
from mdm import prepared

MINUTES: Final = 60

# The ledger has an index by send; one that took hours is missing from the drawing, not from the counts.
_PER_MINUTE: Final = """SELECT floor(extract(epoch FROM finished_at - %(start)s) / 60)::int AS minute,
    count(*), count(*) FILTER (WHERE finished_at > %(lately)s)
    FROM deployment_attempt WHERE deployment_id = %(id)s AND sent_at > %(start)s - interval '3 hours'
        AND finished_at >= %(start)s AND finished_at < %(end)s AND outcome = 'succeeded' GROUP BY minute"""


def measure(deployment: Deployment, now: datetime) -> tuple[list[int], int]:
    """Successes in each of the last 59 full minutes and the running one, and in the last 60 seconds; up to now, or
    up to the end of a deployment that has ended."""
    until = min(now, deployment.finished_at or now)
    end = until.replace(second=0, microsecond=0) + timedelta(minutes=1)
    params: dict[str, Any] = {
        "id": deployment.pk,
        "start": end - timedelta(minutes=MINUTES),
        "end": end,
        "lately": now - timedelta(seconds=60),
    }
    with prepared.cursor() as cursor:
        cursor.execute(_PER_MINUTE, params)
        rows = cursor.fetchall()
    found = {minute: count for minute, count, _ in rows}
    return [found.get(minute, 0) for minute in range(MINUTES)], sum(row[2] for row in rows)
