"""The deployments of one device, on its page: where each stands there, and why it has not got the version."""

from typing import Any, Final

from django.db import connection

from deployments.engine.eligibility import OBSERVED, REASON_OF_ONE, REQUIRED, shown
from deployments.models import DeploymentTask
from deployments.pages import device_checks
from deployments.pages.details import words_of
from deployments.reading import summary
from deployments.rules.states import TaskStatus

SHOWN: Final = 50
CHECKED: Final = 3  # deployments whose every check is shown

_ONE: Final = f"""SELECT r.reason, {OBSERVED}, {REQUIRED} FROM (
        SELECT t.device_id, {shown(REASON_OF_ONE)} AS reason FROM deployment_task t
        JOIN device d ON d.id = t.device_id LEFT JOIN heartbeat h ON h.device_id = d.id
        WHERE t.id = %(task_id)s) r
    JOIN device d ON d.id = r.device_id LEFT JOIN heartbeat h ON h.device_id = d.id"""


def of_device(device_id: int) -> list[dict[str, Any]]:
    """The device's tasks, newest first, each that has not succeeded with its reason, observed and required."""
    tasks = DeploymentTask.objects.filter(device_id=device_id).order_by("-id")
    related = ("deployment__apk", "deployment__to_version__apk", "deployment__target")
    found = [_of_task(task) for task in tasks.select_related(*related)[:SHOWN]]
    for row in [row for row in found if row["task"].finished_at is None][:CHECKED]:
        row["checks"] = device_checks.checks(row["task"])
    return found


def _of_task(task: DeploymentTask) -> dict[str, Any]:
    deployment = task.deployment
    if task.finished_at is not None:
        reason = "" if task.status == TaskStatus.SUCCEEDED else task.error_code or task.reason
        words: dict[str, Any] = {"reason": reason, "observed": task.observed, "required": task.required}
    else:
        words = _why_not(task)
    return {
        "task": task,
        "deployment": deployment,
        "state": summary.state_of(deployment),
        "final": task.status == TaskStatus.SKIPPED and task.next_run_at is None,
        **words,
        **words_of(words["reason"]),
    }


def _why_not(task: DeploymentTask) -> dict[str, Any]:
    params = summary.terms_of(task.deployment).params() | {"task_id": task.pk}
    with connection.cursor() as cursor:
        cursor.execute(_ONE, params)
        row = cursor.fetchone()
    return dict(zip(("reason", "observed", "required"), row or ("", "", ""), strict=True))
