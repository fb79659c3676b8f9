"""Maintenance windows through the engine: who waits until when, and what a window's end ends (behaviour §6)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from deployments import tick
from deployments.models import Deployment, DeploymentEvent
from deployments.operations import lifecycle
from devices.models import Device
from tests.deployments import scene

pytestmark = pytest.mark.django_db

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _absolute(start: timedelta, end: timedelta) -> dict[str, str]:
    now = timezone.now()
    return {"start_iso": (now + start).isoformat(), "end_iso": (now + end).isoformat()}


def _nightly(zone: str = "device") -> dict[str, Any]:
    """Open in UTC for an hour to either side of now, on every day."""
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 1))
    return {"days": DAYS, "start": start, "end": end, "tz": zone}


def _move_window(deployment: Deployment, start: timedelta, end: timedelta) -> None:
    """Instead of waiting."""
    options = Deployment.objects.get(pk=deployment.pk).options | {"window": _absolute(start, end)}
    Deployment.objects.filter(pk=deployment.pk).update(options=options)


HOUR = timedelta(hours=1)


def test_before_the_window_devices_wait_and_show_its_opening() -> None:
    (device,) = scene.devices(1)
    window = _absolute(HOUR, 2 * HOUR)
    deployment = scene.start([device], window=window)
    task = scene.task(deployment, device)
    assert (task.status, task.next_run_at) == ("waiting_window", datetime.fromisoformat(window["start_iso"]))
    assert scene.beat(device) is None
    assert scene.reason(deployment, device) == "outside_window"


def test_the_opening_lets_them_go_and_each_move_is_one_event() -> None:
    fleet = scene.devices(3)
    deployment = scene.start(fleet, window=_absolute(HOUR, 2 * HOUR))
    tick.advance(deployment.pk)
    _move_window(deployment, -HOUR, HOUR)
    tick.advance(deployment.pk)
    assert scene.counts(deployment) == {"queued": 3, "total": 3}
    assert scene.beat(fleet[0])
    moves = DeploymentEvent.objects.filter(message__startswith="Window").order_by("id")
    assert [(event.message, event.meta["count"]) for event in moves] == [
        ("Window closed for 3 devices", 3),
        ("Window open for 3 devices", 3),
    ]


def test_a_heartbeat_need_not_wait_for_the_next_step_when_the_window_has_opened() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], window=_absolute(HOUR, 2 * HOUR))
    _move_window(deployment, -HOUR, HOUR)
    scene.age(deployment, hours=1)
    assert scene.beat(device)


def test_in_flight_at_the_close_goes_on() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], window=_absolute(-HOUR, HOUR))
    assert scene.beat(device)
    _move_window(deployment, -2 * HOUR, -HOUR)
    tick.advance(deployment.pk)
    assert scene.task(deployment, device).status == "sending"
    answer = scene.confirm(deployment, device)
    assert (answer.http_status, answer.body["window_open"]) == (200, False)
    assert scene.report(deployment, device, "succeeded").http_status == 200
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("complete", "")


def test_the_end_of_an_absolute_window_skips_whoever_waits() -> None:
    waits, missed, failed, low = fleet = scene.devices(4)
    deployment = scene.start(fleet, window=_absolute(-HOUR, HOUR), retry={"max": 3, "backoff_sec": 60})
    assert scene.beat(missed, battery=1) is None
    assert scene.beat(failed)
    scene.report(deployment, failed, "failed", error_code="install_internal")
    assert scene.beat(low)
    scene.report(deployment, low, "skipped", error_code="battery_low")
    assert scene.task(deployment, failed).status == "queued"
    _move_window(deployment, -2 * HOUR, -HOUR)
    tick.advance(deployment.pk)
    assert scene.reasons(deployment) == {"window_over": 4}
    assert scene.state(deployment) == ("complete", "")
    assert scene.beat(waits) is None


def test_a_retry_that_would_fall_behind_the_end_is_over_at_once() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], window=_absolute(-HOUR, HOUR), retry={"max": 3, "backoff_sec": 3600})
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="install_internal")
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.next_run_at) == ("skipped", "window_over", None)
    assert task.error_code == "install_internal"


def test_the_deadline_of_a_miss_is_not_decided_outside_the_window() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], window=_absolute(-HOUR, HOUR), deadline_hours=1)
    assert scene.beat(device, battery=1) is None
    _move_window(deployment, HOUR, 2 * HOUR)
    scene.age(deployment, hours=2)
    tick.advance(deployment.pk)
    assert scene.task(deployment, device).finished_at is None
    _move_window(deployment, -HOUR, HOUR)
    scene.readings(device, battery=90)
    tick.advance(deployment.pk)
    assert scene.task(deployment, device).status == "queued"


def test_with_each_devices_own_zone_only_those_whose_night_it_is_go() -> None:
    here, there = *scene.devices(1, tz="UTC"), *scene.devices(1, tz="Asia/Tokyo")
    deployment = scene.start([here, there], window=_nightly())
    assert scene.task(deployment, there).status == "waiting_window"
    assert scene.task(deployment, here).status == "queued"
    assert scene.beat(there) is None
    assert scene.beat(here)
    opening = scene.task(deployment, there).next_run_at
    assert opening is not None
    assert timedelta(hours=13) < opening - timezone.now() < timedelta(hours=15)


def test_a_device_that_says_no_zone_is_in_the_servers() -> None:
    (device,) = scene.devices(1, tz="")
    deployment = scene.start([device], window=_nightly())
    assert scene.task(deployment, device).status == "queued"
    assert scene.beat(device)


def test_a_device_that_travels_is_judged_where_it_is_now() -> None:
    (device,) = scene.devices(1, tz="UTC")
    deployment = scene.start([device], window=_nightly())
    assert scene.beat(device, tz="Asia/Tokyo") is None
    tick.advance(deployment.pk)
    assert scene.task(deployment, device).status == "waiting_window"
    assert scene.beat(device, tz="UTC")


def test_a_device_that_arrives_where_the_window_is_open_need_not_wait_for_the_next_step() -> None:
    (device,) = scene.devices(1, tz="Asia/Tokyo")
    deployment = scene.start([device], window=_nightly())
    assert scene.task(deployment, device).status == "waiting_window"
    Device.objects.update(tz="UTC")
    assert scene.reason(deployment, device) == "awaiting_heartbeat"
    assert scene.beat(device, tz="UTC")


def test_a_window_names_its_own_zone() -> None:
    (device,) = scene.devices(1, tz="Asia/Tokyo")
    deployment = scene.start([device], window=_nightly("UTC"))
    assert scene.beat(device)
    assert scene.confirm(deployment, device).body["window_open"]


def test_an_agent_that_finds_the_window_closed_waits_for_the_next_opening_without_a_failure() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], window=_absolute(-HOUR, HOUR), retry={"max": 0, "backoff_sec": 60})
    assert scene.beat(device)
    _move_window(deployment, HOUR, 2 * HOUR)
    scene.report(deployment, device, "skipped", error_code="outside_window")
    tick.advance(deployment.pk)
    task = scene.task(deployment, device)
    assert (task.status, task.failures) == ("waiting_window", 0)
    assert task.next_run_at is not None
    assert task.next_run_at > timezone.now() + timedelta(minutes=59)


def test_two_clocks_that_disagree_do_not_play_ping_pong() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 0, "backoff_sec": 300})
    assert scene.beat(device)
    scene.report(deployment, device, "skipped", error_code="outside_window")
    tick.advance(deployment.pk)
    assert scene.beat(device) is None
    assert scene.reason(deployment, device) == "backoff"
    scene.age(deployment, seconds=301)
    assert scene.beat(device)


def test_the_canarys_time_limit_counts_only_while_the_window_is_open() -> None:
    scene.devices(2)
    deployment = scene.start(canary=1, canary_timeout_min=30, window=_absolute(-HOUR, HOUR))
    assert scene.beat(Device.objects.all()[0])
    _move_window(deployment, HOUR, 2 * HOUR)
    scene.age(deployment, minutes=50)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("running", "")
    _move_window(deployment, -10 * HOUR, HOUR)
    scene.age(deployment, minutes=31)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "canary_undecided")


def test_waiting_for_the_window_survives_a_pause() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], window=_absolute(HOUR, 2 * HOUR))
    lifecycle.pause(scene.admin(), deployment.pk)
    assert scene.task(deployment, device).status == "waiting_window"
    lifecycle.resume(scene.admin(), deployment.pk)
    tick.advance(deployment.pk)
    assert scene.task(deployment, device).status == "waiting_window"
    _move_window(deployment, 3 * HOUR, 4 * HOUR)
    tick.advance(deployment.pk)
    opening = scene.task(deployment, device).next_run_at
    assert opening is not None
    assert opening > timezone.now() + timedelta(minutes=179)
