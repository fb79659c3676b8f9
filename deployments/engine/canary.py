"""Which devices become the canary: those that could start now, most recently seen, over as many models as possible."""

from typing import Any, Final

from django.db import connection

from deployments.engine.eligibility import PUSHABLE, REASON_OF_MANY, Terms
from deployments.engine.measures import Canary
from deployments.engine.turns import READY, Candidate
from deployments.models import Deployment

_ROWS: Final = """FROM deployment_task t JOIN device d ON d.id = t.device_id
    LEFT JOIN heartbeat h ON h.device_id = d.id WHERE t.deployment_id = %(id)s"""
_MODELS_IN: Final = f"SELECT d.model {_ROWS} AND t.is_canary AND t.status <> 'skipped'"
_READY: Final = f"""{_ROWS} AND t.status IN ('queued', 'throttled', 'waiting_window') AND {PUSHABLE}
    AND {REASON_OF_MANY} = '{READY}'"""

# Each model's first device before any model's second; models that have none in the canary yet come first.
_PICK: Final = f"""SELECT id, device_id FROM (
    SELECT t.id, d.id AS device_id, h.received_at,
        (SELECT count(*) FROM ({_MODELS_IN}) used WHERE used.model = d.model)
        + row_number() OVER (PARTITION BY d.model ORDER BY h.received_at DESC) AS nth
    {_READY} AND NOT t.is_canary) spread
    ORDER BY nth, received_at DESC, id LIMIT %(limit)s"""

_AGAIN: Final = f"""SELECT t.id, d.id AS device_id {_READY} AND t.is_canary ORDER BY t.id"""

# With check-in the heartbeats come as they come. A device of a model that the canary has already is let in
# only while places remain for the models that it lacks and that are there. Who is held, waits for its time or finds
# its group full is not there; who misses a condition is skipped soon and does not count then.
_ADMITS: Final = f"""WITH used AS MATERIALIZED ({_MODELS_IN})
    SELECT EXISTS (SELECT 1 FROM deployment_task WHERE deployment_id = %(id)s AND device_id = %(device_id)s
            AND is_canary)
        OR %(free)s > 0 AND NOT EXISTS
            (SELECT 1 FROM used WHERE model = (SELECT model FROM device WHERE id = %(device_id)s))
        OR %(free)s > (SELECT count(*) FROM (SELECT DISTINCT d.model {_ROWS}
            AND t.status IN ('queued', 'throttled', 'waiting_window') AND h.received_at >= %(online_since)s
            AND (t.next_run_at IS NULL OR t.next_run_at <= %(now)s)
            AND (d.hold_until IS NULL OR d.hold_until <= %(now)s)
            AND NOT d.groups && %(full_groups)s::varchar[]
            AND NOT EXISTS (SELECT 1 FROM deployment_task o
                WHERE o.device_id = d.id AND o.in_flight_until IS NOT NULL)
            AND d.model NOT IN (SELECT model FROM used)) lacking)"""


def pick_for_push(deployment: Deployment, terms: Terms, counts: Canary, room: int) -> list[Candidate]:
    """Canary devices that try again (they hold their places), then devices for the free places."""
    again = _candidates(_AGAIN, deployment, terms)[:room]
    places = max(0, min(counts.free, room - len(again)))
    return again + _candidates(_PICK, deployment, terms, limit=places)


def _candidates(sql: str, deployment: Deployment, terms: Terms, **more: int) -> list[Candidate]:
    with connection.cursor() as cursor:
        cursor.execute(sql, terms.params() | {"id": deployment.pk, **more})
        return [Candidate(task_id, device_id, can_push=True) for task_id, device_id in cursor.fetchall()]


def admits(deployment: Deployment, device_id: int, counts: Canary, terms: Terms) -> bool:
    """Whether the device that is just checking in may take a free place; one that holds a place may try again."""
    params: dict[str, Any] = terms.params() | {
        "id": deployment.pk,
        "device_id": device_id,
        "free": counts.free,
    }
    with connection.cursor() as cursor:
        cursor.execute(_ADMITS, params)
        row = cursor.fetchone()
    return bool(row and row[0])
