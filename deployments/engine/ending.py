"""The end of tasks that a person gives up: all of a deployment that is canceled, all of a device that is retired."""

from datetime import datetime
from typing import Final

from django.db import connection

from deployments import audit
from mdm.people import Actor

# What is in flight keeps its device until the device reports or the old deadline passes; one that is only waited for
# to come up has reported, so it lets go at once.
_END: Final = f"""WITH before AS MATERIALIZED (SELECT id, status, attempt, phase FROM deployment_task
    WHERE {{whose}} = %(id)s AND (status IN ('queued', 'throttled', 'waiting_window', 'sending', 'installing')
        OR status = 'skipped' AND next_run_at IS NOT NULL) FOR UPDATE),
changed AS (UPDATE deployment_task t SET status = 'skipped', reason = %(reason)s, phase = '', progress = NULL,
        next_run_at = NULL, finished_at = %(now)s, updated_at = %(now)s,
        in_flight_until = CASE WHEN b.phase = 'verifying' THEN NULL ELSE t.in_flight_until END
    FROM before b WHERE t.id = b.id
    RETURNING t.deployment_id, t.device_id, jsonb_build_object('task', t.id, 'after', 'ended',
        'reason', t.reason, 'before', CASE WHEN b.status IN ('queued', 'throttled', 'waiting_window')
            THEN 'waiting' ELSE b.status END) AS meta),
closed AS (UPDATE deployment_attempt a SET finished_at = %(now)s, outcome = 'canceled', error_code = %(reason)s
    FROM before b WHERE b.phase = 'verifying' AND a.task_id = b.id AND a.number = b.attempt)
{audit.LOG_CHANGED}"""
_OF_DEPLOYMENT: Final = _END.format(whose="deployment_id")
_OF_DEVICE: Final = _END.format(whose="device_id")


def end_tasks_of_deployment(deployment_id: int, actor: Actor, now: datetime) -> None:
    """The caller holds the deployment's lock and tells the devices to stop."""
    _end(_OF_DEPLOYMENT, actor, id=deployment_id, reason="canceled", event="Canceled", now=now)


def end_tasks_of_device(device_id: int, actor: Actor, now: datetime) -> None:
    """In every deployment. The caller holds the device's lock and tells it to stop."""
    _end(_OF_DEVICE, actor, id=device_id, reason="device_retired", event="The device was retired", now=now)


def _end(statement: str, actor: Actor, **params: int | str | datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, {**params, **audit.signed(actor)})
