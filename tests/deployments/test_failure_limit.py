"""The failure limit through the engine, and how a deployment ends (behaviour §4 and §1)."""

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
RETRIES: dict[str, Any] = {"retry": {"max": 3, "backoff_sec": 3600}}


def _run(ok: int, bad: int, *, fleet: int = 30, code: str = "install_internal", **options: Any) -> Deployment:
    devices = scene.devices(fleet)
    deployment = scene.start(devices, **{**NO_RETRY, **options})
    for device in devices[: ok + bad]:
        assert scene.beat(device)
    for device in devices[:ok]:
        scene.report(deployment, device, "succeeded")
    for device in devices[ok : ok + bad]:
        scene.report(deployment, device, "failed", error_code=code)
    tick.advance(deployment.pk)
    return deployment


TRIPPED = ("paused", "failure_rate")
GOES_ON = ("running", "")
BOUNDARIES = [
    ("4 finished: too early", 0, 4, {}, GOES_ON),
    ("5 finished, all bad", 0, 5, {}, TRIPPED),
    ("1 of 5 is 20 %, which is not more", 4, 1, {}, GOES_ON),
    ("2 of 9 is more than 20 %", 7, 2, {}, TRIPPED),
    ("2 of 10 is not", 8, 2, {}, GOES_ON),
    ("with 0 % the first failure in the sample trips", 4, 1, {"failure_pct": 0}, TRIPPED),
    ("with 100 % none does", 0, 9, {"failure_pct": 100}, GOES_ON),
    ("a sample of 1", 0, 1, {"failure_min_sample": 1}, TRIPPED),
    ("at most 2 failures: 1 of 1", 0, 1, {"max_failures": 2}, GOES_ON),
    ("at most 2 failures: the second trips whatever the share", 20, 2, {"max_failures": 2}, TRIPPED),
]


@pytest.mark.parametrize(
    ("ok", "bad", "options", "state"), [row[1:] for row in BOUNDARIES], ids=[row[0] for row in BOUNDARIES]
)
def test_the_limit_at_its_boundaries(ok: int, bad: int, options: dict[str, Any], state: Any) -> None:
    assert scene.state(_run(ok, bad, **options)) == state


def test_the_verdict_is_audited_with_its_numbers() -> None:
    deployment = _run(7, 2)
    (event,) = DeploymentEvent.objects.filter(meta__gate="failure_rate")
    assert (event.meta["ok"], event.meta["bad"], event.level) == (7, 2, "warn")
    assert event.message == "2 of 9 finished devices failed (22.2 %, limit 20 %)."
    assert summary.summary(deployment.pk)["failure"] == {"failed": 2, "finished": 9, "limit_pct": 20}


def test_what_waits_for_a_retry_counts_as_bad() -> None:
    assert scene.state(_run(0, 5, **RETRIES)) == TRIPPED


@pytest.mark.parametrize("code", ["download_network", "download_timeout", "download_http", "url_expired"])
def test_a_broken_download_that_waits_for_its_retry_does_not(code: str) -> None:
    assert scene.state(_run(0, 5, code=code, **RETRIES)) == GOES_ON


def test_a_broken_download_is_bad_when_the_retries_are_spent() -> None:
    assert scene.state(_run(0, 5, code="download_network")) == TRIPPED


@pytest.mark.parametrize("code", ["not_permitted", "user_declined"])
def test_a_refusal_is_never_bad(code: str) -> None:
    assert scene.state(_run(0, 6, code=code)) == GOES_ON


@pytest.mark.parametrize("retry", [NO_RETRY, RETRIES], ids=["retries spent", "retry waits"])
def test_no_answer_is_never_bad(retry: dict[str, Any]) -> None:
    devices = scene.devices(8)
    deployment = scene.start(devices, **retry)
    for device in devices[:6]:
        assert scene.beat(device)
    _let_time_pass(deployment)
    assert scene.state(deployment) == GOES_ON


def _let_time_pass(deployment: Deployment) -> None:
    scene.age(deployment, minutes=11)
    tick.ring_due_deployments()
    tick.advance(deployment.pk)


def test_silence_on_a_retry_after_a_broken_download_is_not_bad_either() -> None:
    deployment = _run(0, 6, fleet=6, code="download_network", retry={"max": 3, "backoff_sec": 1})
    scene.age(deployment, seconds=5)
    for device in Device.objects.all():
        assert scene.beat(device)
    _let_time_pass(deployment)
    assert scene.state(deployment) == GOES_ON


def test_a_device_is_bad_until_it_succeeds() -> None:
    deployment = _run(0, 4, fleet=6, retry={"max": 3, "backoff_sec": 1})
    scene.age(deployment, seconds=5)
    devices = list(Device.objects.order_by("id"))
    for device in devices[:4]:
        assert scene.beat(device)
        assert _failures(deployment) == 4
        scene.report(deployment, device, "succeeded")
        break
    assert _failures(deployment) == 3


def _failures(deployment: Deployment) -> int:
    scene.counts(deployment)  # numbers afresh
    return int(summary.summary(deployment.pk)["failure"]["failed"])


def test_time_outs_are_bad() -> None:
    devices = scene.devices(6)
    deployment = scene.start(devices, **NO_RETRY)
    for device in devices[:5]:
        assert scene.beat(device)
        scene.report(deployment, device, "received")
    scene.age(deployment, minutes=16)
    tick.ring_due_deployments()
    tick.advance(deployment.pk)
    assert scene.state(deployment) == TRIPPED


def test_while_the_canary_is_out_the_limit_waits() -> None:
    fleet = scene.devices(10)
    deployment = scene.start(canary=10, canary_success_pct=50, failure_min_sample=1, **NO_RETRY)
    for device in fleet[:2]:
        assert scene.beat(device)
        scene.report(deployment, device, "failed", error_code="install_internal")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == GOES_ON


def test_once_the_canary_has_passed_its_failures_count() -> None:
    fleet = scene.devices(10)
    deployment = scene.start(canary=4, canary_success_pct=50, failure_min_sample=1, **NO_RETRY)
    for device, answer in zip(fleet, ["failed", "succeeded", "succeeded"], strict=False):
        assert scene.beat(device)
        scene.report(deployment, device, answer, error_code="apk_invalid" if answer == "failed" else None)
    tick.advance(deployment.pk)
    assert Deployment.objects.get(pk=deployment.pk).canary_state == "passed"
    assert scene.state(deployment) == TRIPPED


def test_after_an_override_only_what_finishes_later_counts() -> None:
    deployment = _run(0, 5)
    with pytest.raises(Invalid):
        lifecycle.resume(scene.admin(), deployment.pk)
    lifecycle.resume(scene.admin(), deployment.pk, reason="known fault")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == GOES_ON
    later = list(Device.objects.order_by("id"))[5:10]
    for device in later:
        assert scene.beat(device)
        scene.report(deployment, device, "failed", error_code="install_internal")
    assert scene.state(deployment) == GOES_ON
    tick.advance(deployment.pk)
    assert scene.state(deployment) == TRIPPED


def test_the_limit_calls_back_what_was_not_acknowledged() -> None:
    fleet = scene.devices(8)
    deployment = scene.start(fleet, max_failures=1, **NO_RETRY)
    for device in fleet[:3]:
        assert scene.beat(device)
    scene.report(deployment, fleet[0], "received")
    scene.report(deployment, fleet[2], "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)
    assert scene.counts(deployment) == {"queued": 6, "installing": 1, "failed": 1, "total": 8}


def test_the_gate_is_judged_in_the_transaction_that_claims() -> None:
    fleet = scene.devices(3)
    deployment = scene.start(fleet, max_failures=1, **NO_RETRY)
    assert scene.beat(fleet[0])
    scene.report(deployment, fleet[0], "failed", error_code="apk_invalid")
    assert scene.beat(fleet[1]) is None
    assert scene.state(deployment) == TRIPPED


# --- the end -------------------------------------------------------------------------------------------------

ENDS: list[tuple[str, list[dict[str, Any]], str]] = [
    ("all excluded, none has the version: it could not be carried out", [{"sdk_int": 20}], "failed"),
    ("all have the version already", [{"installed": 121}], "complete"),
    ("some have the version, the others are excluded", [{"installed": 121}, {"sdk_int": 20}], "complete"),
    ("all have a newer one", [{"installed": 130}], "failed"),
    ("one skipped for good, none excluded", [{"beat": {"battery": 1}}], "complete"),
    ("one skipped for good, one excluded", [{"beat": {"battery": 1}}, {"sdk_int": 20}], "complete"),
]


@pytest.mark.parametrize(("traits", "end"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_an_end_without_a_send(traits: list[dict[str, Any]], end: str) -> None:
    fleet = [device for each in traits for device in scene.devices(1, **each)]
    deployment = scene.start(fleet, deadline_hours=0)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == (end, "")
    assert Deployment.objects.get().finished_at is not None


def test_all_failed_is_complete_for_it_was_carried_out() -> None:
    deployment = _run(0, 3, fleet=3)
    assert scene.state(deployment) == ("complete", "")


def test_a_deployment_does_not_end_while_somebody_will_be_checked_again() -> None:
    fleet = scene.devices(1, beat={"battery": 1})
    deployment = scene.start(fleet)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == GOES_ON
    assert scene.counts(deployment) == {"skipped": 1, "total": 1}


def test_all_excluded_ends_a_fleet_deployment_that_waits_for_its_canary() -> None:
    scene.devices(3, installed=121)
    deployment = scene.start(canary=2)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("complete", "")
