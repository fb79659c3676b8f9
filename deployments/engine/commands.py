"""The command as the agent gets it, and the answer to its question whether it still stands."""

from typing import Any

from django.utils import timezone

from apks import artifacts
from deployments.engine import reports
from deployments.engine.attempts import Task
from deployments.engine.eligibility import COMMAND_SCHEMA, SERVER_ZONE, required_free_mb
from deployments.engine.reports import Answer
from deployments.rules.states import Phase, TaskStatus
from deployments.rules.window import device_zone, is_open
from devices.tokens import DeviceCredential


def command(task: Task) -> dict[str, Any]:
    """The `deploy_apk` message of the wire contract, with a fresh signed URL, for a task in flight."""
    assert task.sent_at is not None
    assert task.in_flight_until is not None
    options = task.options
    stored = options.to_json()
    return {
        "action": "deploy_apk",
        "schema": COMMAND_SCHEMA,
        "deployment_id": task.deployment_id,
        "device_id": task.device_id,
        "attempt": task.attempt,
        "issued_at": task.sent_at.isoformat(),
        "expires_at": task.in_flight_until.isoformat(),
        "apk": {
            "package": task.package,
            "version_code": task.version_code,
            "version_name": task.version_name,
            "url": artifacts.signed_url(task.sha256, task.device_id),
            "sha256": task.sha256,
            "size_bytes": task.size_bytes,
            "signer_sha256": _signers(task),
        },
        "constraints": {
            "wifi_only": options.wifi_only,
            "min_battery": options.min_battery,
            "charging_only": options.charging_only,
            "min_free_mb": required_free_mb(task.size_bytes, options),
        },
        "window": stored["window"],
        "install_mode": task.install_mode,
        "post_install": stored["post_install"],
    }


def _signers(task: Task) -> list[str]:
    """Whoever may show as the signer of this file: before Android 13 a rotated key shows as an older one."""
    older = [signer for signer in task.signature_info.get("lineage") or [] if signer != task.signer_sha256]
    return [task.signer_sha256, *older]


def confirm(device: DeviceCredential, deployment_id: int, device_id: int, attempt: int | None) -> Answer:
    """200 with the command while that attempt stands, else 410 with what became of it. Forbidden, NotFound."""
    now = timezone.now()
    task = reports.find(device, deployment_id, device_id, now)
    reason = _gone(task, attempt)
    if reason:
        return Answer(410, {"status": task.status, "reason": reason})
    zone = device_zone(device.tz, SERVER_ZONE)
    window_open = is_open(task.options.maintenance_window(), now, zone)
    return Answer(200, command(task) | {"server_time": now.isoformat(), "window_open": window_open})


def _gone(task: Task, attempt: int | None) -> str:
    if task.status == TaskStatus.SKIPPED and task.reason in ("canceled", "device_retired"):
        return "canceled"
    if task.final or task.phase == Phase.VERIFYING:  # nothing more is to be installed
        return "settled"
    if task.stop_reason:
        return task.stop_reason
    if not task.in_flight or attempt not in (None, task.attempt):
        return "over"
    return ""
