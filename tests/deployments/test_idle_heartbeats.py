"""A heartbeat with nothing to do takes no lock: thousands of devices wait behind a gate, a limit or a window."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deployments import tick
from deployments.models import Deployment
from deployments.operations import lifecycle
from devices.models import Device
from tests.deployments import scene

pytestmark = pytest.mark.django_db

Idle = tuple[Deployment, Device]


def _locks(device: Device, **said: Any) -> int:
    """Locks of deployments that its heartbeat asks for; it gets no command."""
    with CaptureQueriesContext(connection) as asked:
        assert scene.beat(device, **said) is None
    return len([query for query in asked.captured_queries if "FOR NO KEY UPDATE" in query["sql"]])


def _at_work(**options: Any) -> Idle:
    first, other = scene.devices(2, groups=["shop-1"])
    deployment = scene.start([first, other], **options)
    assert scene.beat(first)
    return deployment, other


def _paused() -> Idle:
    deployment, device = _at_work()
    lifecycle.pause(scene.admin(), deployment.pk)
    return deployment, device


def _held() -> Idle:
    deployment, device = _at_work()
    Device.objects.filter(pk=device.pk).update(hold_until=timezone.now() + timedelta(hours=1))
    return deployment, device


def _waiting_to_retry() -> Idle:
    deployment, _ = _at_work()
    (device,) = Device.objects.exclude(tasks__status="queued")
    scene.report(deployment, device, "failed", error_code="install_internal")
    return deployment, device


def _outside_its_window() -> Idle:
    deployment, device = _at_work()
    window = {"start_iso": "2999-01-01T00:00:00Z", "end_iso": "2999-01-02T00:00:00Z"}
    Deployment.objects.update(options=deployment.options | {"window": window})
    return deployment, device


IDLE: dict[str, Callable[[], Idle]] = {
    "canary_gate": lambda: _at_work(canary=1),
    "concurrency_limit": lambda: _at_work(concurrency=1),
    "rate_limit": lambda: _at_work(rate=1),
    "group_limit": lambda: _at_work(max_per_group=1),
    "paused": _paused,
    "device_hold": _held,
    "backoff": _waiting_to_retry,
    "outside_window": _outside_its_window,
}


@pytest.mark.parametrize("reason", IDLE)
def test_it_takes_no_lock_and_stays_where_it_is(reason: str) -> None:
    deployment, device = IDLE[reason]()
    assert _locks(device) == 0
    assert scene.reason(deployment, device) == reason


def test_a_device_whose_turn_it_is_takes_it() -> None:
    (device,) = scene.devices(1)
    scene.start([device])
    assert _locks(device, battery=5) == 1


def test_behind_the_gate_it_takes_it_once_something_is_to_be_decided() -> None:
    first, second, third = scene.devices(3)
    deployment = scene.start(canary=1, canary_soak_min=5)
    assert scene.beat(first)
    assert _locks(second) == 0
    scene.report(deployment, first, "succeeded")
    assert _locks(second) == 1  # the soak begins
    assert _locks(third) == 0
    scene.age(deployment, minutes=6)
    assert scene.beat(third)


def test_it_decides_the_time_limit_where_no_worker_does() -> None:
    first, second = scene.devices(2)
    deployment = scene.start(canary=1, canary_timeout_min=60, ack_timeout_min=600)
    assert scene.beat(first)
    scene.age(deployment, minutes=61)
    assert scene.beat(second) is None
    assert scene.state(deployment) == ("paused", "canary_undecided")


def test_a_failed_canary_is_found_by_whoever_comes_next() -> None:
    first, second = scene.devices(2)
    deployment = scene.start(canary=1)
    assert scene.beat(first)
    scene.report(deployment, first, "failed", error_code="apk_invalid")
    assert _locks(second) == 1
    assert scene.state(deployment) == ("paused", "canary_failed")
    tick.advance(deployment.pk)
    assert _locks(second) == 0
