"""What may go goes, in small batches; what a rule, an open deployment or a proof asks for stays."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import Error, connection, transaction
from django.utils import timezone

from deployments import retention, tick
from deployments.models import Deployment, DeploymentAttempt, DryRun, DryRunDevice, StartRequest
from deployments.operations import dry_run, lifecycle
from deployments.reading.log_replay import differences
from deployments.rules.options import DeploymentOptions
from deployments.tasks import tidy
from devices import changes, enrollment
from devices.changes import DeviceChanges
from devices.enrollment import EnrollIn
from devices.models import Device, DeviceToken, Heartbeat
from devices.selection import Target
from mdm.models import Throttle, WorkerBeat
from tests.deployments import scene
from tests.factories import enrollment_token

pytestmark = pytest.mark.django_db

YEAR = timedelta(days=365)


def ended_after_two_tries() -> tuple[Deployment, Device]:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 3, "backoff_sec": 1})
    scene.beat(device)
    scene.report(deployment, device, "failed", error_code="download_network")
    scene.task(deployment, device)
    deployment.tasks.update(next_run_at=timezone.now() - timedelta(seconds=1))
    scene.install(deployment, device)
    tick.advance(deployment.pk)
    assert scene.state(deployment)[0] == "complete"
    return deployment, device


def long_ago(deployment: Deployment, by: timedelta = YEAR) -> None:
    """As if all of it had happened then."""
    then = timezone.now() - by
    Deployment.objects.filter(pk=deployment.pk, finished_at__isnull=False).update(finished_at=then)
    DeploymentAttempt.objects.filter(deployment=deployment).update(sent_at=then, finished_at=then)


def numbers(deployment: Deployment) -> list[int]:
    return sorted(DeploymentAttempt.objects.filter(deployment=deployment).values_list("number", flat=True))


def go() -> dict[str, int]:
    return {rule.words: rows for rule, rows in retention.run(60) if rows}


def test_of_an_ended_deployment_the_last_attempt_stays_and_the_log_still_proves_it() -> None:
    deployment, device = ended_after_two_tries()
    long_ago(deployment)
    assert go() == {"superseded attempts of ended deployments": 1}
    assert numbers(deployment) == [2]
    assert list(differences(deployment.pk)) == []
    assert scene.report(deployment, device, "succeeded", attempt=2).http_status == 200


@pytest.mark.parametrize("days", [0, 1, 179])
def test_what_ended_lately_stays_whole(days: int) -> None:
    deployment, _ = ended_after_two_tries()
    long_ago(deployment, timedelta(days=days))
    assert (go(), numbers(deployment)) == ({}, [1, 2])


def test_an_open_deployment_keeps_every_attempt_however_old() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 3, "backoff_sec": 1})
    for _ in range(2):
        scene.beat(device)
        scene.report(deployment, device, "failed", error_code="download_network")
        deployment.tasks.update(next_run_at=timezone.now() - timedelta(seconds=1))
    long_ago(deployment)
    assert (go(), numbers(deployment)) == ({}, [1, 2])


def test_a_device_retired_for_long_loses_its_readings_and_can_come_back() -> None:
    kept, gone, back = scene.devices(3)
    for device in (gone, back):
        changes.change(scene.admin(), device.pk, DeviceChanges.model_validate({"status": "retired"}))
    Device.objects.filter(status="retired").update(retired_at=timezone.now() - YEAR)
    DeviceToken.objects.create(device=gone, digest="d" * 64, revoked_at=timezone.now() - YEAR)
    DeviceToken.objects.create(device=kept, digest="e" * 64)
    assert go() == {"readings of retired devices": 2, "void tokens of devices": 1}
    assert list(Heartbeat.objects.values_list("device_id", flat=True)) == [kept.pk]

    changes.change(scene.admin(), back.pk, DeviceChanges.model_validate({"status": "active"}))
    scene.beat(back)
    assert Heartbeat.objects.get(device=back).battery == 90
    body = {
        "enrollment_token": enrollment_token()[1], "serial": gone.serial, "model": "TC52", "sdk_int": 33,
    }  # fmt: skip
    enrollment.enroll(EnrollIn.model_validate(body))
    scene.beat(gone)
    assert Heartbeat.objects.get(device=gone).received_at is not None


def test_a_device_retired_yesterday_keeps_them() -> None:
    (device,) = scene.devices(1)
    changes.change(scene.admin(), device.pk, DeviceChanges.model_validate({"status": "retired"}))
    assert (go(), Heartbeat.objects.count()) == ({}, 1)


def asked(device: Device) -> int:
    target = Target(type="selection", device_ids=[device.pk])
    answer = dry_run.make(
        scene.admin(), apk_version_id=scene.version().pk, target=target, options=DeploymentOptions(canary=0)
    )
    return int(answer["dry_run_id"])


def test_expired_dry_runs_go_but_not_what_a_deployment_has_yet_to_be_planned_from() -> None:
    scene.enable()
    (device,) = scene.devices(1)
    asked(device)
    waiting = asked(device)
    target = Target(type="selection", device_ids=[device.pk])
    deployment_id = lifecycle.start(
        scene.admin(),
        apk_version_id=scene.version().pk,
        target=target,
        options=DeploymentOptions(canary=0),
        dry_run_id=waiting,
    )
    assert go() == {}
    DryRun.objects.update(expires_at=timezone.now() - timedelta(days=2))
    assert go() == {"devices of expired dry runs": 1, "expired dry runs": 1}
    assert list(DryRunDevice.objects.values_list("dry_run_id", flat=True)) == [waiting]
    tick.advance(deployment_id)
    assert Deployment.objects.get(pk=deployment_id).tasks.count() == 1
    assert go() == {"devices of expired dry runs": 1}


def test_keys_beats_and_buckets_go_when_their_time_is_over() -> None:
    deployment, now = scene.start(scene.devices(1)), timezone.now()
    user = scene.admin().user
    for key, age in (("old", 49), ("new", 23)):
        asked_at = now - timedelta(hours=age)
        StartRequest.objects.create(
            user=user, key=key, body_digest="d", deployment=deployment, created_at=asked_at
        )
    for name, days in (("gone", 8), ("alive", 0)):
        WorkerBeat.objects.create(name=name, part="worker", beat_at=now - timedelta(days=days))
        Throttle.objects.create(scope="address", key=name, empty_at=now - timedelta(days=days))
    assert go() == {"idempotency keys": 1, "slowed sign-ins that are over": 1, "workers long gone": 1}
    assert StartRequest.objects.get().key == "new"
    assert (WorkerBeat.objects.get().name, Throttle.objects.get().key) == ("alive", "alive")


def keys(count: int) -> None:
    then, deployment = timezone.now() - YEAR, scene.start(scene.devices(1))
    user = scene.admin().user
    for number in range(count):
        StartRequest.objects.create(
            user=user, key=str(number), body_digest="d", deployment=deployment, created_at=then
        )


def test_it_goes_in_small_batches_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    keys(10)
    monkeypatch.setattr(retention, "BATCH", 3)
    assert sum(rows for _, rows in retention.run(budget_sec=-1)) == 0
    assert StartRequest.objects.count() == 10
    with connection.execute_wrapper(_at_most(3)):
        assert go() == {"idempotency keys": 10}


def _at_most(rows: int) -> Any:
    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        assert context["cursor"].rowcount <= rows
        return result

    return watch


def test_counting_removes_nothing_and_says_what_would_go() -> None:
    keys(2)
    out = StringIO()
    call_command("retention", "--dry-run", stdout=out)
    assert "           2  idempotency keys" in out.getvalue()
    assert StartRequest.objects.count() == 2
    call_command("retention", stdout=StringIO())
    assert not StartRequest.objects.exists()


def test_the_hourly_job_does_the_same() -> None:
    keys(2)
    tidy()
    assert not StartRequest.objects.exists()


@pytest.mark.parametrize("table", ["deployment_event", "audit_event"])
def test_no_rule_is_about_the_logs_which_refuse_it_anyway(table: str) -> None:
    assert table not in {rule.table for rule in retention.rules()}
    (device,) = scene.devices(1)
    changes.change(scene.admin(), device.pk, DeviceChanges.model_validate({"alias": "renamed"}))
    scene.start([device])
    with connection.cursor() as cursor:
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET message = ''"):
            with pytest.raises(Error, match="append-only"), transaction.atomic():
                cursor.execute(statement)
