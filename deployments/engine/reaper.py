"""Deadlines in flight: whoever sent nothing gives the slot back. Guarded updates, no deployment lock."""

from datetime import datetime
from typing import Any, Final

from django.db import connection

from deployments.engine import attempts, bell, health
from deployments.engine.attempts import Change, Task
from deployments.rules.states import HARD_STOPS, Phase, TaskStatus

BATCH: Final = 500
# Time spent stopped does not count: whoever is told to stop keeps the place (see Task.stop_reason). Left out
# here, so that a great stopped deployment cannot hide the others' dead devices behind the limit.
NOT_STOPPED: Final = """NOT (s.kill_switch OR v.withdrawn_at IS NOT NULL
    OR p.status = 'paused' AND p.paused_reason = ANY(%s))"""
_PAST: Final = f"t.in_flight_until <= %s AND (t.status = 'skipped' OR {NOT_STOPPED})"
_DUE: Final = f"{_PAST} ORDER BY t.in_flight_until LIMIT {BATCH}"
_OLDEST: Final = f"""SELECT t.deployment_id, min(t.in_flight_until)
    FROM deployment_task t JOIN deployment p ON p.id = t.deployment_id
    JOIN apk_version v ON v.id = p.to_version_id CROSS JOIN fleet_switch s WHERE {_PAST}
    GROUP BY t.deployment_id"""


def reap(now: datetime) -> int:
    """Ends what is past its deadline, in every deployment; how many."""
    reaped = 0
    for task in attempts.read(_DUE, _params(now)):
        if attempts.apply(task, _verdict(task, now), now):
            reaped += 1
            bell.ring(task.deployment_id)
    return reaped


def oldest_due(now: datetime) -> list[tuple[int, datetime]]:
    """By deployment the oldest deadline that has passed and whose device still holds its slot."""
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST, _params(now))
        return list(cursor.fetchall())


def _params(now: datetime) -> list[Any]:
    return [now, [reason.value for reason in HARD_STOPS]]


def _verdict(task: Task, now: datetime) -> Change:
    if task.status == TaskStatus.SKIPPED:
        event = "The device was told to stop and said nothing more; it is free again"
        return attempts.clear_device(task, now, outcome="canceled", code="canceled", event=event)
    if task.status == TaskStatus.SENDING:
        return attempts.failed(task, "no_answer", "", now, acknowledged=False)
    if task.phase == Phase.VERIFYING:
        return health.not_healthy(task, now)
    return attempts.failed(task, "timed_out", "", now, acknowledged=True)
