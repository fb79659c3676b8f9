"""Deadlines in flight: whoever sent nothing gives the slot back. Guarded updates, no deployment lock."""

from datetime import datetime
from typing import Final

from deployments import attempts, bell, health
from deployments.attempts import Change, Task
from deployments.states import HARD_STOPS, Phase, TaskStatus

BATCH: Final = 500
# Time spent stopped does not count: whoever is told to stop keeps the place (see Task.stop_reason). Left out
# here, so that a great stopped deployment cannot hide the others' dead devices behind the limit.
_DUE: Final = f"""t.in_flight_until <= %s AND (t.status = 'skipped' OR NOT (s.kill_switch OR v.withdrawn_at IS NOT NULL
        OR p.status = 'paused' AND p.paused_reason = ANY(%s)))
    ORDER BY t.in_flight_until LIMIT {BATCH}"""


def reap(now: datetime) -> int:
    """Ends what is past its deadline, in every deployment; how many."""
    reaped = 0
    for task in attempts.read(_DUE, [now, [reason.value for reason in HARD_STOPS]]):
        if attempts.apply(task, _verdict(task, now), now):
            reaped += 1
            bell.ring(task.deployment_id)
    return reaped


def _verdict(task: Task, now: datetime) -> Change:
    if task.status == TaskStatus.SKIPPED:
        event = "The device was told to stop and said nothing more; it is free again"
        return attempts.clear_device(task, now, outcome="canceled", code="canceled", event=event)
    if task.status == TaskStatus.SENDING:
        return attempts.failed(task, "no_answer", "", now, acknowledged=False)
    if task.phase == Phase.VERIFYING:
        return health.not_healthy(task, now)
    return attempts.failed(task, "timed_out", "", now, acknowledged=True)
