"""From queued to running: once the devices are planned and, where that is needed, another person has approved."""

from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from deployments import audit
from deployments.engine import bell, moves, planner
from deployments.locking import locked
from deployments.models import Deployment
from deployments.operations import approval, lifecycle
from deployments.rules.states import DeploymentStatus
from mdm.people import Actor
from mdm.problems import Conflict, Forbidden

PERMISSION: Final = "deployments.approve_deployment"


def begin(deployment: Deployment) -> None:
    """One step of a queued deployment, under its lock."""
    now = timezone.now()
    _plan(deployment, now)
    if not approval.is_missing(deployment):
        start = deployment.approved_at or now
        moves.move(deployment, DeploymentStatus.RUNNING, "Started", started_at=start)


def _plan(deployment: Deployment, now: datetime) -> None:
    if deployment.planned_at is not None:
        return
    planner.plan(deployment, now)
    if approval.is_missing(deployment):
        count, limit = deployment.target.resolved_count, settings.APPROVAL_ABOVE
        text = f"Waits for another person's approval: {count:,} devices are more than {limit:,}"
        audit.record(deployment.pk, text, level="warn", meta={"targets": count, "approval_above": limit})


def approve(
    actor: Actor, deployment_id: int, *, reason: str = "", expected_status: str | None = None
) -> None:
    """Lets it start, at this moment; one that is paused starts when it is resumed. Approved already: nothing changes.

    Forbidden for who asked for it; Conflict with `current_status` where there is nothing to approve."""
    actor.require(PERMISSION)
    assert actor.user is not None  # the system approves nothing
    with locked(deployment_id) as held:
        deployment = held.deployment
        lifecycle.check_expected(deployment, expected_status)
        if deployment.approved_at is not None:
            return
        now = timezone.now()
        if deployment.status == DeploymentStatus.QUEUED:
            _plan(deployment, now)
        if not approval.is_missing(deployment):
            status = DeploymentStatus(deployment.status)
            text = f"There is nothing to approve: the deployment is {status.label.lower()}."
            raise Conflict(text, slug="no_approval_needed", extra={"current_status": status.value})
        if deployment.created_by_id == actor.user.pk:
            raise Forbidden("Nobody approves a deployment that he has started.", slug="own_deployment")
        _approved(actor, deployment, reason, now)
        transaction.on_commit(lambda: bell.call(deployment_id))


def _approved(actor: Actor, deployment: Deployment, reason: str, now: datetime) -> None:
    columns: dict[str, Any] = {"approved_by": actor.user, "approved_at": now}
    text = f"Approved: {reason}" if reason else "Approved"
    meta = {"operator_reason": reason, "targets": deployment.target.resolved_count}
    if deployment.status == DeploymentStatus.QUEUED:
        moves.move(
            deployment, DeploymentStatus.RUNNING, text, actor=actor, meta=meta, started_at=now, **columns
        )
        return
    Deployment.objects.filter(pk=deployment.pk).update(**columns)
    audit.record(deployment.pk, text, actor=actor, meta=meta)
