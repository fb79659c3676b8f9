"""Deployments that run, in their window, with devices that could go on, and in which nothing moves."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from deployments.engine import turns
from deployments.engine.eligibility import REASON_OF_MANY
from deployments.models import Deployment
from deployments.reading import summary
from deployments.rules.states import DeploymentStatus

# A refused report or a note is no progress; what was said about the deployment as a whole (resumed, window open,
# gate) starts the clock anew. The newest thousand are looked at, so that refusals without end cost no scan.
_LAST_MOVE: Final = """SELECT max(created_at) FROM (SELECT created_at, device_id, meta FROM deployment_event
    WHERE deployment_id = %s ORDER BY id DESC LIMIT 1000) newest WHERE device_id IS NULL OR meta ? 'after'"""
# Ready, and heard of since the last move: it came and got nothing.
_READY: Final = f"""{turns.NEXT} SELECT count(*) FROM deployment_task t
    JOIN device d ON d.id = t.device_id JOIN heartbeat h ON h.device_id = d.id
    WHERE t.id IN (SELECT id FROM next) AND h.received_at > %(since)s AND {REASON_OF_MANY} = '{turns.READY}'"""


@dataclass(frozen=True, slots=True)
class Stalled:
    """`since`: the last move. `ready`: devices that were heard of since, of the first 2,000 whose turn it is."""

    deployment: Deployment
    since: datetime
    ready: int


def stalled(now: datetime, patience: timedelta) -> list[Stalled]:
    running = Deployment.objects.filter(status=DeploymentStatus.RUNNING, started_at__lt=now - patience)
    found = [_look(deployment, now, patience) for deployment in running.select_related("to_version__apk")]
    return [each for each in found if each is not None]


def _look(deployment: Deployment, now: datetime, patience: timedelta) -> Stalled | None:
    with connection.cursor() as cursor:
        cursor.execute(_LAST_MOVE, [deployment.pk])
        (moved,) = cursor.fetchone() or (None,)
        since = moved or deployment.started_at or now
        if since > now - patience:
            return None
        params = summary.terms_of(deployment).params()
        chunk = {"id": deployment.pk, "since": since, "limit": turns.CHUNKS[1], "offset": 0}
        cursor.execute(_READY, params | chunk)
        (ready,) = cursor.fetchone() or (0,)
    return Stalled(deployment, since, ready) if ready else None
