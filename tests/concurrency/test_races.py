"""Two who want contrary things at the same moment, each in a process of its own and held where it matters.

The same scenes without the lock show that it is the lock that keeps the promise.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User

from deployments import tick
from deployments.engine import dispatch, moves
from deployments.models import Deployment, DeploymentAttempt, DeploymentEvent, DeploymentTask, StartRequest
from deployments.operations import beginning, lifecycle
from deployments.reading import log_replay
from deployments.rules.options import DeploymentOptions
from devices.models import Device
from devices.selection import Target
from mdm.people import Actor
from tests.concurrency.processes import Child, Gate, Raised, as_ever, patch, waits_at
from tests.concurrency.test_stop_races import without_locks
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)

# --- two starts with one key ---------------------------------------------------------------------------------


def _starts_with_key(actor: Actor, version_id: int, fleet: list[Device], digest: str, _: Gate) -> int:
    return lifecycle.start(
        actor,
        apk_version_id=version_id,
        target=Target.model_validate({"type": "selection", "device_ids": [device.pk for device in fleet]}),
        options=DeploymentOptions.from_json(scene.EASY),
        idempotency_key="once",
        body_digest=digest,
    )


def _and_waits(deed: Callable[[Gate], object], gate: Gate) -> object:
    """With the key written, before the commit."""
    waits_at(gate, StartRequest.objects, "create")
    return deed(gate)


def test_two_starts_with_one_key_are_one_deployment() -> None:
    scene.enable()
    start = partial(_starts_with_key, scene.admin(), scene.version().pk, scene.devices(1))
    with Child(partial(_and_waits, partial(start, "same"))) as first:
        first.comes()
        with Child(partial(start, "same")) as second, Child(partial(start, "another")) as third:
            assert second.waits_or_is_done()
            assert third.waits_or_is_done()
            first.opens()
            assert first.result() == second.result() == Deployment.objects.get().pk
            with pytest.raises(Raised, match="Invalid: This Idempotency-Key was used with another body"):
                third.result()
    assert StartRequest.objects.count() == 1


def test_where_the_first_start_dies_the_second_with_its_key_is_the_one() -> None:
    scene.enable()
    start = partial(_starts_with_key, scene.admin(), scene.version().pk, scene.devices(1))
    with Child(partial(_and_waits, partial(start, "same"))) as first:
        first.comes()
        with Child(partial(start, "same")) as second:
            assert second.waits_or_is_done()
            first.kill()
            assert second.result() == Deployment.objects.get().pk


# --- two who approve -----------------------------------------------------------------------------------------


def _approves(locks: Callable[[], None], actor: Actor, deployment: Deployment, gate: Gate | None) -> None:
    locks()
    if gate is not None:
        waits_at(gate, beginning, "_approved")
    beginning.approve(actor, deployment.pk)


def _two_approve(locks: Callable[[], None], settings: Any) -> tuple[bool, list[str]]:
    """Whether the second waited, and whom the log names."""
    settings.APPROVAL_ABOVE = 1
    people = [User.objects.create_user(name, is_superuser=True) for name in ("bob", "carol")]
    deployment = scene.start(scene.devices(2))
    first, second = (partial(_approves, locks, Actor.person(user), deployment) for user in people)
    with Child(first) as bob:
        bob.comes()
        with Child(lambda _: second(None)) as carol:
            waited = carol.waits_or_is_done()
            bob.opens()
            bob.result()
            carol.result()
    told = DeploymentEvent.objects.filter(deployment=deployment, message="Approved").order_by("id")
    return waited, list(told.values_list("actor", flat=True))


def test_of_two_who_approve_at_once_one_has(settings: Any) -> None:
    assert _two_approve(as_ever, settings) == (True, ["user:bob"])
    found = Deployment.objects.get()
    assert (found.status, found.approved_by) == ("running", User.objects.get(username="bob"))
    assert found.started_at == found.approved_at
    assert list(log_replay.differences(found.pk)) == []


def test_without_the_lock_the_log_would_name_both(settings: Any) -> None:
    assert sorted(_two_approve(without_locks, settings)[1]) == ["user:bob", "user:carol"]


# --- two who want one device ---------------------------------------------------------------------------------

LOOKS_ONLY = "SELECT id FROM device WHERE id = ANY(%s) ORDER BY id"


def _two_deployments(settings: Any) -> tuple[Device, Deployment, Deployment]:
    (device,) = scene.devices(1, fcm_token="token")
    pair = [scene.start([device], to=scene.version(code)) for code in (121, 122)]
    settings.PUSH_TRANSPORT = "fcm"
    return device, pair[0], pair[1]


def _advances(deployment: Deployment, lock: str, _: Gate) -> int:
    patch(dispatch, "LOCK_DEVICES", lock)
    return len(tick.advance(deployment.pk))


def _advances_and_waits(deployment: Deployment, gate: Gate) -> int:
    waits_at(gate, dispatch, "claim")
    return len(tick.advance(deployment.pk))


def test_of_two_deployments_that_claim_one_device_one_gets_it_and_the_other_goes_on(settings: Any) -> None:
    device, first, second = _two_deployments(settings)
    with Child(partial(_advances_and_waits, first)) as winner:
        winner.comes()
        with Child(partial(_advances, second, dispatch.LOCK_DEVICES)) as loser:
            assert loser.result() == 0
        winner.opens()
        assert winner.result() == 1
    assert scene.task(second, device).status == "queued"
    assert scene.reason(second, device) == "in_other_deployment"
    scene.report(first, device, "succeeded")
    assert len(tick.advance(second.pk)) == 1
    assert DeploymentAttempt.objects.count() == 2


def test_without_the_lock_of_the_device_the_database_refuses(settings: Any) -> None:
    device, first, second = _two_deployments(settings)
    with Child(partial(_advances_and_waits, first)) as winner:
        winner.comes()
        with Child(partial(_advances, second, LOOKS_ONLY)) as loser:
            assert loser.waits_or_is_done()
            winner.opens()
            assert winner.result() == 1
            with pytest.raises(Raised, match=r"IntegrityError: .*deployment_task_one_in_flight"):
                loser.result()
    assert scene.task(second, device).status == "queued"
    assert DeploymentAttempt.objects.count() == 1


def test_two_heartbeats_of_one_device_at_once_are_one_send() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    with Child(partial(_beats_and_waits, device)) as first:
        first.comes()
        with Child(lambda _: scene.beat(device)) as second:
            assert second.waits_or_is_done()
            first.opens()
            answers = [first.result(), second.result()]
    assert [answer and answer["attempt"] for answer in answers] in ([1, None], [1, 1])
    assert DeploymentAttempt.objects.get().number == 1
    command = scene.beat(device)
    assert command is not None
    assert command["attempt"] == 1
    assert list(log_replay.differences(deployment.pk)) == []


def _beats_and_waits(device: Device, gate: Gate) -> object:
    waits_at(gate, dispatch, "claim")
    return scene.beat(device)


def _beats(device: Device, _: Gate) -> object:
    return scene.beat(device)


def test_a_push_and_a_heartbeat_that_want_the_last_place_get_one(settings: Any) -> None:
    fleet = scene.devices(2, fcm_token="token")
    deployment = scene.start(fleet, concurrency=1)
    settings.PUSH_TRANSPORT = "fcm"
    with Child(partial(_advances_and_waits, deployment)) as push:
        push.comes()
        with ExitStack() as ends:
            beats = [ends.enter_context(Child(partial(_beats, device))) for device in fleet]
            assert all(beat.waits_or_is_done() for beat in beats)
            push.opens()
            assert push.result() == 1
            for beat in beats:
                beat.result()
    assert DeploymentAttempt.objects.count() == 1
    assert scene.counts(deployment)["sending"] == 1


# --- a cancel among reports ----------------------------------------------------------------------------------

# Of the ten devices of each process so many report before the cancel, the last from AFTER on behind it.
BEFORE, AFTER = 3, 8
STEPS = ("received", "downloading", "installing", "succeeded")


def _installs(deployment: Deployment, fleet: list[Device], gate: Gate) -> dict[int, str]:
    """Every device goes on to the end; every other stops where it is told to. What became of each."""
    truth = {}
    for number, device in enumerate(fleet):
        if number in (BEFORE, AFTER):
            gate()
        truth[device.pk] = "succeeded"
        for step in STEPS:
            answer = scene.report(deployment, device, step, attempt=1)
            if answer.body["cancel"] and number % 2 and step != "succeeded":
                scene.report(deployment, device, "skipped", error_code="canceled", attempt=1)
                truth[device.pk] = "skipped"
                break
    return truth


def _cancels_and_waits(actor: Actor, deployment: Deployment, gate: Gate) -> None:
    waits_at(gate, moves, "move")
    lifecycle.cancel(actor, deployment.pk)


def test_a_cancel_among_reports_loses_nobody() -> None:
    fleet = scene.devices(40)
    deployment = scene.start(fleet, concurrency=30)
    for device in fleet[:30]:
        assert scene.beat(device)
    with Child(partial(_cancels_and_waits, scene.admin(), deployment)) as cancel, ExitStack() as ends:
        parts = [partial(_installs, deployment, fleet[part:30:3]) for part in range(3)]
        agents = [ends.enter_context(Child(part)) for part in parts]
        for child in (cancel, *agents):
            child.comes()
        for child in (cancel, *agents):
            child.opens()
        cancel.result()
        for agent in agents:
            agent.comes()
            agent.opens()
        truth = {pk: status for agent in agents for pk, status in agent.result().items()}
    truth |= {device.pk: "skipped" for device in fleet[30:]}
    assert dict(DeploymentTask.objects.values_list("device_id", "status")) == truth
    stopped = sum(status == "skipped" for status in truth.values())
    assert 10 < stopped < 40 - 3 * BEFORE
    assert scene.counts(deployment) == {"succeeded": 40 - stopped, "skipped": stopped, "total": 40}
    assert not DeploymentTask.objects.filter(in_flight_until__isnull=False).exists()
    assert not DeploymentAttempt.objects.filter(finished_at=None).exists()
    assert list(log_replay.differences(deployment.pk)) == []
