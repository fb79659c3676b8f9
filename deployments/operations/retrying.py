"""Try again: a deployment of its own for the devices that a finished one has left failed or skipped."""

from typing import Final

from django.utils import timezone

from deployments import audit
from deployments.engine import moves
from deployments.locking import locked
from deployments.models import Deployment, DeploymentTask
from deployments.operations import dry_run, follow_up, lifecycle
from deployments.rules import wording
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import TERMINAL, TaskStatus
from mdm.people import Actor
from mdm.problems import Conflict

PERMISSION: Final = "deployments.operate_deployment"
AGAIN: Final = (TaskStatus.FAILED, TaskStatus.SKIPPED)


def left(deployment: Deployment) -> int:
    """Devices that it would be tried on again."""
    return DeploymentTask.objects.filter(deployment=deployment, status__in=AGAIN).count()


def retry(actor: Actor, deployment_id: int, *, expected_status: str | None = None) -> int:
    """The id of the new deployment: same version, same options. NotFound; Conflict while it runs, when it was
    tried again already, where nobody is left, or while nothing may be started; Invalid where its window is over."""
    actor.require(PERMISSION)
    with locked(deployment_id) as held:
        first = held.deployment
        _check(first, expected_status)
        lifecycle.check_switch(held.switch)
        options = DeploymentOptions.from_json(first.options)
        dry_run.check(options, "selection", timezone.now())
        count = left(first)
        made = follow_up.create(
            actor,
            first.to_version,
            options,
            f"Retry of #{first.pk} for {wording.devices(count)} requested",
            query={"retry_of": first.pk},
            retry_of=first,
            bad_version_id=first.bad_version_id,
            install_mode=first.install_mode,
        )
        text = f"Tried again for {wording.devices(count)}: deployment #{made.pk}"
        audit.record(first.pk, text, actor=actor, meta={"retry": made.pk, "count": count})
    return made.pk


def _check(first: Deployment, expected_status: str | None) -> None:
    lifecycle.check_expected(first, expected_status)
    if first.status not in TERMINAL:
        raise moves.not_legal(first, "tried again before it has ended")
    status = {"current_status": first.status}
    if done := tried_by(first.pk):
        text = f"It was tried again already, by deployment #{done}."
        raise Conflict(text, slug="retried_already", extra={**status, "deployment_id": done})
    version = dry_run.deployable_version(first.to_version_id)
    if version.withdrawn_at is not None:
        raise Conflict("The version was withdrawn.", slug="version_withdrawn", extra=status)
    if not left(first):
        raise Conflict("No device failed or was skipped.", slug="nothing_to_retry", extra=status)


def tried_by(deployment_id: int) -> int | None:
    """The deployment that has tried this one again."""
    tries = Deployment.objects.filter(retry_of=deployment_id)
    return tries.order_by("-id").values_list("id", flat=True).first()
