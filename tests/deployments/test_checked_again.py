"""Who missed a condition is checked again: until the deadline, or as its agent's own no wants it (behaviour §1)."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from deployments import tick
from deployments.models import Deployment, DeploymentTask
from deployments.operations import lifecycle
from devices.models import Device
from tests.deployments import scene

pytestmark = pytest.mark.django_db

# --- checked again until the deadline ------------------------------------------------------------------------


def test_with_a_deadline_of_0_a_miss_is_final() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], deadline_hours=0)
    assert scene.beat(device, battery=5) is None
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.next_run_at) == ("skipped", "battery_low", None)
    assert task.finished_at is not None
    assert scene.beat(device) is None


def test_a_miss_is_checked_again_until_the_deadline_after_the_first_miss() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], deadline_hours=2)
    assert scene.beat(device, battery=5) is None
    first = scene.task(deployment, device).recheck_until
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="install_internal")
    scene.age(deployment, hours=1)
    assert scene.beat(device, battery=5) is None
    assert first is not None
    assert scene.task(deployment, device).recheck_until == first - timedelta(hours=1)
    scene.age(deployment, hours=1)
    tick.advance(deployment.pk)
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.next_run_at) == ("skipped", "battery_low", None)


def test_a_miss_after_the_deadline_of_the_first_is_final_at_once() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], deadline_hours=1)
    assert scene.beat(device, battery=5) is None
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="install_internal")
    scene.age(deployment, hours=2)
    assert scene.beat(device, battery=5) is None
    assert scene.task(deployment, device).next_run_at is None


def test_the_last_check_keeps_the_last_reason() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device, battery=5) is None
    scene.readings(device, battery=90, network="cellular")
    scene.age(deployment, hours=24)
    tick.advance(deployment.pk)
    assert scene.task(deployment, device).reason == "no_wifi"


def test_after_a_pause_over_the_deadline_there_is_a_last_check() -> None:
    well, low = scene.devices(2)
    deployment = scene.start([well, low])
    for device in (well, low):
        assert scene.beat(device, battery=5) is None
    lifecycle.pause(scene.admin(), deployment.pk)
    scene.age(deployment, hours=30)
    tick.advance(deployment.pk)
    assert scene.beat(well) is None
    assert scene.beat(low, battery=5) is None
    assert DeploymentTask.objects.filter(finished_at=None).count() == 2
    lifecycle.resume(scene.admin(), deployment.pk)
    tick.advance(deployment.pk)
    assert scene.task(deployment, well).status == "queued"
    assert scene.task(deployment, low).finished_at is not None
    assert scene.beat(well)


def test_a_deadline_is_not_decided_while_the_canary_gate_is_shut() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(canary=1)
    assert scene.beat(fleet[1], battery=5) is None
    assert scene.beat(fleet[0])
    scene.age(deployment, hours=25)
    scene.readings(fleet[1], battery=5)
    DeploymentTask.objects.filter(device=fleet[0]).update(in_flight_until=timezone.now() + timedelta(hours=1))
    Deployment.objects.update(canary_elapsed_ms=0, canary_clock_at=timezone.now())
    tick.advance(deployment.pk)
    task = scene.task(deployment, fleet[1])
    assert (task.status, task.finished_at) == ("skipped", None)


def _gate_shut() -> tuple[Deployment, Device]:
    first, other = scene.devices(2)
    deployment = scene.start(canary=1)
    assert scene.beat(other, battery=5) is None
    assert scene.beat(first)
    return deployment, other


def _held() -> tuple[Deployment, Device]:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device, battery=5) is None
    Device.objects.update(hold_until=timezone.now() + timedelta(hours=1))
    return deployment, device


def _window_shut() -> tuple[Deployment, Device]:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device, battery=5) is None
    window = {"start_iso": "2999-01-01T00:00:00Z", "end_iso": "2999-01-02T00:00:00Z"}
    Deployment.objects.update(options=deployment.options | {"window": window})
    return deployment, device


@pytest.mark.parametrize(
    ("holding", "reason"),
    [(_gate_shut, "canary_gate"), (_held, "device_hold"), (_window_shut, "outside_window")],
)
def test_a_skipped_device_waits_again_once_it_misses_nothing_whatever_else_holds_it(
    holding: Callable[[], tuple[Deployment, Device]], reason: str
) -> None:
    deployment, device = holding()
    assert scene.task(deployment, device).status == "skipped"
    assert scene.beat(device, battery=5) is None
    assert scene.task(deployment, device).status == "skipped"
    assert scene.beat(device, battery=90) is None
    task = scene.task(deployment, device)
    assert (task.status, task.next_run_at) == ("queued", None)
    assert scene.reason(deployment, device) == reason


def test_a_skipped_device_that_got_the_version_elsewhere_has_ended_with_its_heartbeat() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device, battery=5) is None
    assert scene.beat(device, packages=[{"package": scene.PACKAGE, "version_code": 121}]) is None
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.next_run_at) == ("skipped", "already_installed", None)


# --- an agent's own skips ------------------------------------------------------------------------------------


def _skip(deployment: Deployment, device: Device, code: str = "device_condition") -> float:
    """Seconds until it is checked again."""
    assert scene.beat(device)
    scene.report(deployment, device, "skipped", error_code=code, error="warming up")
    due = scene.task(deployment, device).next_run_at
    assert due is not None
    return (due - timezone.now()).total_seconds()


def _wait(deployment: Deployment, device: Device, seconds: float) -> None:
    scene.age(deployment, seconds=seconds)
    scene.quiet(device, seconds=seconds)


def test_an_agents_skip_stands_until_its_first_heartbeat_after_the_back_off() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 3, "backoff_sec": 300})
    assert 295 < _skip(deployment, device) <= 300
    assert scene.beat(device) is None
    assert scene.reason(deployment, device) == "device_condition"
    _wait(deployment, device, 301)
    tick.advance(deployment.pk)
    assert scene.task(deployment, device).status == "skipped"
    assert scene.beat(device)
    assert scene.task(deployment, device).failures == 0


def test_the_back_off_is_doubled_with_each_skip() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 0, "backoff_sec": 300})
    for expected in (300, 600, 1200):
        assert expected - 5 < _skip(deployment, device) <= expected
        _wait(deployment, device, expected + 1)


def test_agent_skips_spend_the_retry_budget() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 0, "backoff_sec": 1})
    for _ in range(10):
        _skip(deployment, device)
        DeploymentTask.objects.update(next_run_at=timezone.now())
    assert scene.beat(device) is None
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.next_run_at) == ("skipped", "retry_budget_spent", None)
