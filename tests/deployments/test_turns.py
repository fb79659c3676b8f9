"""Whose turn has come, one job at a time, and how long a silent device keeps its place (behaviour §5, §7 and §9)."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from deployments import tick
from deployments.engine import dispatch, reaper, turns
from deployments.locking import locked
from deployments.models import Deployment, DeploymentAttempt, DeploymentEvent, DeploymentTask
from devices.models import Device
from tests.deployments import scene

pytestmark = pytest.mark.django_db

LOW = {"battery": 5}


def _in_order(*beats: dict[str, int]) -> list[Device]:
    """Devices seen one second apart, the first one last seen most recently."""
    now = timezone.now()
    return [
        scene.devices(1, beat={"received_at": now - timedelta(seconds=index), **beat})[0]
        for index, beat in enumerate(beats)
    ]


def _statuses(deployment: Deployment, fleet: list[Device]) -> list[str]:
    return [scene.task(deployment, device).status for device in fleet]


# --- whose turn ----------------------------------------------------------------------------------------------


def test_misses_are_decided_in_the_order_of_pushes_for_as_many_as_there_is_room() -> None:
    fleet = _in_order(LOW, {}, LOW, LOW)
    deployment = scene.start(fleet, concurrency=1)
    assert _statuses(deployment, fleet) == ["skipped", "queued", "queued", "queued"]


def test_without_room_nobodys_turn_has_come() -> None:
    fleet = _in_order({}, LOW)
    deployment = scene.start(fleet, concurrency=1)
    assert scene.beat(fleet[0])
    tick.advance(deployment.pk)
    assert _statuses(deployment, fleet) == ["sending", "queued"]
    scene.report(deployment, fleet[0], "succeeded")
    tick.advance(deployment.pk)
    assert _statuses(deployment, fleet) == ["succeeded", "skipped"]


def _motley(count: int) -> list[Device]:
    """Seen in another order than made, every second one in a zone whose night it is."""
    now, zones = timezone.now(), ("UTC", "Asia/Tokyo")
    return [
        scene.devices(1, tz=zones[index % 2], beat={"received_at": now - timedelta(seconds=index * 7 % 60)})[
            0
        ]
        for index in range(count)
    ]


def test_who_was_seen_most_recently_is_found_without_a_look_at_every_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = timezone.now() - timedelta(hours=1)
    hours = {"start": f"{begin:%H:%M}", "end": f"{begin + timedelta(hours=2):%H:%M}", "tz": "device"}
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    deployment = scene.start(_motley(60), concurrency=8, window=hours | {"days": days})
    tasks = DeploymentTask.objects.filter(deployment=deployment).order_by("id")
    for index, task in enumerate(tasks):
        tasks.filter(pk=task.pk).update(agent_skips=index % 11 == 0, failures=index % 9 == 4, attempt=1)
    monkeypatch.setattr(turns, "CHUNKS", (20, 30, 60))

    def chosen(fleet_is_large: bool) -> list[int]:
        monkeypatch.setattr(turns, "MANY_TARGETS", 1 if fleet_is_large else 1_000)
        with locked(deployment.pk) as held:
            now = dispatch.turn(held)
            assert now is not None
            recent = turns._next_recent(deployment, now.terms, 20)
            assert len(recent) == (20 if fleet_is_large else 0)
            return [each.task_id for each in turns.ready_in_order(deployment, now.terms, 8)]

    assert len(chosen(fleet_is_large=True)) == 8
    assert chosen(fleet_is_large=True) == chosen(fleet_is_large=False)


def test_held_devices_are_passed_over() -> None:
    fleet = _in_order({}, {}, LOW)
    Device.objects.filter(pk=fleet[0].pk).update(hold_until=timezone.now() + timedelta(hours=1))
    deployment = scene.start(fleet, concurrency=2)
    assert _statuses(deployment, fleet) == ["queued", "queued", "skipped"]
    assert scene.reason(deployment, fleet[0]) == "device_hold"


def test_a_hold_that_ends_lets_the_device_go() -> None:
    (device,) = scene.devices(1, hold_until=timezone.now() + timedelta(hours=1), hold_reason="Inventory")
    deployment = scene.start([device])
    assert scene.beat(device) is None
    assert scene.task(deployment, device).status == "queued"
    Device.objects.update(hold_until=timezone.now())
    assert scene.beat(device)


def test_offline_devices_hold_no_slot_use_no_rate_and_never_keep_a_deployment_from_ending() -> None:
    fleet = [*scene.devices(5, beat={"received_at": None}), *scene.devices(2)]
    deployment = scene.start(fleet, concurrency=1, rate=2)
    for device in fleet[5:]:
        scene.install(deployment, device)
    scene.age(deployment, seconds=60)
    tick.advance(deployment.pk)
    assert scene.counts(deployment) == {"skipped": 5, "succeeded": 2, "total": 7}
    assert DeploymentAttempt.objects.count() == 2
    scene.age(deployment, hours=24)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("complete", "")
    assert scene.reasons(deployment) == {"offline": 5}


def test_a_limit_marks_only_the_next_few_and_the_log_says_so_once_per_move() -> None:
    fleet = scene.devices(50)
    deployment = scene.start(fleet, concurrency=3)
    for device in fleet[:3]:
        assert scene.beat(device)
    for _ in range(3):
        tick.advance(deployment.pk)
    assert scene.counts(deployment) == {"queued": 44, "throttled": 3, "sending": 3, "total": 50}
    (held,) = DeploymentEvent.objects.filter(meta__reason="concurrency_limit")
    assert held.meta["count"] == 3
    scene.report(deployment, fleet[0], "succeeded")
    tick.advance(deployment.pk)
    assert scene.counts(deployment) == {"queued": 47, "sending": 2, "succeeded": 1, "total": 50}


def test_a_marked_device_is_claimed_like_any_other() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet, concurrency=1)
    assert scene.beat(fleet[0])
    tick.advance(deployment.pk)
    assert scene.task(deployment, fleet[1]).status == "throttled"
    scene.report(deployment, fleet[0], "succeeded")
    assert scene.beat(fleet[1])


def test_a_device_that_disagrees_with_the_server_sorts_last() -> None:
    fleet = _in_order({}, LOW, LOW)
    deployment = scene.start(fleet, concurrency=1, retry={"max": 3, "backoff_sec": 1})
    assert scene.beat(fleet[0])
    scene.report(deployment, fleet[0], "skipped", error_code="device_condition")
    scene.age(deployment, seconds=2)
    scene.quiet(fleet[0], seconds=2)
    assert scene.beat(fleet[0])
    scene.report(deployment, fleet[0], "skipped", error_code="kill_switch")
    tick.advance(deployment.pk)
    assert _statuses(deployment, fleet) == ["queued", "skipped", "skipped"]


# --- one job at a time, retries, silence ---------------------------------------------------------------------


def test_a_device_is_taken_by_one_deployment_and_free_for_the_next_when_it_is_done() -> None:
    (device,) = scene.devices(1)
    first = scene.start([device])
    second = scene.start([device], to=scene.version(7, package="com.nexmdm.unity"))
    command = scene.beat(device)
    assert command is not None
    assert command["deployment_id"] == first.pk
    tick.advance(second.pk)
    again = scene.beat(device)
    assert again is not None
    assert (again["deployment_id"], again["attempt"]) == (first.pk, 1)
    assert scene.task(second, device).status == "queued"
    scene.report(first, device, "succeeded")
    command = scene.beat(device)
    assert command is not None
    assert command["deployment_id"] == second.pk


def test_the_database_refuses_two_jobs_of_one_device() -> None:
    (device,) = scene.devices(1)
    first, second = scene.start([device]), scene.start([device])
    assert scene.beat(device)
    with pytest.raises(IntegrityError, match="one_in_flight"), transaction.atomic():
        DeploymentTask.objects.filter(deployment=second).update(
            status="sending", attempt=1, sent_at=timezone.now(), in_flight_until=timezone.now()
        )
    assert scene.task(first, device).status == "sending"


def test_the_retry_budget_counts_across_deployments() -> None:
    (device,) = scene.devices(1)
    for _ in range(2):
        deployment = scene.start([device], retry={"max": 4, "backoff_sec": 1})
        for _ in range(5):
            assert scene.beat(device)
            scene.report(deployment, device, "failed", error_code="install_internal")
            DeploymentTask.objects.filter(status="queued").update(next_run_at=None)
    third = scene.start([device])
    assert scene.beat(device) is None
    assert scene.task(third, device).reason == "retry_budget_spent"
    assert DeploymentAttempt.objects.count() == 10


def test_a_retry_waits_for_its_back_off_and_gets_a_new_attempt() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 1, "backoff_sec": 300})
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="install_internal")
    assert scene.beat(device) is None
    scene.age(deployment, seconds=361)
    command = scene.beat(device)
    assert command is not None
    assert command["attempt"] == 2
    scene.report(deployment, device, "failed", error_code="install_internal")
    assert scene.task(deployment, device).status == "failed"


SILENCE = [
    ("sent and never acknowledged", None, 11, "no_answer"),
    ("acknowledged, then 15 minutes of nothing", "downloading", 16, "timed_out"),
]


@pytest.mark.parametrize(
    ("step", "minutes", "code"), [row[1:] for row in SILENCE], ids=[row[0] for row in SILENCE]
)
def test_silence_gives_the_slot_back(step: str | None, minutes: int, code: str) -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet, concurrency=1)
    assert scene.beat(fleet[0])
    if step:
        scene.report(deployment, fleet[0], step)
    scene.age(deployment, minutes=minutes - 2)
    assert reaper.reap(timezone.now()) == 0
    assert scene.beat(fleet[1]) is None
    scene.age(deployment, minutes=2)
    assert reaper.reap(timezone.now()) == 1
    assert scene.beat(fleet[1])
    task = scene.task(deployment, fleet[0])
    assert (task.status, task.error_code, task.failures) == ("queued", code, 1)


def test_an_attempt_ends_at_its_bound_however_busy_the_device_says_it_is() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device)
    scene.report(deployment, device, "downloading")
    for progress in range(12):
        scene.age(deployment, minutes=10)
        reaper.reap(timezone.now())
        scene.report(deployment, device, "downloading", progress=progress)
    assert scene.task(deployment, device).error_code == "timed_out"


# --- rate ----------------------------------------------------------------------------------------------------


def test_a_slot_given_back_does_not_give_the_rate_back() -> None:
    fleet = scene.devices(3)
    deployment = scene.start(fleet, rate=2)
    for device in fleet[:2]:
        assert scene.beat(device)
        scene.report(deployment, device, "skipped", error_code="battery_low")
    assert scene.beat(fleet[2]) is None
    scene.age(deployment, seconds=59)
    assert scene.beat(fleet[2]) is None
    scene.age(deployment, seconds=1)
    assert scene.beat(fleet[2])


def test_a_clock_that_was_turned_back_does_not_open_the_rate() -> None:
    fleet = scene.devices(2)
    scene.start(fleet, rate=1)
    assert scene.beat(fleet[0])
    ahead = timezone.now() + timedelta(hours=1)
    Deployment.objects.update(last_sent_at=ahead)
    DeploymentAttempt.objects.update(sent_at=ahead)
    assert scene.beat(fleet[1]) is None
