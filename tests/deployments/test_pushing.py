"""The push path against a loopback FCM: claim, commit, push; and what becomes of a push that cannot be."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from deployments import tasks, tick
from deployments.engine import bell, dispatch, pushing
from deployments.models import Deployment, DeploymentAttempt, DeploymentBell, DeploymentEvent, DeploymentTask
from deployments.operations import fleet_switch, lifecycle
from devices.models import Device
from tests.deployments import scene
from tests.fakes import FcmAnswer, LoopbackFcm, fcm_refusal

pytestmark = pytest.mark.django_db

QUOTA = fcm_refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after="120")
OUTAGE = fcm_refusal(503, "UNAVAILABLE", "UNAVAILABLE")
GONE = fcm_refusal(404, "NOT_FOUND", "UNREGISTERED")
REJECTED = fcm_refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")


def _pushable(count: int, **more: Any) -> list[Device]:
    """Devices whose push token is `token-` and their number; the first was seen most recently."""
    fleet = scene.devices(count, **more)
    for index, device in enumerate(fleet):
        Device.objects.filter(pk=device.pk).update(fcm_token=f"token-{device.serial}")
        scene.quiet(device, seconds=index)
    return fleet


def _token(device: Device) -> str:
    return f"token-{device.serial}"


def _started(fleet: list[Device], **options: Any) -> Deployment:
    """Planned, and its first claims pushed."""
    scene.enable()
    deployment = scene.start(fleet, **options, window=_closed())
    Deployment.objects.update(options=deployment.options | {"window": None})
    tasks.advance(deployment.pk)
    return deployment


def _closed() -> dict[str, str]:
    return {"start_iso": "2999-01-01T00:00:00Z", "end_iso": "2999-01-02T00:00:00Z"}


def _statuses(deployment: Deployment, fleet: list[Device]) -> list[str]:
    return [scene.task(deployment, device).status for device in fleet]


# --- the way of a push ---------------------------------------------------------------------------------------


def test_what_is_claimed_is_pushed_and_the_ledger_says_when(fcm: LoopbackFcm) -> None:
    (device,) = _pushable(1)
    deployment = _started([device])
    (request,) = fcm.received
    assert request.message["token"] == _token(device)
    assert request.message["data"]["action"] == "deploy_apk"
    assert request.message["data"]["attempt"] == "1"
    assert request.message["android"]["collapse_key"] == scene.PACKAGE
    attempt = DeploymentAttempt.objects.get()
    assert (attempt.transport, attempt.acknowledged_at) == ("push", None)
    assert attempt.pushed_at is not None
    assert attempt.pushed_at > attempt.sent_at
    assert scene.task(deployment, device).status == "sending"


class Witness(LoopbackFcm):
    """Looks, when a message arrives, at what others can see in the database."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    async def _reply(self, writer: asyncio.StreamWriter, answer: FcmAnswer) -> bool:
        self.seen += await asyncio.to_thread(_committed)
        return await super()._reply(writer, answer)


def _committed() -> list[str]:
    try:
        return list(DeploymentTask.objects.values_list("status", flat=True))
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_a_push_leaves_only_after_its_claim_was_committed(settings: Settings) -> None:
    with Witness() as far_end:
        settings.PUSH_TRANSPORT, settings.FCM_ENDPOINT = "fcm", far_end.url
        _started(_pushable(1))
        assert far_end.seen == ["sending"]


def test_pushes_go_to_the_canary_then_to_due_retries_then_to_the_most_recently_seen(fcm: LoopbackFcm) -> None:
    fleet = _pushable(5)
    deployment = _started(fleet, concurrency=1, retry={"max": 3, "backoff_sec": 1})
    assert fcm.tokens == [_token(fleet[0])]
    scene.report(deployment, fleet[0], "failed", error_code="install_internal")
    scene.age(deployment, seconds=2)
    scene.quiet(fleet[0], seconds=50)
    scene.quiet(fleet[4], seconds=0)
    for expected in (fleet[0], fleet[4], fleet[1]):
        tasks.advance(deployment.pk)
        assert fcm.tokens[-1] == _token(expected)
        scene.report(deployment, expected, "succeeded")


def test_a_device_that_disagreed_is_pushed_last(fcm: LoopbackFcm) -> None:
    fleet = _pushable(2)
    deployment = _started(fleet, concurrency=1, retry={"max": 3, "backoff_sec": 1})
    scene.report(deployment, fleet[0], "skipped", error_code="kill_switch")
    DeploymentTask.objects.filter(device=fleet[0]).update(agent_skips=1)
    tasks.advance(deployment.pk)
    assert fcm.tokens == [_token(fleet[0]), _token(fleet[1])]


def test_limits_hold_for_pushes_and_a_freed_slot_is_used_at_once(fcm: LoopbackFcm) -> None:
    fleet = _pushable(6)
    deployment = _started(fleet, concurrency=2, rate=3)
    tasks.advance(deployment.pk)
    first = [_token(fleet[0]), _token(fleet[1])]  # messages of one batch arrive in any order
    assert sorted(fcm.tokens) == first
    scene.report(deployment, fleet[0], "succeeded")
    tasks.advance(deployment.pk)
    scene.report(deployment, fleet[1], "succeeded")
    tasks.advance(deployment.pk)
    assert sorted(fcm.tokens[:2]) == first
    assert fcm.tokens[2:] == [_token(fleet[2])]
    scene.age(deployment, seconds=60)
    tasks.advance(deployment.pk)
    assert len(fcm.tokens) == 4


def test_who_misses_a_condition_gets_no_push_and_blocks_nobody(fcm: LoopbackFcm) -> None:
    low, well = _pushable(1, beat={"battery": 5}) + _pushable(1)
    scene.quiet(well, seconds=30)  # so that the other one's turn comes first
    deployment = _started([low, well], concurrency=1)
    assert fcm.tokens == [_token(well)]
    assert _statuses(deployment, [low, well]) == ["skipped", "sending"]


def test_devices_without_a_token_come_by_heartbeat_and_keep_no_push_waiting(fcm: LoopbackFcm) -> None:
    without, pushable = scene.devices(3), _pushable(1)
    scene.quiet(pushable[0], seconds=30)
    deployment = _started([*without, *pushable], concurrency=2)
    assert fcm.tokens == [_token(pushable[0])]
    assert scene.beat(without[0])
    assert _statuses(deployment, without) == ["sending", "queued", "queued"]


def test_the_canary_is_pushed_to_as_many_models_as_possible(fcm: LoopbackFcm) -> None:
    old, new = _pushable(3, model="TC51"), _pushable(1, model="TC57")
    scene.quiet(new[0], minutes=5)
    deployment = _started([*old, *new], canary=2)
    assert sorted(fcm.tokens) == sorted([_token(old[0]), _token(new[0])])
    assert _statuses(deployment, [*old, *new]) == ["sending", "queued", "queued", "sending"]


def test_a_canary_retry_is_pushed_although_no_place_is_free(fcm: LoopbackFcm) -> None:
    fleet = _pushable(4)
    deployment = _started(fleet, canary=2, retry={"max": 1, "backoff_sec": 1})
    scene.report(deployment, fleet[0], "failed", error_code="install_internal")
    scene.age(deployment, seconds=2)
    tasks.advance(deployment.pk)
    assert fcm.tokens[2:] == [_token(fleet[0])]


def test_a_skipped_canary_device_is_replaced_by_a_push_to_the_next(fcm: LoopbackFcm) -> None:
    fleet = _pushable(4)
    deployment = _started(fleet, canary=2)
    scene.report(deployment, fleet[0], "skipped", error_code="in_use")
    tasks.advance(deployment.pk)
    assert fcm.tokens[2:] == [_token(fleet[2])]


# --- pushes that cannot be -----------------------------------------------------------------------------------


def test_a_token_that_is_gone_is_forgotten_and_the_command_comes_with_the_heartbeat(fcm: LoopbackFcm) -> None:
    (device,) = _pushable(1)
    fcm.answers[_token(device)] = GONE
    deployment = _started([device])
    assert Device.objects.get(pk=device.pk).fcm_token == ""
    task = scene.task(deployment, device)
    assert (task.status, task.attempt, task.failures) == ("sending", 1, 0)
    command = scene.beat(device)
    assert command is not None
    assert command["attempt"] == 1
    assert DeploymentAttempt.objects.get().pushed_at is None


def test_a_token_renewed_meanwhile_is_not_forgotten(fcm: LoopbackFcm) -> None:
    (device,) = _pushable(1)
    fcm.answers[_token(device)] = GONE
    scene.enable()
    deployment = scene.start([device], window=_closed())
    Deployment.objects.update(options=deployment.options | {"window": None})
    claims = tick.advance(deployment.pk)
    Device.objects.update(fcm_token="renewed")
    pushing.push_claims(claims)
    assert Device.objects.get(pk=device.pk).fcm_token == "renewed"


@pytest.mark.parametrize(
    ("answer", "wait"),
    [(QUOTA, 120), (OUTAGE, 60), (FcmAnswer(manner="drop"), 60)],
    ids=["quota, told to wait", "unavailable", "cut off"],
)
def test_quota_and_outages_give_the_slot_back_and_count_no_failure(
    fcm: LoopbackFcm, answer: FcmAnswer, wait: int
) -> None:
    fleet = _pushable(2)
    fcm.otherwise = answer
    deployment = _started(fleet, retry={"max": 0, "backoff_sec": 1})
    for task in DeploymentTask.objects.all():
        assert (task.status, task.failures, task.next_run_at) == ("queued", 0, None)
    assert set(DeploymentAttempt.objects.values_list("outcome", flat=True)) == {"push_failed"}
    deployment.refresh_from_db()
    assert deployment.push_not_before is not None
    left = (deployment.push_not_before - timezone.now()).total_seconds()
    assert wait - 10 < left <= wait


def test_until_the_time_that_was_asked_for_nothing_is_pushed_but_heartbeats_are_served(
    fcm: LoopbackFcm,
) -> None:
    fleet = _pushable(2)
    fcm.otherwise = QUOTA
    deployment = _started(fleet)
    fcm.otherwise, fcm.received = FcmAnswer(body=b'{"name": "projects/demo/messages/1"}'), []
    tasks.advance(deployment.pk)
    assert fcm.tokens == []
    command = scene.beat(fleet[0])
    assert command is not None
    assert command["attempt"] == 2
    scene.age(deployment, seconds=121)
    tasks.advance(deployment.pk)
    assert fcm.tokens == [_token(fleet[1])]


def test_a_push_that_failed_still_counts_in_the_rate(fcm: LoopbackFcm) -> None:
    fleet = _pushable(2)
    fcm.otherwise = OUTAGE
    _started(fleet, rate=2)
    assert scene.beat(fleet[0]) is None


def test_a_rejected_push_is_noted_and_left_to_the_heartbeat(fcm: LoopbackFcm) -> None:
    (device,) = _pushable(1)
    fcm.otherwise = REJECTED
    deployment = _started([device])
    assert DeploymentEvent.objects.filter(message__startswith="The push was rejected").count() == 1
    assert Device.objects.get(pk=device.pk).fcm_token == _token(device)
    assert scene.task(deployment, device).status == "sending"
    assert scene.beat(device)


def _claims(fleet: list[Device]) -> tuple[Deployment, list[dispatch.Claim]]:
    deployment = scene.start(fleet, window=_closed())
    Deployment.objects.update(options=deployment.options | {"window": None})
    return deployment, tick.advance(deployment.pk)


def test_a_push_that_is_late_is_left_to_the_heartbeat(fcm: LoopbackFcm) -> None:
    (device,) = _pushable(1)
    _, (claim,) = _claims([device])
    pushing.push_claims([replace(claim, sent_at=claim.sent_at - timedelta(seconds=6))])
    assert fcm.tokens == []
    assert scene.beat(device)


@pytest.mark.parametrize("meanwhile", ["canceled", "acknowledged", "stopped", "a new attempt"])
def test_a_push_that_something_overtook_is_not_sent(fcm: LoopbackFcm, meanwhile: str) -> None:
    (device,) = _pushable(1)
    deployment, claims = _claims([device])
    if meanwhile == "canceled":
        lifecycle.cancel(scene.admin(), deployment.pk)
    elif meanwhile == "acknowledged":
        assert scene.beat(device)
        scene.report(deployment, device, "received")
    elif meanwhile == "stopped":
        fleet_switch.change(scene.admin(), kill_switch=True, reason="drill")
    else:
        claims = [replace(claims[0], attempt=0)]
    pushing.push_claims(claims)
    assert fcm.tokens == []


# --- stop hints and the bell ---------------------------------------------------------------------------------


def test_a_cancel_tells_those_at_work_to_stop_and_nobody_else(
    fcm: LoopbackFcm, django_capture_on_commit_callbacks: Any
) -> None:
    fleet = _pushable(4)
    deployment = _started(fleet, concurrency=3)
    scene.report(deployment, fleet[0], "succeeded")
    scene.report(deployment, fleet[1], "downloading")
    fcm.received = []
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.cancel(scene.admin(), deployment.pk)
    assert OrmQ.objects.count() == 1
    tasks.tell_to_stop(deployment.pk)
    assert sorted(fcm.tokens) == sorted([_token(fleet[1]), _token(fleet[2])])
    data = fcm.received[0].message["data"]
    assert (data["action"], data["deployment_id"]) == ("stop_deploy", str(deployment.pk))


def test_a_burst_of_reports_rings_once(fcm: LoopbackFcm, django_capture_on_commit_callbacks: Any) -> None:
    fleet = _pushable(5)
    deployment = _started(fleet, concurrency=4)
    with django_capture_on_commit_callbacks(execute=True):
        for device in fleet[:4]:
            scene.report(deployment, device, "received")
    assert OrmQ.objects.count() == 0, "no slot was freed"
    with django_capture_on_commit_callbacks(execute=True):
        for device in fleet[:4]:
            scene.report(deployment, device, "succeeded")
    assert OrmQ.objects.count() == 1
    tasks.advance(deployment.pk)
    assert fcm.tokens[-1] == _token(fleet[4])
    assert DeploymentBell.objects.count() == 0


def test_a_ring_that_nobody_answered_is_repeated_after_5_seconds(fcm: LoopbackFcm) -> None:
    deployment = _started(_pushable(1))
    bell.call(deployment.pk)
    bell.call(deployment.pk)
    assert OrmQ.objects.count() == 1
    DeploymentBell.objects.update(rung_at=timezone.now() - timedelta(seconds=bell.STALE_SEC + 1))
    bell.call(deployment.pk)
    assert OrmQ.objects.count() == 2


def test_a_doubled_or_late_job_changes_nothing(fcm: LoopbackFcm) -> None:
    fleet = _pushable(3)
    deployment = _started(fleet, concurrency=1)
    for _ in range(3):
        tasks.advance(deployment.pk)
    assert fcm.tokens == [_token(fleet[0])]
    lifecycle.cancel(scene.admin(), deployment.pk)
    tasks.advance(deployment.pk)
    assert fcm.tokens == [_token(fleet[0])]


def test_with_check_in_nothing_is_pushed_and_no_slot_is_held_by_a_sleeping_device(settings: Settings) -> None:
    settings.PUSH_TRANSPORT = "checkin"
    fleet = _pushable(3)
    deployment = _started(fleet)
    assert DeploymentAttempt.objects.count() == 0
    assert _statuses(deployment, fleet) == ["queued"] * 3
