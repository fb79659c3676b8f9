"""A stage for the engine: versions, devices, a deployment, and the device's side of the conversation."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from apks.models import Apk, ApkVersion
from deployments import tick
from deployments.engine import checkin, commands, reports
from deployments.models import Deployment, DeploymentEvent, DeploymentNumbers, DeploymentTask, FleetSwitch
from deployments.operations import lifecycle
from deployments.reading import summary, task_list
from deployments.rules.options import DeploymentOptions
from deployments.rules.report_body import StatusIn, normalise
from devices.inventory import HeartbeatIn
from devices.models import Device, Heartbeat
from devices.selection import Target
from devices.tokens import DeviceCredential
from mdm.paging import Paging
from mdm.people import Actor

PACKAGE = "com.nexmdm"
READY: dict[str, Any] = {
    "battery": 90,
    "charging": False,
    "network": "wifi",
    "metered": False,
    "free_storage_mb": 8_000,
    "doze_exempt": True,
    "in_call": False,
    "in_use": False,
}
EASY: dict[str, Any] = {"canary": 0, "rate": 1000, "concurrency": 1000}


def admin() -> Actor:
    user, _ = User.objects.get_or_create(username="ada", defaults={"is_superuser": True, "is_staff": True})
    return Actor.person(user)


def enable() -> None:
    FleetSwitch.objects.update(deployments_enabled=True, kill_switch=False)


def version(code: int = 121, *, package: str = PACKAGE, **more: Any) -> ApkVersion:
    apk, _ = Apk.objects.get_or_create(
        package_name=package, defaults={"display_name": "NexMDM", "managed": True, "signer_sha256": "a" * 64}
    )
    made, _ = ApkVersion.objects.get_or_create(
        apk=apk,
        version_code=code,
        defaults={
            "version_name": f"1.0.{code}",
            "download_url": f"/v1/artifacts/{apk.pk * 10_000 + code:064d}.apk",
            "sha256": f"{apk.pk * 10_000 + code:064d}",
            "size_bytes": 1_000_000,
            "min_sdk": 26,
            "signer_sha256": "a" * 64,
            "signature_info": {"schemes": ["v2"], "lineage": []},
            **more,
        },
    )
    return made


def devices(
    count: int, *, installed: int | None = 120, beat: dict[str, Any] | None = None, **more: Any
) -> list[Device]:
    """Active devices that were just seen, ready for anything unless `beat` says otherwise (None values: unknown)."""
    start = Device.objects.count()
    inventory = (
        {PACKAGE: {"version_code": installed, "version_name": f"1.0.{installed}"}} if installed else {}
    )
    made = Device.objects.bulk_create(
        Device(
            **{
                "serial": f"S{start + index:06d}",
                "alias": f"till-{start + index}",
                "model": "TC52",
                "sdk_int": 33,
                "abis": ["arm64-v8a"],
                "max_schema": 1,
                "current_versions": inventory,
                **more,
            }
        )
        for index in range(count)
    )
    values = {**READY, "received_at": timezone.now(), **(beat or {})}
    Heartbeat.objects.bulk_create(Heartbeat(device=device, **values) for device in made)
    return made


def start(target: list[Device] | None = None, *, to: ApkVersion | None = None, **options: Any) -> Deployment:
    """Started and planned: to these devices, or to the entire fleet. Switches are set so that it may."""
    enable()
    return ask(target, to=to, **options)


def ask(target: list[Device] | None = None, *, to: ApkVersion | None = None, **options: Any) -> Deployment:
    """The same with the switches as they stand."""
    wanted: dict[str, Any] = {"type": "fleet"}
    if target is not None:
        wanted = {"type": "selection", "device_ids": [device.pk for device in target]}
    chosen = {**(EASY if target is not None else {**EASY, "canary": 1}), **options}
    pk = lifecycle.start(
        admin(),
        apk_version_id=(to or version()).pk,
        target=Target.model_validate(wanted),
        options=DeploymentOptions.from_json(chosen),
    )
    tick.advance(pk)
    return Deployment.objects.get(pk=pk)


def credential(device: Device) -> DeviceCredential:
    fresh = Device.objects.get(pk=device.pk)
    return DeviceCredential(
        device_id=fresh.pk,
        token_id=0,
        unused=False,
        status=fresh.status,
        retired_at=fresh.retired_at,
        fcm_token=fresh.fcm_token,
        agent_version=fresh.agent_version,
        sdk_int=fresh.sdk_int,
        max_schema=fresh.max_schema,
        tz=fresh.tz,
    )


def beat(device: Device, **body: Any) -> dict[str, Any] | None:
    """A heartbeat; the command of its answer, if any."""
    answer = checkin.check_in(credential(device), HeartbeatIn.model_validate({**READY, **body}))
    assert len(answer.commands) <= 1
    return answer.commands[0] if answer.commands else None


def report(deployment: Deployment, device: Device, status: str, **body: Any) -> reports.Answer:
    report_body = normalise(StatusIn.model_validate({"status": status, **body}))
    return reports.report(credential(device), deployment.pk, device.pk, report_body)


def confirm(deployment: Deployment, device: Device, attempt: int | None = None) -> reports.Answer:
    return commands.confirm(credential(device), deployment.pk, device.pk, attempt)


def task(deployment: Deployment, device: Device) -> DeploymentTask:
    return DeploymentTask.objects.get(deployment=deployment, device=device)


def reason(deployment: Deployment, device: Device) -> str | None:
    """As every page, the API and the CSV show it."""
    rows = task_list.page(deployment.pk, Paging(page_size=500))["items"]
    (found,) = [row["reason"] for row in rows if row["device_id"] == device.pk]
    return found


def forget_numbers() -> None:
    """The next look counts anew, as it would a second later."""
    DeploymentNumbers.objects.all().delete()


def reasons(deployment: Deployment) -> dict[str, int]:
    forget_numbers()
    return {row["reason"]: row["count"] for row in summary.summary(deployment.pk)["reasons"]}


def counts(deployment: Deployment) -> dict[str, int]:
    """Statuses that some device has."""
    forget_numbers()
    found = summary.summary(deployment.pk)["counts"]
    return {status: count for status, count in found.items() if count}


def readings(device: Device, **values: Any) -> None:
    """Sets the last heartbeat's readings without a heartbeat."""
    Heartbeat.objects.filter(device=device).update(**values)


def quiet(device: Device, **span: float) -> None:
    """The device was last heard of so long ago."""
    readings(device, received_at=timezone.now() - timedelta(**span))


def events(deployment: Deployment, device: Device | None = None) -> int:
    found = DeploymentEvent.objects.filter(deployment=deployment)
    return found.filter(device=device).count() if device else found.count()


def state(deployment: Deployment) -> tuple[str, str]:
    fresh = Deployment.objects.get(pk=deployment.pk)
    return fresh.status, fresh.paused_reason


def install(deployment: Deployment, device: Device) -> None:
    """The whole good conversation."""
    assert beat(device) is not None
    for step in ("received", "downloading", "installing", "succeeded"):
        assert report(deployment, device, step).http_status == 200


def age(deployment: Deployment, **span: float) -> None:
    """Moves this deployment's past back in time, instead of waiting: ledger, deadlines, stopwatch."""
    by = timedelta(**span)
    columns = {
        "deployment_attempt": ("sent_at", "acknowledged_at", "finished_at"),
        "deployment_task": (
            "next_run_at",
            "recheck_until",
            "in_flight_until",
            "install_until",
            "sent_at",
            "acknowledged_at",
            "acknowledged_failure_at",
            "finished_at",
            "updated_at",
            "verifying_since",
            "shown_at",
        ),
        "deployment": (
            "created_at",
            "started_at",
            "last_sent_at",
            "canary_clock_at",
            "canary_reached_at",
            "failures_count_from",
            "misses_decided_at",
            "push_not_before",
            "paused_at",
        ),
    }
    with connection.cursor() as cursor:
        for table, names in columns.items():
            sets = ", ".join(f"{name} = {name} - %(by)s" for name in names)
            key = "id" if table == "deployment" else "deployment_id"
            cursor.execute(f"UPDATE {table} SET {sets} WHERE {key} = %(id)s", {"by": by, "id": deployment.pk})
