"""Each kind of alert: raised by its cause and by nothing short of it, once, and resolved when the cause is gone."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from deployments import tick
from deployments.models import Deployment, DeploymentTask
from deployments.operations import lifecycle
from devices.models import Device
from mdm import counters, worker_beat
from mdm.models import RecentCount, WorkerBeat
from mdm.watch import alerts, causes, rounds
from mdm.watch.models import Alert
from tests.calls import Caller
from tests.deployments import scene
from tests.factories import enrollment_token

pytestmark = pytest.mark.django_db


def _open() -> set[str]:
    rounds.watch()
    return set(alerts.unresolved().values_list("kind", flat=True))


def _raised(kind: str) -> int:
    return Alert.objects.filter(kind=kind).count()


def _sql(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def _calm(kind: str) -> None:
    """The cause has been gone for as long as it takes."""
    rounds.watch()
    Alert.objects.filter(kind=kind).update(calm_since=timezone.now() - timedelta(hours=1))


def test_every_threshold_is_a_setting(settings: Any) -> None:
    """What none of the defaults would raise; the longer or greater it is set, the longer nothing is raised."""
    paused, idle = scene.start(scene.devices(1)), scene.start(scene.devices(2))
    lifecycle.pause(scene.admin(), paused.pk)
    Deployment.objects.filter(pk=paused.pk).update(paused_at=timezone.now() - timedelta(hours=2))
    _quiet_for(idle, 5)
    unplanned = scene.start(scene.devices(1))
    _quiet_for(unplanned, 5)
    Deployment.objects.filter(pk=unplanned.pk).update(status="queued", planned_at=None, started_at=None)
    worker_beat.beat("worker")
    _sql("UPDATE worker_beat SET beat_at = now() - interval '20 seconds'")
    _answers(s200=48, s422=2)
    RecentCount.objects.update(slot=timezone.now() - timedelta(minutes=2))
    assert _open() == set()
    thresholds: dict[str, tuple[str, float]] = {
        "ALERT_PAUSED_HOURS": ("paused_too_long", 1.5),
        "ALERT_BACKLOG_MIN": ("queue_backlog", 4.5),
        "ALERT_NO_PROGRESS_MIN": ("no_progress", 4.5),
        "ALERT_WORKER_SILENT_SEC": ("worker_silent", 15.5),
        "ALERT_WEBHOOK_ERRORS_PCT": ("webhook_errors", 3.5),
    }
    for name, (kind, value) in thresholds.items():
        with override_settings(**{name: value}):
            assert {cause.kind for cause in causes.standing(timezone.now())} == {kind}, name
    settings.ALERT_WEBHOOK_ERRORS_PCT = 3.5
    for name, value in {"ALERT_WEBHOOK_ERRORS_MIN": 51, "ALERT_WEBHOOK_ERRORS_WITHIN_MIN": 1.5}.items():
        with override_settings(**{name: value}):
            assert list(causes.standing(timezone.now())) == [], name


def test_how_long_nothing_has_moved_is_told_as_it_was_set(settings: Any) -> None:
    _quiet_for(scene.start(scene.devices(2)), 11)
    settings.ALERT_NO_PROGRESS_MIN = 0.5
    assert "for more than 0.5 min" in next(iter(causes.standing(timezone.now()))).message


def _fail(deployment: Deployment, device: Device) -> None:
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="apk_invalid")


def test_where_all_is_well_nothing_is_raised() -> None:
    deployment = scene.start(scene.devices(3))
    scene.install(deployment, Device.objects.all()[0])
    assert _open() == set()


def test_a_failed_canary_is_raised_once_and_resolved_when_overridden() -> None:
    fleet = scene.devices(4)
    deployment = scene.start(canary=1)
    _fail(deployment, fleet[0])
    assert _open() == set(), "the gate has not judged yet"
    tick.advance(deployment.pk)
    assert _open() == {"canary_failed"}
    assert _open() == {"canary_failed"}
    assert _raised("canary_failed") == 1
    alert = Alert.objects.get()
    assert (alert.deployment_id, alert.state) == (deployment.pk, "open")
    lifecycle.resume(scene.admin(), deployment.pk, reason="known")
    assert _open() == set()
    assert Alert.objects.get().state == "resolved"


def test_an_undecided_canary_is_raised() -> None:
    scene.devices(4)
    deployment = scene.start(canary=2, canary_timeout_min=0.01)
    assert scene.beat(Device.objects.all()[0])
    scene.age(deployment, minutes=5)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "canary_undecided")
    assert _open() == {"canary_undecided"}


def test_too_many_failures_are_raised_and_again_after_an_override() -> None:
    fleet = scene.devices(6)
    deployment = scene.start(fleet, max_failures=1)
    _fail(deployment, fleet[0])
    tick.advance(deployment.pk)
    assert _open() == {"failure_rate"}
    lifecycle.resume(scene.admin(), deployment.pk, reason="known")
    assert _open() == set()
    _fail(deployment, fleet[1])
    tick.advance(deployment.pk)
    assert _open() == {"failure_rate"}
    assert _raised("failure_rate") == 2


def test_a_long_pause_is_raised_but_not_a_short_one() -> None:
    deployment = scene.start(scene.devices(1))
    lifecycle.pause(scene.admin(), deployment.pk)
    Deployment.objects.update(paused_at=timezone.now() - timedelta(hours=3, minutes=59))
    assert _open() == set()
    Deployment.objects.update(paused_at=timezone.now() - timedelta(hours=4, minutes=1))
    assert _open() == {"paused_too_long"}
    lifecycle.cancel(scene.admin(), deployment.pk)
    assert _open() == set()


def _answers(**statuses: int) -> None:
    given = {
        counters.key("agent_requests", route="status", status=name.removeprefix("s")): count
        for name, count in statuses.items()
    }
    counters.add(given)


@pytest.mark.parametrize(
    ("statuses", "raised"),
    [
        pytest.param({"s200": 95, "s422": 5}, False, id="five in a hundred"),
        pytest.param({"s200": 94, "s422": 6}, True, id="six in a hundred"),
        pytest.param({"s200": 94, "s500": 6}, True, id="errors of ours"),
        pytest.param({"s200": 50, "s409": 50}, False, id="409 is an answer, no error"),
        pytest.param({"s422": 19}, False, id="too few to say"),
        pytest.param({"s422": 20}, True, id="just enough"),
    ],
)
def test_errors_of_reports_are_raised_above_their_share(statuses: dict[str, int], raised: bool) -> None:
    _answers(**statuses)
    assert ("webhook_errors" in _open()) is raised


def test_errors_count_for_five_minutes_and_only_those_of_reports() -> None:
    counters.add({counters.key("agent_requests", route="heartbeat", status="401"): 100})
    assert _open() == set()
    _answers(s422=30)
    assert _open() == {"webhook_errors"}
    RecentCount.objects.update(slot=timezone.now() - timedelta(minutes=5, seconds=20))
    assert _open() == {"webhook_errors"}, "it stays until it has been calm for a minute"
    _calm("webhook_errors")
    assert _open() == set()


def test_refused_reports_are_counted_at_the_door() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    call, path = Caller("nxd_nobody"), _report_path(deployment, device)
    assert {call("POST", path, {"status": "received"}).status for _ in range(21)} <= {401, 429}
    counters.gatherer.flush()
    assert _open() == {"webhook_errors"}


def _report_path(deployment: Deployment, device: Device) -> str:
    return f"/v1/agent/deployments/{deployment.pk}/devices/{device.pk}/status"


@pytest.mark.parametrize(("late", "raised"), [(9, False), (11, True)])
def test_a_deadline_that_nobody_keeps_is_a_backlog(late: int, raised: bool) -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], ack_timeout_min=1)
    assert scene.beat(device)
    _quiet_for(deployment, 1 + late)
    assert ("queue_backlog" in _open()) is raised


def test_a_start_that_nobody_plans_is_a_backlog() -> None:
    deployment = scene.start(scene.devices(1))
    _quiet_for(deployment, 11)
    Deployment.objects.filter(pk=deployment.pk).update(status="queued", planned_at=None, started_at=None)
    assert _open() == {"queue_backlog"}


def test_what_was_due_during_a_pause_is_late_from_the_resume_on() -> None:
    deployment, device = _retry_due(30)
    other = scene.start(scene.devices(1, serial="other"), ack_timeout_min=1)
    assert scene.beat(Device.objects.get(serial="other"))
    for each in (deployment, other):
        _quiet_for(each, 30)
        lifecycle.pause(scene.admin(), each.pk)
        lifecycle.resume(scene.admin(), each.pk)
    scene.readings(device, received_at=timezone.now())
    assert _open() == set()
    for each in (deployment, other):
        _quiet_for(each, 11)
    scene.readings(device, received_at=timezone.now())
    assert "queue_backlog" in _open()


def _retry_due(minutes: int, **beat: Any) -> tuple[Deployment, Device]:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 3, "backoff_sec": 60})
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="install_internal")
    _quiet_for(deployment, minutes)
    DeploymentTask.objects.update(next_run_at=timezone.now() - timedelta(minutes=minutes))
    scene.readings(device, **{"received_at": timezone.now()} | beat)
    return deployment, device


def test_a_retry_that_does_not_come_is_a_backlog() -> None:
    _retry_due(11)
    assert "queue_backlog" in _open()


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(lambda _, device: Device.objects.update(hold_until=_in_an_hour()), id="on hold"),
        pytest.param(lambda deployment, _: lifecycle.pause(scene.admin(), deployment.pk), id="paused"),
        pytest.param(
            lambda *_: scene.quiet(Device.objects.get(), minutes=12), id="not heard of since it was due"
        ),
    ],
)
def test_what_waits_rightly_is_no_backlog(held: Any) -> None:
    held(*_retry_due(11))
    assert _open() == set()


def _in_an_hour() -> datetime:
    return timezone.now() + timedelta(hours=1)


def _quiet_for(deployment: Deployment, minutes: int) -> None:
    """Nothing was logged of it for so long, and its devices are there."""
    scene.age(deployment, minutes=minutes)
    _sql("SET LOCAL session_replication_role = replica")  # no trigger fires
    _sql(
        "UPDATE deployment_event SET created_at = created_at - make_interval(mins => %s) WHERE deployment_id = %s",
        minutes,
        deployment.pk,
    )
    _sql("SET LOCAL session_replication_role = origin")


@pytest.mark.parametrize(("minutes", "raised"), [(9, False), (11, True)])
def test_ready_devices_that_get_nothing_are_raised(minutes: int, raised: bool) -> None:
    deployment = scene.start(scene.devices(2))
    _quiet_for(deployment, minutes)
    assert ("no_progress" in _open()) is raised


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda deployment: scene.readings(Device.objects.get(), battery=1), id="not ready"),
        pytest.param(lambda deployment: scene.quiet(Device.objects.get(), minutes=12), id="silent since"),
        pytest.param(lambda deployment: lifecycle.pause(scene.admin(), deployment.pk), id="paused"),
        pytest.param(lambda deployment: scene.beat(Device.objects.get()), id="at work"),
        pytest.param(
            lambda deployment: lifecycle.change_pace(scene.admin(), deployment.pk, rate=5), id="a person acts"
        ),
    ],
)
def test_nothing_moves_rightly_where_nobody_could_go_on(change: Any) -> None:
    deployment = scene.start(scene.devices(1))
    _quiet_for(deployment, 11)
    change(deployment)
    assert _open() == set()


def test_a_closed_window_is_no_standstill() -> None:
    now = timezone.now()
    window = {
        "start_iso": (now + timedelta(hours=1)).isoformat(),
        "end_iso": (now + timedelta(hours=2)).isoformat(),
    }
    deployment = scene.start(scene.devices(1), window=window)
    _quiet_for(deployment, 11)
    assert _open() == set()


@pytest.mark.parametrize("part", ["worker", "ticker"])
def test_a_silent_part_is_raised_and_resolved_when_it_beats(part: str) -> None:
    worker_beat.beat(part)
    _sql("UPDATE worker_beat SET beat_at = now() - interval '29 seconds'")
    assert _open() == set()
    _sql("UPDATE worker_beat SET beat_at = now() - interval '31 seconds'")
    assert _open() == {"worker_silent"}
    worker_beat.beat(part)
    _calm("worker_silent")
    assert _open() == set()


def test_two_silent_workers_are_two_alerts() -> None:
    long_ago = timezone.now() - timedelta(minutes=1)
    WorkerBeat.objects.create(name="worker-1@a:1", part="worker", beat_at=long_ago)
    WorkerBeat.objects.create(name="worker-1@b:1", part="worker", beat_at=long_ago)
    _open()
    assert _raised("worker_silent") == 2


def test_a_part_that_was_stopped_is_not_silent() -> None:
    WorkerBeat.objects.create(name="w@a:1", part="worker", beat_at=timezone.now() - timedelta(minutes=1))
    worker_beat.forget(["w@a:1"])
    assert _open() == set()


def test_what_a_killed_supervisor_left_is_forgotten_at_the_next_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mdm.worker_beat.socket.gethostname", lambda: "here")
    for name in ("worker-1@here:1", "worker-1@here:999999999", "worker-1@there:999999999"):
        WorkerBeat.objects.create(name=name, part="worker")
    worker_beat.forget_the_dead_of_this_host()
    assert {beat.name for beat in WorkerBeat.objects.all()} == {"worker-1@here:1", "worker-1@there:999999999"}


def _enroll(serial: str, token: str) -> int:
    body = {"enrollment_token": token, "serial": serial, "model": "TC52", "sdk_int": 33}
    return Caller()("POST", "/v1/agent/enroll", body).status


def test_somebody_who_takes_a_serial_is_refused_and_raised_once() -> None:
    (device,) = scene.devices(1, serial="R58M0001")
    _, token = enrollment_token()
    assert [_enroll("R58M0001", token), _enroll("R58M0001", token)] == [409, 409]
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject) == ("serial_taken", f"device {device.pk}")
    rounds.watch()
    assert Alert.objects.get().state == "open"
    Alert.objects.update(opened_at=timezone.now() - timedelta(hours=25))
    rounds.watch()
    assert Alert.objects.get().state == "resolved"


def test_a_reinstall_that_is_not_finished_is_raised() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet)
    assert scene.beat(fleet[0])
    scene.report(deployment, fleet[0], "failed", error_code="reinstall_incomplete")
    assert _open() == {"reinstall_incomplete"}
    scene.report(deployment, fleet[0], "succeeded", attempt=1)
    assert _open() == set()
