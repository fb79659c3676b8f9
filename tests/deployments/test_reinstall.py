"""Going back by a reinstall: what it wants, whom it reaches, and that it is not left half done."""

from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from apks import allowlist
from deployments import tick
from deployments.engine import reaper
from deployments.models import Deployment
from devices.models import Device
from mdm.problems import Conflict, Invalid
from tests.deployments import scene
from tests.deployments.going_back import NO_RETRY, SHOP, go_back, on, reached, shop_tripped, told, version

pytestmark = pytest.mark.django_db


def without_gates(made: Deployment) -> None:
    """So that one device can fail as often as it likes."""
    options = made.options | {"max_failures": None, "failure_min_sample": 1_000_000}
    Deployment.objects.filter(pk=made.pk).update(canary_state="none", options=options)


CONSENT = {"accept_data_loss": True, "confirm_version": "1.0.120"}


@pytest.mark.parametrize(
    ("consent", "missing"),
    [
        ({}, {"accept_data_loss", "confirm_version"}),
        ({"accept_data_loss": True}, {"confirm_version"}),
        ({"accept_data_loss": True, "confirm_version": "1.0.121"}, {"confirm_version"}),
        ({"confirm_version": "1.0.120"}, {"accept_data_loss"}),
    ],
)
def test_a_reinstall_wants_the_loss_accepted_and_the_version_typed(
    consent: dict[str, Any], missing: set[str]
) -> None:
    bad, _ = shop_tripped()
    with pytest.raises(Invalid) as refused:
        go_back(bad, **consent)
    assert set(refused.value.errors) == missing
    assert Deployment.objects.count() == 1


def test_a_reinstall_goes_down_has_a_canary_and_says_so_to_the_agent() -> None:
    bad, fleet = shop_tripped(canary=0)
    made = go_back(bad, **CONSENT)
    assert (made.install_mode, made.options["canary"], made.canary_state) == ("reinstall", 1, "collecting")
    command = scene.beat(fleet[0])
    assert command is not None
    assert (command["install_mode"], command["apk"]["version_code"]) == ("reinstall", 120)
    assert scene.beat(fleet[1]) is None
    assert scene.reason(made, fleet[1]) == "canary_gate"
    for step in ("received", "installing", "succeeded"):
        assert scene.report(made, fleet[0], step).http_status == 200
    assert scene.beat(fleet[1]) is not None


def test_a_reinstall_leaves_a_device_alone_that_has_the_good_version() -> None:
    bad, fleet = shop_tripped(canary=0)
    scene.beat(fleet[0], packages=told(SHOP, 120))
    made = go_back(bad, **CONSENT)
    assert fleet[0].pk not in reached(made)


def _unsettled_reinstall() -> tuple[Deployment, Device, Device]:
    """One device has failed, one was at work; of both is known what they had before."""
    version(120, SHOP)
    fleet = scene.devices(3, current_versions=on(SHOP, 120), fcm_token="token")
    bad = scene.start(fleet, to=version(121, SHOP), retry=NO_RETRY, max_failures=1, concurrency=2)
    for device in fleet[:2]:
        assert scene.beat(device)
        assert scene.report(bad, device, "received").http_status == 200
    scene.report(bad, fleet[0], "failed", error_code="install_internal")
    tick.advance(bad.pk)
    made = go_back(bad, **CONSENT)
    without_gates(made)
    return made, fleet[0], fleet[1]


def test_what_was_known_before_the_bad_version_was_sent_keeps_nobody_from_a_reinstall() -> None:
    made, failed, at_work = _unsettled_reinstall()
    assert scene.reason(made, at_work) == "in_other_deployment"
    assert scene.reason(made, failed) == "awaiting_heartbeat"
    assert made.rollback_of is not None
    scene.report(made.rollback_of, at_work, "succeeded")
    command = scene.beat(at_work)
    assert command is not None
    assert (command["deployment_id"], command["install_mode"]) == (made.pk, "reinstall")
    assert scene.beat(failed) is None
    assert scene.task(made, failed).reason == "not_affected"


@pytest.mark.parametrize(("known", "pushed"), [(None, False), (120, False), (121, True)])
def test_nobody_is_pushed_a_reinstall_who_was_not_seen_with_the_bad_version(
    settings: Settings, known: int | None, pushed: bool
) -> None:
    made, failed, _ = _unsettled_reinstall()
    settings.PUSH_TRANSPORT = "fcm"
    Device.objects.filter(pk=failed.pk).update(current_versions=on(SHOP, known) if known else {})
    claims = tick.advance(made.pk)
    assert [claim.device_id for claim in claims] == ([failed.pk] if pushed else [])


def test_a_device_without_its_app_is_tried_until_it_has_it_again() -> None:
    bad, fleet = shop_tripped(installed=1, retry={"max": 0, "backoff_sec": 1})
    made = go_back(bad, **CONSENT)
    without_gates(made)
    for attempt in range(1, 13):  # more than retry.max and more than the budget of a day
        command = scene.beat(fleet[0], packages=[])
        assert command is not None, scene.reason(made, fleet[0])
        assert command["attempt"] == attempt
        scene.report(made, fleet[0], "received")
        scene.report(made, fleet[0], "failed", error_code="reinstall_incomplete")
        assert scene.task(made, fleet[0]).status == "queued"
        scene.age(made, hours=7)
    assert scene.beat(fleet[0], packages=[]) is not None
    scene.report(made, fleet[0], "succeeded")
    assert scene.task(made, fleet[0]).status == "succeeded"


@pytest.mark.parametrize("code", ["no_answer", "timed_out", "download_network"])
def test_silence_does_not_end_a_reinstall_that_is_half_done(code: str) -> None:
    bad, fleet = shop_tripped(installed=1, retry={"max": 0, "backoff_sec": 1}, canary=0)
    made = go_back(bad, **CONSENT)
    assert scene.beat(fleet[0])
    scene.report(made, fleet[0], "failed", error_code="reinstall_incomplete")
    scene.age(made, hours=7)
    without_gates(made)
    assert scene.beat(fleet[0], packages=[])
    if code == "no_answer":
        scene.age(made, minutes=11)
        reaper.reap(timezone.now())
    else:
        scene.report(made, fleet[0], "failed", error_code=code)
    task = scene.task(made, fleet[0])
    assert (task.status, task.error_code) == ("queued", "reinstall_incomplete")
    assert task.attempts.get(number=2).error_code == code


def test_a_half_done_reinstall_outlives_the_deadline_of_an_offline_device() -> None:
    bad, fleet = shop_tripped(installed=2, deadline_hours=1)
    made = go_back(bad, **CONSENT)
    assert scene.beat(fleet[0])
    scene.report(made, fleet[0], "failed", error_code="reinstall_incomplete")
    without_gates(made)
    for _ in range(2):
        scene.age(made, hours=7)
        scene.quiet(fleet[0], hours=20)
        scene.quiet(fleet[1], hours=20)
        tick.advance(made.pk)
    incomplete, whole = scene.task(made, fleet[0]), scene.task(made, fleet[1])
    assert (incomplete.status, incomplete.next_run_at is None) == ("skipped", False)
    assert (whole.status, whole.next_run_at is None) == ("skipped", True)


def test_a_withdrawn_good_version_changes_what_the_rollback_may_do() -> None:
    bad, _ = shop_tripped()
    good = version(120, SHOP)
    allowlist.withdraw(scene.admin(), good.pk, "bad as well")
    with pytest.raises(Conflict, match="no earlier version"):
        go_back(bad, **CONSENT)
