"""What a person looks at first: held and running deployments, the switch, and one device's deployments."""

from typing import Any, Final

from django.db import connection

from apks.models import Apk, ApkVersion
from deployments.engine.eligibility import OBSERVED, REASON_OF_ONE, REQUIRED, shown
from deployments.models import Deployment, DeploymentTask, FleetSwitch
from deployments.operations import approval
from deployments.pages import device_checks
from deployments.pages.details import words_of
from deployments.reading import summary
from deployments.rules.states import LIVE, DeploymentStatus, TaskStatus
from devices.models import Device

SHOWN: Final = 50
CHECKED: Final = 3  # deployments of one device whose every check is shown

_ONE: Final = f"""SELECT r.reason, {OBSERVED}, {REQUIRED} FROM (
        SELECT t.device_id, {shown(REASON_OF_ONE)} AS reason FROM deployment_task t
        JOIN device d ON d.id = t.device_id LEFT JOIN heartbeat h ON h.device_id = d.id
        WHERE t.id = %(task_id)s) r
    JOIN device d ON d.id = r.device_id LEFT JOIN heartbeat h ON h.device_id = d.id"""


def kill_switch_on() -> FleetSwitch | None:
    return FleetSwitch.objects.select_related("changed_by").filter(kill_switch=True).first()


def overview() -> dict[str, Any]:
    """Held ones first, then running and queued ones, newest first; and which of the first steps are done."""
    live = Deployment.objects.filter(status__in=LIVE).select_related("to_version__apk", "target")
    found = list(live.order_by("-id")[:SHOWN])
    counts = summary.counts_by_status([deployment.pk for deployment in found])
    rows = {
        deployment.pk: {
            "deployment": deployment,
            "state": summary.state_of(deployment),
            "counts": counts[deployment.pk],
        }
        for deployment in found
    }
    held = {deployment.pk for deployment in found if _is_held(deployment)}
    return {
        "held": [rows[pk] for pk in rows if pk in held],
        "moving": [rows[pk] for pk in rows if pk not in held],
        "switch": FleetSwitch.objects.select_related("changed_by").get(),
        "steps": None if found or Deployment.objects.exists() else _first_steps(),
    }


def _is_held(deployment: Deployment) -> bool:
    """Whether it waits for a person."""
    return deployment.status == DeploymentStatus.PAUSED or approval.is_missing(deployment)


def _first_steps() -> dict[str, bool]:
    return {
        "device": Device.objects.exists(),
        "package": Apk.objects.filter(managed=True).exists(),
        "version": ApkVersion.objects.exists(),
    }


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
