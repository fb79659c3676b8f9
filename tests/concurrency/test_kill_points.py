"""`kill -9` between any two steps: nothing half-done, nothing sent twice in one attempt, nothing stuck beyond its
deadline, and the deployment completes afterwards."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.utils import timezone

import devices.fcm  # noqa: F401 - once, before the forks, instead of in each of them
from deployments import audit, tasks, tick
from deployments.engine import (
    attempts,
    bell,
    commands,
    dispatch,
    ending,
    measures,
    moves,
    planner,
    pushing,
    reaper,
)
from deployments.models import Deployment, DeploymentAttempt, DeploymentEvent, DeploymentTask, FleetSwitch
from deployments.operations import fleet_switch, lifecycle
from deployments.reading import log_replay
from deployments.rules.options import DeploymentOptions
from devices import push
from devices.models import Device
from devices.selection import Target
from mdm.models import AuditEvent
from tests.concurrency import ledger
from tests.concurrency.processes import Child, FarEnd, die, dies_after, far_end, patch
from tests.deployments import scene
from tests.fakes import ACCEPTED, fcm_refusal

pytestmark = pytest.mark.django_db(transaction=True)

CONCURRENCY = 4
OPTIONS: dict[str, Any] = {
    "concurrency": CONCURRENCY,
    "ack_timeout_min": 0.5,
    "step_timeout_min": 0.5,
    "retry": {"max": 9, "backoff_sec": 1},
}
Patch = Callable[[], None]


@pytest.fixture
def fcm(settings: Any) -> Iterator[FarEnd]:
    with far_end() as far:
        settings.FCM_ENDPOINT = far.url
        yield far


@pytest.fixture
def rollout(settings: Any, fcm: FarEnd, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Six devices that can be pushed to, four at a time; nobody was sent to yet. No push is ever late: a busy
    machine is no failure."""
    monkeypatch.setattr(pushing, "LATE_SEC", 3600)
    deployment = scene.start(scene.devices(6, fcm_token="token"), **OPTIONS)
    settings.PUSH_TRANSPORT = "fcm"
    return deployment


def killed(point: Patch, deed: Callable[[], object]) -> None:
    """Does the deed in a process of its own, which is gone when it comes to this point."""

    def live(_: object) -> object:
        point()
        return deed()

    with Child(live) as child:
        child.died()


def in_flight(deployment: Deployment) -> set[tuple[int, int]]:
    """(device, attempt) of the tasks that hold a place."""
    found = DeploymentTask.objects.filter(deployment=deployment, in_flight_until__isnull=False)
    return set(found.values_list("device_id", "attempt"))


def open_sends(deployment: Deployment) -> set[tuple[int, int]]:
    found = DeploymentAttempt.objects.filter(deployment=deployment, finished_at=None)
    return set(found.values_list("device_id", "number"))


def complete(deployment: Deployment) -> None:
    """Everybody answers what he was sent, until it is over."""
    for _ in range(20):
        tasks.advance(deployment.pk)
        assert len(in_flight(deployment)) <= CONCURRENCY
        for device_id, attempt in in_flight(deployment):
            for status in ("received", "succeeded"):
                answer = scene.report(deployment, Device(pk=device_id), status, attempt=attempt)
                assert answer.http_status == 200
        if scene.state(deployment)[0] == "complete":
            return
        scene.age(deployment, seconds=20)
    raise AssertionError(scene.counts(deployment))


def holds_together(deployment: Deployment, fcm: FarEnd) -> None:
    sends, pushed = ledger.sends(deployment.pk), fcm.pushed()
    assert in_flight(deployment) == open_sends(deployment)
    assert ledger.most_at_once(sends) <= CONCURRENCY
    assert ledger.twice_at_once(sends) == []
    assert len(set(pushed)) == len(pushed), "an attempt was pushed twice"
    assert set(pushed) <= {(send.deployment, send.device, send.number) for send in sends}
    assert list(log_replay.differences(deployment.pk)) == []


WORKER_DIES: dict[str, tuple[Patch, int, int]] = {
    # point: (how, sends in the ledger, messages that FCM has got)
    "before it measures": (lambda: patch(measures, "measure_pace", die), 0, 0),
    "after it measured, before the claim": (lambda: patch(dispatch, "claim", die), 0, 0),
    "after the claim, before the commit": (lambda: dies_after(dispatch, "claim"), 0, 0),
    "after the commit, before the push": (lambda: patch(pushing, "push_claims", die), 4, 0),
    "half-way through the pushes": (lambda: _push_only(2), 4, 2),
    "after the pushes, before any is recorded": (lambda: patch(pushing, "_record", die), 4, 4),
    "when some pushes are recorded": (lambda: dies_after(pushing, "_record", 2), 4, 4),
    "after the last record": (lambda: dies_after(pushing, "_back_off"), 4, 4),
    "after the bell was answered": (lambda: dies_after(bell, "answered"), 0, 0),
}


def _push_only(count: int) -> None:
    original = push.send

    def some(messages: list[Any]) -> None:
        original(messages[:count])
        die()

    patch(push, "send", some)


@pytest.mark.parametrize("point", WORKER_DIES)
def test_a_worker_is_killed(point: str, rollout: Deployment, fcm: FarEnd) -> None:
    how, sent, pushed = WORKER_DIES[point]
    bell.call(rollout.pk)
    killed(how, lambda: tasks.advance(rollout.pk))
    assert (len(ledger.sends()), len(fcm.pushed())) == (sent, pushed)
    holds_together(rollout, fcm)

    tasks.advance(rollout.pk)  # the next worker takes what is free, and nothing again
    assert len(in_flight(rollout)) == CONCURRENCY
    assert {number for _, number in in_flight(rollout)} == {1}
    holds_together(rollout, fcm)

    scene.age(rollout, minutes=0.6)
    reaper.reap(timezone.now())
    assert in_flight(rollout) == set()
    complete(rollout)
    assert scene.counts(rollout) == {"succeeded": 6, "total": 6}
    holds_together(rollout, fcm)


def test_a_device_that_got_the_push_before_the_worker_died_is_believed(
    rollout: Deployment, fcm: FarEnd
) -> None:
    killed(lambda: patch(pushing, "_record", die), lambda: tasks.advance(rollout.pk))
    for _, device_id, attempt in fcm.pushed():
        scene.report(rollout, Device(pk=device_id), "succeeded", attempt=attempt)
    assert scene.counts(rollout)["succeeded"] == 4
    complete(rollout)
    assert [send.number for send in ledger.sends()] == [1] * 6


HEARTBEAT_DIES: dict[str, tuple[Patch, int]] = {
    "before the commit of the claim": (lambda: dies_after(dispatch, "claim"), 0),
    "after it, before the answer": (lambda: patch(commands, "command", die), 1),
}


@pytest.mark.parametrize("point", HEARTBEAT_DIES)
def test_a_web_process_is_killed_in_a_heartbeat(point: str) -> None:
    how, sent = HEARTBEAT_DIES[point]
    (device,) = scene.devices(1)
    deployment = scene.start([device], **OPTIONS)
    killed(how, lambda: scene.beat(device))
    assert len(ledger.sends()) == sent
    command = scene.beat(device)
    assert command is not None
    assert command["attempt"] == 1
    complete(deployment)
    assert [send.number for send in ledger.sends()] == [1]


BACK_OFF_DIES: dict[str, tuple[Patch, int]] = {
    "before it backs off": (lambda: patch(pushing, "_back_off", die), 4),
    "before it gives the first place back": (lambda: patch(attempts, "back_to_queue", die), 4),
    "when some places are given back": (lambda: dies_after(attempts, "apply", 3), 1),
}


@pytest.mark.parametrize("point", BACK_OFF_DIES)
def test_a_worker_is_killed_while_fcm_is_out(point: str, rollout: Deployment, fcm: FarEnd) -> None:
    how, held = BACK_OFF_DIES[point]
    fcm.answers(fcm_refusal(503, "UNAVAILABLE", "UNAVAILABLE"))
    killed(how, lambda: tasks.advance(rollout.pk))
    assert len(in_flight(rollout)) == held
    assert in_flight(rollout) == open_sends(rollout)
    fcm.answers(ACCEPTED)
    scene.age(rollout, minutes=2)
    reaper.reap(timezone.now())
    assert in_flight(rollout) == set()
    complete(rollout)
    holds_together(rollout, fcm)
    assert scene.counts(rollout) == {"succeeded": 6, "total": 6}


def test_a_web_process_killed_after_a_report_was_applied_loses_only_the_bell(rollout: Deployment) -> None:
    tasks.advance(rollout.pk)
    device_id, _ = min(in_flight(rollout))
    killed(lambda: patch(bell, "ring", die), lambda: scene.report(rollout, Device(pk=device_id), "succeeded"))
    assert scene.counts(rollout)["succeeded"] == 1
    assert in_flight(rollout) == open_sends(rollout)
    assert scene.report(rollout, Device(pk=device_id), "succeeded").http_status == 200
    complete(rollout)


def test_the_reaper_killed_on_its_way_leaves_the_others_to_the_next(rollout: Deployment) -> None:
    tasks.advance(rollout.pk)
    scene.age(rollout, minutes=0.6)
    killed(lambda: dies_after(bell, "ring", 2), lambda: reaper.reap(timezone.now()))
    assert len(in_flight(rollout)) == 2
    assert in_flight(rollout) == open_sends(rollout)
    assert reaper.reap(timezone.now()) == 2
    complete(rollout)


# --- planning and the end ------------------------------------------------------------------------------------


def _request(fleet: list[Device]) -> int:
    scene.enable()
    return lifecycle.start(
        scene.admin(),
        apk_version_id=scene.version().pk,
        target=Target.model_validate({"type": "selection", "device_ids": [device.pk for device in fleet]}),
        options=DeploymentOptions.from_json(scene.EASY),
    )


PLANNER_DIES: dict[str, Patch] = {
    "with the tasks inserted": lambda: dies_after(planner, "_insert_tasks"),
    "with the events written": lambda: patch(planner, "_from_version", die),
    "planned, before it runs": lambda: dies_after(planner, "plan"),
    "running, before the commit": lambda: dies_after(moves, "move"),
}


@pytest.mark.parametrize("point", PLANNER_DIES)
def test_planning_is_killed_half_way(point: str) -> None:
    pk = _request(scene.devices(3))
    deployment, before = Deployment.objects.get(pk=pk), DeploymentEvent.objects.count()
    killed(PLANNER_DIES[point], lambda: tasks.advance(pk))
    fresh = Deployment.objects.get(pk=pk)
    assert (fresh.status, fresh.planned_at, fresh.started_at) == ("queued", None, None)
    assert DeploymentTask.objects.count() == 0
    assert DeploymentEvent.objects.count() == before
    tasks.advance(pk)
    assert scene.state(deployment) == ("running", "")
    assert scene.counts(deployment) == {"queued": 3, "total": 3}
    assert Deployment.objects.get(pk=pk).from_version_id is None
    assert deployment.target.selection_query["type"] == "selection"


def test_a_start_killed_before_its_commit_has_started_nothing() -> None:
    fleet = scene.devices(2)
    killed(lambda: dies_after(audit, "record"), lambda: _request(fleet))
    assert Deployment.objects.count() == 0


def test_a_start_killed_after_its_commit_is_found_by_the_ticker() -> None:
    fleet = scene.devices(2)
    killed(lambda: patch(bell, "call", die), lambda: _request(fleet))
    deployment = Deployment.objects.get()
    assert deployment.status == "queued"
    rung: list[int] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(bell, "async_task", lambda _name, pk: rung.append(pk))
        tick.ring_due_deployments()
    assert rung == [deployment.pk]
    tasks.advance(deployment.pk)
    assert scene.state(deployment) == ("running", "")


def test_the_end_is_killed_before_its_commit(rollout: Deployment) -> None:
    for _ in range(2):
        tasks.advance(rollout.pk)
        for device_id, _ in in_flight(rollout):
            scene.report(rollout, Device(pk=device_id), "succeeded")
    killed(lambda: dies_after(moves, "move"), lambda: tasks.advance(rollout.pk))
    assert scene.state(rollout) == ("running", "")
    tasks.advance(rollout.pk)
    assert scene.state(rollout) == ("complete", "")


def test_a_gate_is_killed_while_it_pauses() -> None:
    fleet = scene.devices(4)
    deployment = scene.start(canary=2, retry={"max": 0, "backoff_sec": 1})
    assert scene.beat(fleet[0])
    assert scene.beat(fleet[1])
    scene.report(deployment, fleet[0], "failed", error_code="apk_invalid")
    killed(lambda: patch(moves, "recall_unacknowledged", die), lambda: tasks.advance(deployment.pk))
    assert scene.state(deployment) == ("running", "")
    assert scene.task(deployment, fleet[1]).status == "sending"
    tasks.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "canary_failed")
    assert scene.task(deployment, fleet[1]).status == "queued"
    assert open_sends(deployment) == set()


# --- cancel and kill switch ----------------------------------------------------------------------------------

CANCEL_DIES: dict[str, tuple[Patch, bool]] = {
    "with the status moved": (lambda: dies_after(moves, "move"), False),
    "with the tasks ended, before the commit": (lambda: dies_after(ending, "end_tasks_of_deployment"), False),
    "after the commit, before devices are told": (lambda: patch(bell, "tell_to_stop", die), True),
}


@pytest.mark.parametrize("point", CANCEL_DIES)
def test_a_cancel_is_killed(point: str, rollout: Deployment, fcm: FarEnd) -> None:
    how, done = CANCEL_DIES[point]
    tasks.advance(rollout.pk)
    before = scene.counts(rollout)
    device_id, attempt = min(in_flight(rollout))
    killed(how, lambda: lifecycle.cancel(scene.admin(), rollout.pk, reason="drill"))
    assert scene.state(rollout)[0] == ("canceled" if done else "running")
    assert scene.counts(rollout) == ({"skipped": 6, "total": 6} if done else before)
    assert scene.confirm(rollout, Device(pk=device_id), attempt).http_status == (410 if done else 200)
    assert scene.beat(Device(pk=device_id)) is None or not done
    lifecycle.cancel(scene.admin(), rollout.pk)
    assert scene.counts(rollout) == {"skipped": 6, "total": 6}
    scene.age(rollout, minutes=0.6)
    reaper.reap(timezone.now())
    assert in_flight(rollout) == open_sends(rollout) == set()
    holds_together(rollout, fcm)


SWITCH_DIES: dict[str, tuple[Patch, bool]] = {
    "with one deployment paused": (lambda: dies_after(moves, "pause"), False),
    "with all paused, before the commit": (lambda: dies_after(fleet_switch, "_stop_all"), False),
    "after the commit": (lambda: patch(fleet_switch, "read", die), True),
}


@pytest.mark.parametrize("point", SWITCH_DIES)
def test_the_kill_switch_is_killed(point: str) -> None:
    how, done = SWITCH_DIES[point]
    fleet = scene.devices(2)
    both = [scene.start(fleet, to=scene.version(121 + index), **OPTIONS) for index in range(2)]
    logged = AuditEvent.objects.count()
    killed(how, lambda: fleet_switch.change(scene.admin(), kill_switch=True, reason="smoke"))
    assert FleetSwitch.objects.get().kill_switch == done
    assert {scene.state(it) for it in both} == {("paused", "kill_switch") if done else ("running", "")}
    assert (AuditEvent.objects.count() > logged) == done
    assert (scene.beat(fleet[0]) is None) == done
    fleet_switch.change(scene.admin(), kill_switch=True, reason="smoke")
    assert {scene.state(it) for it in both} == {("paused", "kill_switch")}
