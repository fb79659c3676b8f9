"""What people read beside a task while the engine runs: held, timed, paced and final reasons, and their age."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from deployments import tick
from deployments.models import Deployment, DeploymentTask
from deployments.operations import fleet_switch, lifecycle
from deployments.reading import shared_numbers, summary, task_list
from devices import changes
from devices.models import Device
from tests.deployments import scene

pytestmark = pytest.mark.django_db

CLOSED = {"start_iso": "2999-01-01T00:00:00Z", "end_iso": "2999-01-02T00:00:00Z"}


def _switch(**turned: bool) -> None:
    fleet_switch.change(scene.admin(), reason="drill", **turned)


def test_a_paused_deployment_holds_its_devices_as_paused() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    lifecycle.pause(scene.admin(), deployment.pk)
    assert scene.reason(deployment, device) == "paused"


def test_while_the_switch_is_on_it_is_the_reason_whoever_paused_the_deployment() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    lifecycle.pause(scene.admin(), deployment.pk)
    _switch(kill_switch=True)
    assert scene.reason(deployment, device) == "kill_switch"
    assert scene.reasons(deployment) == {"kill_switch": 1}


def test_once_the_switch_is_off_the_deployment_is_only_paused() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    _switch(kill_switch=True)
    _switch(kill_switch=False)
    assert scene.state(deployment) == ("paused", "kill_switch")
    assert scene.reason(deployment, device) == "paused"


def test_a_device_waits_for_the_rate_and_then_for_its_heartbeat() -> None:
    first, second = scene.devices(2)
    deployment = scene.start([first, second], rate=1)
    assert scene.beat(first)
    assert scene.reason(deployment, second) == "rate_limit"
    scene.age(deployment, seconds=60)
    assert scene.reason(deployment, second) == "awaiting_heartbeat"


def test_a_device_waits_for_a_slot_of_the_concurrency() -> None:
    first, second = scene.devices(2)
    deployment = scene.start([first, second], concurrency=1)
    assert scene.beat(first)
    assert scene.reason(deployment, second) == "concurrency_limit"


def test_a_device_waits_for_the_window() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], window=CLOSED)
    assert scene.reason(deployment, device) == "outside_window"


def test_a_failed_device_waits_for_its_retry() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="install_internal")
    assert scene.reason(deployment, device) == "backoff"


def test_a_device_that_another_deployment_works_on_says_so() -> None:
    (device,) = scene.devices(1)
    version = scene.version()
    first, second = scene.start([device], to=version), scene.start([device], to=version)
    assert scene.beat(device)
    assert scene.reason(first, device) is None
    assert scene.reason(second, device) == "in_other_deployment"


def test_the_reason_of_a_failed_device_is_its_error_code() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="apk_invalid")
    assert scene.reason(deployment, device) == "apk_invalid"


def test_in_flight_and_succeeded_devices_have_no_reason() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    for step in ("sending", "installing", "succeeded"):
        if step == "sending":
            assert scene.beat(device)
        else:
            scene.report(deployment, device, step)
        assert scene.task(deployment, device).status == step
        assert scene.reason(deployment, device) is None


def _retire(device: Device) -> None:
    changes.change(scene.admin(), device.pk, changes.DeviceChanges(status="retired"))


@pytest.mark.parametrize(
    ("reason", "traits"),
    [("sdk_too_old", {"sdk_int": 25}), ("newer_installed", {"installed": 130})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_final_reason_is_stored_and_stays_whatever_becomes_of_the_device(
    reason: str, traits: dict[str, Any]
) -> None:
    (device,) = scene.devices(1, **traits)
    deployment = scene.start([device])
    assert scene.task(deployment, device).reason == reason
    Device.objects.update(sdk_int=34, current_versions={})
    assert scene.reason(deployment, device) == reason


def test_a_retired_device_stays_retired_for_its_old_deployments() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    _retire(device)
    changes.change(scene.admin(), device.pk, changes.DeviceChanges(status="active"))
    assert scene.reason(deployment, device) == "device_retired"


def test_planning_stores_only_what_is_final() -> None:
    fleet = [
        *scene.devices(1, beat={"battery": 1}),
        *scene.devices(1, hold_until=timezone.now() + timedelta(hours=1)),
        *scene.devices(1, sdk_int=25),
    ]
    deployment = scene.start(fleet, window=CLOSED)
    stored = DeploymentTask.objects.order_by("id").values_list("status", "reason")
    assert list(stored) == [("waiting_window", ""), ("waiting_window", ""), ("skipped", "sdk_too_old")]
    assert scene.reasons(deployment) == {"sdk_too_old": 1, "device_hold": 1, "outside_window": 1}


def test_numbers_say_how_old_they_are_and_are_at_most_a_second_old() -> None:
    scene.devices(1)
    deployment = scene.start(canary=1)
    before = timezone.now()
    as_of = datetime.fromisoformat(summary.summary(deployment.pk)["as_of"])
    assert timedelta() <= as_of - before + shared_numbers.FRESH
    assert as_of <= timezone.now()
    assert timedelta(seconds=1) >= shared_numbers.FRESH


def test_a_change_of_state_is_seen_at_once() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert summary.summary(deployment.pk)["reasons"] == [{"reason": "awaiting_heartbeat", "count": 1}]
    lifecycle.pause(scene.admin(), deployment.pk)
    assert summary.summary(deployment.pk)["reasons"] == [{"reason": "paused", "count": 1}]


def _one_of_each() -> Deployment:
    fleet = [
        *scene.devices(2),
        *scene.devices(1, beat={"battery": 1}),
        *scene.devices(1, beat={"received_at": None}),
        *scene.devices(1, sdk_int=25),
        *scene.devices(1, hold_until=timezone.now() + timedelta(hours=1)),
    ]
    deployment = scene.start(fleet)
    scene.install(deployment, fleet[0])
    assert scene.beat(fleet[1])
    tick.advance(deployment.pk)
    return deployment


def test_everybody_who_is_neither_at_work_nor_done_has_exactly_one_reason() -> None:
    deployment = _one_of_each()
    counts, reasons = scene.counts(deployment), scene.reasons(deployment)
    assert reasons == {"sdk_too_old": 1, "device_hold": 1, "offline": 1, "battery_low": 1}
    assert sum(reasons.values()) == counts["total"] - counts["sending"] - counts["succeeded"]


def test_counts_and_list_and_filter_agree() -> None:
    deployment = _one_of_each()
    for reason, count in scene.reasons(deployment).items():
        assert task_list.page(deployment.pk, reason=reason)["count"] == count
    for status, count in scene.counts(deployment).items():
        assert status == "total" or task_list.page(deployment.pk, status=status)["count"] == count
    assert len(list(task_list.csv_rows(deployment.pk))) == scene.counts(deployment)["total"]
