"""One device of a deployment: where it stands and why, every check, each send, and what the log says of it."""

from typing import Any, Final

from django.utils import timezone

from deployments.models import DeploymentAttempt, DeploymentEvent, DeploymentTask
from deployments.pages import device_checks, device_table
from deployments.reading import finding

SENDS: Final = 10
EVENTS: Final = 10


def show(deployment_id: int, task_id: int) -> dict[str, Any] | None:
    """What the drawer shows; None where the deployment has no such task. NotFound."""
    deployment = finding.find(deployment_id)
    task = DeploymentTask.objects.select_related("device").filter(pk=task_id, deployment=deployment).first()
    rows = device_table.some(deployment, [task_id]) if task else []
    if task is None or not rows:
        return None
    task.deployment = deployment
    (row,) = rows
    events = DeploymentEvent.objects.filter(deployment=deployment, device=task.device_id)
    return {
        "deployment": deployment,
        "task": task,
        "name": row["device_alias"],
        "row": row,
        "now": timezone.now(),
        "checks": device_checks.checks(task),
        "sends": DeploymentAttempt.objects.filter(task=task).order_by("-number")[:SENDS],
        "events": events.order_by("-id")[:EVENTS],
    }
