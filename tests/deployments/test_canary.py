"""The canary through the engine: who takes part, when it passes, fails or stays undecided (behaviour §3)."""

from typing import Any

import pytest

from deployments import tick
from deployments.models import Deployment, DeploymentEvent
from deployments.operations import lifecycle
from deployments.reading import summary
from devices.models import Device
from mdm.problems import Invalid
from tests.deployments import scene

pytestmark = pytest.mark.django_db

NO_RETRY: dict[str, Any] = {"retry": {"max": 0, "backoff_sec": 1}}


def _canary(deployment: Deployment) -> str:
    return Deployment.objects.get(pk=deployment.pk).canary_state


def _send(fleet: list[Device]) -> None:
    for device in fleet:
        assert scene.beat(device)


def _answer(deployment: Deployment, fleet: list[Device], *answers: str) -> None:
    """`ok`, `bad`, `on it`, `silent` or the code of a skip, one for each device; then a step of the engine."""
    for device, answer in zip(fleet, answers, strict=True):
        if answer == "ok":
            scene.report(deployment, device, "succeeded")
        elif answer == "bad":
            scene.report(deployment, device, "failed", error_code="install_internal")
        elif answer == "on it":
            scene.report(deployment, device, "downloading")
        elif answer != "silent":
            scene.report(deployment, device, "skipped", error_code=answer)
    tick.advance(deployment.pk)


def _try(size: int, *answers: str, fleet: int = 30, **options: Any) -> tuple[Deployment, list[Device]]:
    devices = scene.devices(fleet)
    deployment = scene.start(canary=size, **{**NO_RETRY, **options})
    _send(devices[: len(answers)])
    _answer(deployment, devices[: len(answers)], *answers)
    return deployment, devices


BOUNDARIES = [
    ("9 of 10 succeeded: 90 % is reached", 10, 90, 9, 0, "passed"),
    ("8 of 10 succeeded: not yet", 10, 90, 8, 0, "collecting"),
    ("8 of 10 succeeded, 1 failed: 90 % can still be reached", 10, 90, 8, 1, "collecting"),
    ("2 of 10 failed: 90 % is out of reach", 10, 90, 0, 2, "failed"),
    ("1 of 5 failed: 90 % is out of reach", 5, 90, 0, 1, "failed"),
    ("4 of 5 succeeded: 80 % are not 90 %", 5, 90, 4, 0, "collecting"),
    ("all 5 succeeded", 5, 90, 5, 0, "passed"),
    ("9 of 10 succeeded where all have to", 10, 100, 9, 0, "collecting"),
    ("1 of 10 failed where all have to succeed", 10, 100, 9, 1, "failed"),
    ("2 of 3 are 66.7 %: 66 % is reached", 3, 66, 2, 0, "passed"),
    ("2 of 3 are 66.7 %: 67 % is not", 3, 67, 2, 0, "collecting"),
    ("a canary of one", 1, 90, 1, 0, "passed"),
    ("a canary of one that failed", 1, 1, 0, 1, "failed"),
]


@pytest.mark.parametrize(
    ("size", "pct", "ok", "bad", "verdict"),
    [row[1:] for row in BOUNDARIES],
    ids=[row[0] for row in BOUNDARIES],
)
def test_the_verdict_at_its_boundaries(size: int, pct: int, ok: int, bad: int, verdict: str) -> None:
    deployment, _ = _try(size, *["ok"] * ok, *["bad"] * bad, canary_success_pct=pct, fleet=11)
    assert _canary(deployment) == verdict
    paused = {"failed": ("paused", "canary_failed")}
    assert scene.state(deployment) == paused.get(verdict, ("running", ""))


def test_a_verdict_is_audited_once_with_its_numbers() -> None:
    deployment, _ = _try(2, "ok", "ok")
    tick.advance(deployment.pk)
    (event,) = DeploymentEvent.objects.filter(meta__gate="canary")
    assert event.meta == {"gate": "canary", "state": "passed", "ok": 2, "bad": 0, "size": 2}
    assert event.message == "Canary passed: 2 of 2 devices succeeded, 2 (90 %) had to."


def test_a_gate_of_100_is_not_passed_at_90_because_everything_has_ended() -> None:
    deployment, fleet = _try(10, *["ok"] * 9, "on it", fleet=10, canary_success_pct=100, deadline_hours=0)
    scene.report(deployment, fleet[9], "skipped", error_code="battery_low")
    tick.advance(deployment.pk)
    assert _canary(deployment) == "collecting"
    assert scene.state(deployment) == ("failed", "")


def test_a_canary_of_nobody_never_passes() -> None:
    scene.devices(3, beat={"received_at": None})
    deployment = scene.start(canary=2, deadline_hours=0)
    tick.advance(deployment.pk)
    assert scene.counts(deployment) == {"skipped": 3, "total": 3}
    assert _canary(deployment) == "collecting"
    assert scene.state(deployment) == ("failed", "")


def test_with_fewer_devices_than_places_those_there_decide() -> None:
    deployment, _ = _try(5, "ok", "ok", fleet=2)
    assert _canary(deployment) == "passed"
    assert summary.summary(deployment.pk)["canary"] == {
        "size": 2, "succeeded": 2, "failed": 0, "state": "passed"
    }  # fmt: skip
    assert scene.state(deployment) == ("complete", "")


def test_devices_that_are_excluded_do_not_count_as_there() -> None:
    scene.devices(8, installed=121)
    deployment, _ = _try(5, fleet=2)
    _send(list(Device.objects.order_by("id")[8:]))
    _answer(deployment, list(Device.objects.order_by("id")[8:]), "ok", "ok")
    assert _canary(deployment) == "passed"


# --- places --------------------------------------------------------------------------------------------------


def test_a_canary_device_that_is_skipped_is_replaced_by_the_next() -> None:
    deployment, fleet = _try(2, "ok", "battery_low")
    assert scene.beat(fleet[2])
    assert scene.task(deployment, fleet[2]).is_canary
    assert scene.beat(fleet[3]) is None
    _answer(deployment, fleet[2:3], "ok")
    assert _canary(deployment) == "passed"


def test_after_twice_as_many_tries_as_places_the_canary_is_undecided() -> None:
    deployment, fleet = _try(2, "battery_low", "battery_low")
    _send(fleet[2:4])
    assert scene.beat(fleet[4]) is None, "2N were sent to"
    tick.advance(deployment.pk)
    assert _canary(deployment) == "collecting"
    _answer(deployment, fleet[2:3], "battery_low")
    assert (_canary(deployment), scene.state(deployment)) == ("undecided", ("paused", "canary_undecided"))


def test_no_more_than_twice_as_many_devices_as_places_are_tried() -> None:
    deployment, fleet = _try(2, "in_use", "in_use")
    _send(fleet[2:3])
    _answer(deployment, fleet[2:3], "in_use")
    assert [device.pk for device in fleet[3:] if scene.beat(device)] == [fleet[3].pk]


def test_a_skipped_device_that_comes_back_does_not_push_a_place_out() -> None:
    deployment, fleet = _try(2, "battery_low", "on it")
    assert scene.beat(fleet[2])
    scene.age(deployment, seconds=10)
    assert scene.beat(fleet[0], battery=90) is None
    task = scene.task(deployment, fleet[0])
    assert (task.status, task.is_canary) == ("queued", False)
    assert scene.reason(deployment, fleet[0]) == "canary_gate"


def test_a_retry_keeps_its_place_and_is_sent_although_no_place_is_free() -> None:
    deployment, fleet = _try(2, "bad", "on it", retry={"max": 1, "backoff_sec": 1})
    assert scene.beat(fleet[2]) is None
    scene.age(deployment, seconds=5)
    assert scene.beat(fleet[0])
    assert scene.task(deployment, fleet[0]).attempt == 2
    _answer(deployment, fleet[:2], "ok", "ok")
    assert _canary(deployment) == "passed"


def test_a_canary_device_that_goes_silent_before_its_retry_gives_its_place_back() -> None:
    deployment, fleet = _try(2, "bad", "on it", retry={"max": 1, "backoff_sec": 1})
    scene.age(deployment, seconds=5)
    scene.quiet(fleet[0], minutes=16)
    tick.advance(deployment.pk)
    assert scene.reason(deployment, fleet[0]) == "offline"
    assert scene.beat(fleet[2])


def test_a_retried_canary_device_is_bad_only_when_its_retries_are_spent() -> None:
    deployment, fleet = _try(5, "bad", fleet=6, retry={"max": 1, "backoff_sec": 1})
    assert _canary(deployment) == "collecting"
    scene.age(deployment, seconds=5)
    _send(fleet[:1])
    _answer(deployment, fleet[:1], "bad")
    assert _canary(deployment) == "failed"


@pytest.mark.parametrize("code", ["not_permitted", "user_declined"])
def test_a_refusal_is_not_bad_and_frees_the_place(code: str) -> None:
    deployment, fleet = _try(2, "ok", code)
    assert _canary(deployment) == "collecting"
    assert scene.beat(fleet[2])


def test_no_answer_is_never_bad() -> None:
    deployment, fleet = _try(2, "ok", "silent", canary_success_pct=50, fleet=2)
    assert _canary(deployment) == "passed"
    deployment, fleet = _try(1, "silent", fleet=1)
    _no_answer(deployment)
    assert scene.task(deployment, fleet[0]).error_code == "no_answer"
    assert _canary(deployment) == "collecting"


def _no_answer(deployment: Deployment) -> None:
    scene.age(deployment, minutes=11)
    tick.ring_due_deployments()
    tick.advance(deployment.pk)


def test_while_a_place_is_free_every_devices_turn_has_come() -> None:
    scene.devices(3, beat={"battery": 10})
    scene.devices(1)
    deployment = scene.start(canary=1)
    assert scene.reasons(deployment) == {"battery_low": 3, "awaiting_heartbeat": 1}
    assert scene.counts(deployment)["skipped"] == 3


def test_while_all_places_are_taken_nobody_elses_turn_has_come() -> None:
    deployment, fleet = _try(1, "on it", fleet=2)
    assert scene.beat(fleet[1], battery=1) is None
    tick.advance(deployment.pk)
    assert scene.task(deployment, fleet[1]).status == "queued"
    assert scene.reason(deployment, fleet[1]) == "canary_gate"


# --- models --------------------------------------------------------------------------------------------------


def test_with_check_in_places_are_kept_for_models_that_are_there() -> None:
    old, new = scene.devices(3, model="TC51"), scene.devices(1, model="TC57")
    deployment = scene.start(canary=2)
    assert scene.beat(old[0])
    assert scene.beat(old[1]) is None
    assert scene.beat(new[0])
    assert scene.task(deployment, new[0]).is_canary


@pytest.mark.parametrize("why", ["quiet", "held", "busy", "its shop is dark"])
def test_no_place_is_kept_for_a_model_that_cannot_come(why: str) -> None:
    old, (new,) = scene.devices(3, model="TC51"), scene.devices(1, model="TC57")
    version = scene.version()
    if why == "busy":
        scene.start([new], to=version)
        assert scene.beat(new)
    if why == "its shop is dark":
        (neighbour,) = scene.devices(1, groups=["shop-1"], model="TC57")
        Device.objects.filter(pk=new.pk).update(groups=["shop-1"])
        scene.start([neighbour], to=version)
        assert scene.beat(neighbour)
    scene.start([*old, new], canary=2, to=version, max_per_group=1)
    if why == "quiet":
        scene.quiet(new, minutes=16)
    elif why == "held":
        Device.objects.filter(pk=new.pk).update(hold_until="2999-01-01T00:00:00Z")
    assert scene.beat(old[0])
    assert scene.beat(old[1])


# --- time limit, soak, override ------------------------------------------------------------------------------

LIMITS = [
    ("3 of 5 answered, all well: it goes on", 5, ["ok"] * 3, "passed"),
    ("2 of 5 answered: silence is no success", 5, ["ok"] * 2, "undecided"),
    ("2 of 4 answered, all well: half is enough", 4, ["ok"] * 2, "passed"),
    ("3 well and 1 still at it of 5: 75 % are not 90 %", 5, ["ok"] * 3 + ["on it"], "undecided"),
    ("nobody answered", 2, ["silent"] * 2, "undecided"),
    ("all at it and none done", 2, ["on it"] * 2, "undecided"),
    ("9 well, 1 at it of 10, all have to", 10, ["ok"] * 8 + ["on it"], "undecided"),
]


@pytest.mark.parametrize(
    ("size", "answers", "verdict"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS]
)
def test_the_verdict_at_the_time_limit(size: int, answers: list[str], verdict: str) -> None:
    deployment, _ = _try(size, *answers, fleet=12, canary_timeout_min=5)
    assert _canary(deployment) == "collecting"
    scene.age(deployment, minutes=4)
    tick.advance(deployment.pk)
    assert _canary(deployment) == "collecting"
    scene.age(deployment, minutes=1)
    tick.advance(deployment.pk)
    assert _canary(deployment) == verdict


def test_who_waits_for_a_retry_after_a_broken_download_had_acknowledged() -> None:
    deployment, fleet = _try(
        3, "ok", "ok", "on it", canary_timeout_min=5, retry={"max": 3, "backoff_sec": 900}
    )
    scene.report(deployment, fleet[2], "failed", error_code="download_network")
    scene.age(deployment, minutes=5)
    tick.advance(deployment.pk)
    assert _canary(deployment) == "undecided"


def test_time_paused_does_not_count_against_the_limit() -> None:
    deployment, _ = _try(2, "on it", canary_timeout_min=5)
    scene.age(deployment, minutes=3)
    lifecycle.pause(scene.admin(), deployment.pk)
    scene.age(deployment, hours=2)
    lifecycle.resume(scene.admin(), deployment.pk)
    tick.advance(deployment.pk)
    assert _canary(deployment) == "collecting"
    scene.age(deployment, minutes=2)
    tick.advance(deployment.pk)
    assert _canary(deployment) == "undecided"


def test_a_canary_that_did_well_is_watched_for_the_soak() -> None:
    deployment, fleet = _try(1, "ok", canary_soak_min=10)
    assert _canary(deployment) == "collecting"
    assert scene.beat(fleet[1]) is None
    scene.age(deployment, minutes=9)
    tick.advance(deployment.pk)
    assert _canary(deployment) == "collecting"
    scene.age(deployment, minutes=1)
    tick.advance(deployment.pk)
    assert _canary(deployment) == "passed"
    assert scene.beat(fleet[1])


def test_a_soak_over_the_whole_target_ends_in_complete() -> None:
    deployment, _ = _try(2, "ok", "ok", fleet=2, canary_soak_min=10)
    assert scene.state(deployment) == ("running", "")
    scene.age(deployment, minutes=10)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("complete", "")


def test_a_failed_canary_calls_back_what_was_not_acknowledged_and_lets_the_others_finish() -> None:
    deployment, fleet = _try(3, "on it", "silent", "bad")
    assert scene.state(deployment) == ("paused", "canary_failed")
    assert scene.task(deployment, fleet[0]).status == "installing"
    assert scene.task(deployment, fleet[1]).status == "queued"
    assert scene.confirm(deployment, fleet[0]).http_status == 200
    assert scene.confirm(deployment, fleet[1]).body == {"status": "queued", "reason": "over"}
    assert scene.report(deployment, fleet[1], "received").http_status == 409
    assert scene.report(deployment, fleet[0], "succeeded").http_status == 200


def test_an_undecided_canary_calls_nothing_back() -> None:
    deployment, fleet = _try(2, "silent", "silent", canary_timeout_min=5)
    scene.age(deployment, minutes=5)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "canary_undecided")
    assert scene.task(deployment, fleet[0]).status == "sending"
    assert scene.beat(fleet[0])


@pytest.mark.parametrize("why", ["canary_failed", "canary_undecided"])
def test_going_on_against_the_verdict_wants_a_reason_and_is_audited(why: str) -> None:
    answers = ["bad"] if why == "canary_failed" else ["silent"]
    deployment, fleet = _try(1, *answers, canary_timeout_min=5)
    scene.age(deployment, minutes=5)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", why)
    with pytest.raises(Invalid):
        lifecycle.resume(scene.admin(), deployment.pk, reason="  ")
    lifecycle.resume(scene.admin(), deployment.pk, reason="known fault of that till")
    assert (_canary(deployment), scene.state(deployment)) == ("overridden", ("running", ""))
    assert scene.beat(fleet[1])
    event = DeploymentEvent.objects.filter(meta__was=why).get()
    assert (event.actor, event.meta["operator_reason"]) == ("user:ada", "known fault of that till")


def test_a_verdict_is_not_reopened_by_what_comes_later() -> None:
    deployment, fleet = _try(2, "ok", "silent", canary_success_pct=50)
    assert _canary(deployment) == "passed"
    _answer(deployment, fleet[1:2], "bad")
    assert (_canary(deployment), scene.state(deployment)) == ("passed", ("running", ""))
