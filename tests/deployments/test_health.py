"""health_within_min: a success counts once a later heartbeat shows it, whatever an agent reports."""

from typing import Any

import pytest

from deployments.models import DeploymentAttempt, DeploymentEvent
from deployments.operations import fleet_switch, lifecycle
from deployments.reading import log_replay
from devices import changes
from devices.models import Device
from devices.signals import device_re_enrolled
from tests.deployments import scene, stages
from tests.deployments.coming_up import NEW, NOT_YET, OLD, RESTART, at_work, now_is, reap, verifying

pytestmark = pytest.mark.django_db


# --- how it comes up -----------------------------------------------------------------------------------------


def test_a_success_is_believed_once_a_later_heartbeat_carries_the_version() -> None:
    deployment, device = verifying()
    assert now_is(deployment, device) == ("installing", "verifying")
    assert Device.objects.get(pk=device.pk).current_versions[scene.PACKAGE]["version_code"] == 121
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")
    assert DeploymentAttempt.objects.get().outcome == "succeeded"


def test_straight_from_sending_too() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], health_within_min=30)
    scene.beat(device)
    scene.report(deployment, device, "succeeded")
    assert now_is(deployment, device) == ("installing", "verifying")
    assert DeploymentAttempt.objects.get().acknowledged_at is not None


@pytest.mark.parametrize(
    "packages",
    [None, [], OLD, [NEW[0] | {"version_code": 122}], [NEW[0] | {"signer_sha256": "b" * 64}]],
    ids=["nothing told", "none installed", "the old one", "another one", "by another signer"],
)
def test_a_heartbeat_that_does_not_carry_the_version_proves_nothing(packages: Any) -> None:
    deployment, device = verifying()
    scene.beat(device, packages=packages)
    assert now_is(deployment, device) == ("installing", "verifying")


def test_what_was_heard_before_the_report_proves_nothing() -> None:
    deployment, device = at_work()
    scene.beat(device, packages=OLD)
    scene.report(deployment, device, "succeeded")
    assert now_is(deployment, device) == ("installing", "verifying")


def test_an_inventory_that_shows_the_version_leads_to_verifying_and_the_next_heartbeat_to_success() -> None:
    deployment, device = at_work()
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("installing", "verifying")
    assert scene.report(deployment, device, "succeeded").body == NOT_YET
    scene.beat(device)  # an inventory left out is unchanged
    assert now_is(deployment, device) == ("succeeded", "")


def test_an_inventory_that_lost_the_version_has_to_show_it_again() -> None:
    deployment, device = at_work()
    scene.beat(device, packages=NEW)
    scene.beat(device, packages=OLD)
    scene.beat(device)
    assert now_is(deployment, device) == ("installing", "verifying")
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")


def test_without_the_option_the_report_settles_it() -> None:
    deployment, device = at_work(health_within_min=None)
    scene.report(deployment, device, "succeeded")
    assert now_is(deployment, device) == ("succeeded", "")


# --- where a restart was asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["heartbeat", "restart"])
def test_heartbeat_and_restart_may_come_in_either_order(first: str) -> None:
    deployment, device = verifying(**RESTART)
    if first == "heartbeat":
        scene.beat(device, packages=NEW)
        assert now_is(deployment, device) == ("installing", "verifying")
        answer = scene.report(deployment, device, "succeeded", post_install="ok")
        assert answer.body == {"status": "succeeded", "attempt": 1, "final": True, "cancel": False}
    else:
        assert scene.report(deployment, device, "succeeded", post_install="ok").body == NOT_YET
        scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")
    assert scene.task(deployment, device).post_install == "ok"


def test_a_restart_that_failed_holds_it_until_one_went_well() -> None:
    deployment, device = at_work(**RESTART)
    scene.report(deployment, device, "succeeded", post_install="failed")
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("installing", "verifying")
    assert scene.report(deployment, device, "succeeded", post_install="ok").http_status == 200
    assert now_is(deployment, device) == ("succeeded", "")


def test_a_restart_that_failed_is_told_in_the_log() -> None:
    deployment, device = verifying(**RESTART)
    scene.report(deployment, device, "succeeded", post_install="failed")
    assert DeploymentEvent.objects.filter(message="The restart intent failed", level="warn").count() == 1


@pytest.mark.parametrize("said", [None, "failed"])
def test_past_the_time_without_a_restart_that_went_well_it_has_failed(said: str | None) -> None:
    deployment, device = at_work(**RESTART)
    scene.report(deployment, device, "succeeded", post_install=said)
    scene.beat(device, packages=NEW)
    scene.age(deployment, minutes=31)
    assert reap() == 1
    assert now_is(deployment, device) == ("failed", "not_healthy")
    assert "restart" in scene.task(deployment, device).last_error


# --- what agents may say meanwhile ---------------------------------------------------------------------------

SAID = {
    "received": 200,
    "downloading": 200,
    "installing": 200,
    "succeeded": 200,
    "failed install_aborted": 409,
    "failed apk_invalid": 409,
    "skipped battery_low": 409,
    "skipped settled": 200,
    "skipped canceled": 200,
}


@pytest.mark.parametrize("said", SAID)
def test_what_is_reported_after_the_success_changes_nothing(said: str) -> None:
    deployment, device = verifying()
    before, events = stages.row(deployment, device), scene.events(deployment)
    status, _, code = said.partition(" ")
    answer = scene.report(deployment, device, status, error_code=code or None)
    assert (answer.http_status, answer.body) == (SAID[said], NOT_YET)
    assert stages.row(deployment, device) == before
    assert scene.events(deployment) - events == (1 if SAID[said] == 409 else 0)


def test_an_agent_may_say_itself_that_the_app_did_not_come_up() -> None:
    deployment, device = verifying()
    answer = scene.report(deployment, device, "failed", error_code="not_healthy", error="crashes at start")
    assert (answer.http_status, answer.body["final"]) == (200, True)
    assert now_is(deployment, device) == ("failed", "not_healthy")
    assert scene.task(deployment, device).last_error == "crashes at start"


def test_an_agent_that_asks_is_told_that_it_is_settled_and_gets_no_command() -> None:
    deployment, device = verifying()
    answer = scene.confirm(deployment, device)
    assert (answer.http_status, answer.body) == (410, {"status": "installing", "reason": "settled"})
    assert scene.beat(device) is None


def test_a_success_of_an_older_attempt_leads_there_as_well() -> None:
    deployment, device = at_work()
    scene.report(deployment, device, "failed", error_code="install_internal")
    scene.age(deployment, seconds=5)
    assert scene.beat(device)
    scene.report(deployment, device, "succeeded", attempt=1)
    assert now_is(deployment, device) == ("installing", "verifying")
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")


# --- deadlines -----------------------------------------------------------------------------------------------


def test_past_the_time_it_has_failed_and_no_retry_mends_it() -> None:
    deployment, device = verifying()
    scene.age(deployment, minutes=29)
    assert reap() == 0
    scene.age(deployment, minutes=2)
    assert reap() == 1
    task = scene.task(deployment, device)
    assert now_is(deployment, device) == ("failed", "not_healthy")
    assert (task.next_run_at, task.finished_at is None, task.failures) == (None, False, 1)
    assert task.acknowledged_failure_at is not None
    assert DeploymentAttempt.objects.get().error_code == "not_healthy"


def test_no_other_deadline_applies_meanwhile() -> None:
    deployment, device = verifying(step_timeout_min=1, install_timeout_min=2, health_within_min=300)
    scene.age(deployment, minutes=299)
    assert reap() == 0
    assert now_is(deployment, device) == ("installing", "verifying")
    scene.beat(device, packages=NEW)  # longer after the send than an inventory proves otherwise
    assert now_is(deployment, device) == ("succeeded", "")


def test_a_verification_of_more_than_a_day_is_still_proven_by_a_heartbeat() -> None:
    deployment, device = verifying(health_within_min=3_000)
    scene.age(deployment, hours=30)
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")


def test_time_spent_stopped_does_not_count() -> None:
    deployment, device = verifying()
    fleet_switch.change(scene.admin(), kill_switch=True, reason="smoke")
    scene.age(deployment, minutes=60)
    assert reap() == 0
    fleet_switch.change(scene.admin(), kill_switch=False, reason="gone")
    assert reap() == 0
    lifecycle.resume(scene.admin(), deployment.pk)
    assert reap() == 0
    scene.age(deployment, minutes=31)
    assert reap() == 1
    assert now_is(deployment, device) == ("failed", "not_healthy")


def test_what_failed_for_its_health_stays_so() -> None:
    """A repeated report was known already; a heartbeat that shows the version comes too late."""
    deployment, device = verifying()
    scene.age(deployment, minutes=31)
    reap()
    answer = scene.report(deployment, device, "succeeded")
    assert (answer.http_status, answer.body["status"]) == (200, "failed")
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("failed", "not_healthy")


# --- who ends it meanwhile -----------------------------------------------------------------------------------


def test_a_cancel_lets_the_device_go_at_once_for_it_has_reported() -> None:
    deployment, device = verifying()
    lifecycle.cancel(scene.admin(), deployment.pk)
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.in_flight_until) == ("skipped", "canceled", None)
    assert DeploymentAttempt.objects.get().outcome == "canceled"
    other = scene.start([device], to=scene.version(122))
    assert scene.reason(other, device) == "awaiting_heartbeat"


def test_a_canceled_one_that_is_shown_after_all_has_succeeded() -> None:
    deployment, device = verifying()
    lifecycle.cancel(scene.admin(), deployment.pk)
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")


def test_retirement_ends_it() -> None:
    deployment, device = verifying()
    changes.change(scene.admin(), device.pk, changes.DeviceChanges(status="retired"))
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.in_flight_until) == ("skipped", "device_retired", None)
    assert not DeploymentAttempt.objects.filter(finished_at=None).exists()
    assert list(log_replay.differences(deployment.pk)) == []


def test_enrolled_anew_it_waits_again_and_nothing_of_before_counts() -> None:
    deployment, device = at_work(**RESTART)
    scene.report(deployment, device, "succeeded", post_install="ok")
    device_re_enrolled.send(sender=Device, device_id=device.pk)
    task = scene.task(deployment, device)
    assert (task.status, task.failures, task.verifying_since) == ("queued", 0, None)
    Device.objects.filter(pk=device.pk).update(current_versions={})
    assert scene.beat(device)
    assert scene.task(deployment, device).post_install == ""


def test_a_pause_leaves_it_to_its_heartbeat() -> None:
    deployment, device = verifying()
    lifecycle.pause(scene.admin(), deployment.pk)
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")
