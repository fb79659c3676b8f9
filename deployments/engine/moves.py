"""Moves of a deployment between its statuses, each under its lock, with its event. Doors are in lifecycle.py."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection

from deployments import audit
from deployments.models import Deployment, DeploymentTask
from deployments.rules.states import DEPLOYMENT_MOVES, RECALLING_STOPS, DeploymentStatus, PausedReason
from mdm.people import SYSTEM, Actor
from mdm.problems import Conflict

_RECALL = f"""WITH changed AS (
    UPDATE deployment_task SET status = 'queued', in_flight_until = NULL, phase = '', progress = NULL,
        updated_at = %(now)s
    WHERE deployment_id = %(id)s AND status = 'sending'
    RETURNING id, deployment_id, device_id, attempt, jsonb_build_object('task', id, 'attempt', attempt,
        'before', 'sending', 'after', 'waiting') AS meta),
closed AS (UPDATE deployment_attempt a SET finished_at = %(now)s, outcome = 'recalled'
    FROM changed WHERE a.task_id = changed.id AND a.number = changed.attempt)
{audit.LOG_CHANGED}"""


def move(
    deployment: Deployment,
    to: DeploymentStatus,
    message: str,
    *,
    actor: Actor = SYSTEM,
    level: str = "info",
    meta: Mapping[str, Any] | None = None,
    **columns: Any,
) -> None:
    """Changes the status with these further columns and logs it. Conflict where the move is not legal.

    The caller holds the deployment's lock, so the object is what the row says.
    """
    before = DeploymentStatus(deployment.status)
    if to not in DEPLOYMENT_MOVES[before]:
        raise not_legal(deployment, to)
    if before == DeploymentStatus.PAUSED:
        columns = {"paused_reason": "", "paused_at": None} | columns
    changes: dict[str, Any] = {"status": to, **columns}
    Deployment.objects.filter(pk=deployment.pk, status=before).update(**changes)
    for name, value in changes.items():
        setattr(deployment, name, value)
    details = {"before": before, "after": to} | dict(meta or {})
    audit.record(deployment.pk, message, actor=actor, level=level, meta=details)


def not_legal(deployment: Deployment, to: str) -> Conflict:
    """`to` completes the sentence: it cannot become …"""
    status = DeploymentStatus(deployment.status)
    return Conflict(
        f"The deployment is {status.label.lower()}; it cannot become {to}.",
        slug="not_legal",
        extra={"current_status": status.value},
    )


def pause(
    deployment: Deployment,
    reason: PausedReason,
    message: str,
    now: datetime,
    *,
    actor: Actor = SYSTEM,
    meta: Mapping[str, Any] | None = None,
    **columns: Any,
) -> None:
    """Nothing is claimed after this commits. A gate also calls back what was sent but not acknowledged.

    No limit holds anybody back now, so nobody is `throttled`."""
    level = "info" if reason == PausedReason.OPERATOR else "warn"
    if reason in RECALLING_STOPS:
        columns["gate_tripped_at"] = now
    move(
        deployment,
        DeploymentStatus.PAUSED,
        message,
        actor=actor,
        level=level,
        meta={"reason": reason.value} | dict(meta or {}),
        paused_reason=reason.value,
        paused_at=now,
        **columns,
    )
    DeploymentTask.objects.filter(deployment=deployment, status="throttled").update(status="queued")
    if reason in RECALLING_STOPS:
        recall_unacknowledged(deployment.pk, now)


def recall_unacknowledged(deployment_id: int, now: datetime) -> None:
    """Sends that no device has acknowledged go back to the queue; what is acknowledged goes on."""
    with connection.cursor() as cursor:
        cursor.execute(
            _RECALL,
            {
                "id": deployment_id,
                "now": now,
                "event": "Called back before the device acknowledged",
                **audit.signed(SYSTEM, "warn"),
            },
        )
