"""Going back: when it is offered, to whom, and what happens in the one transaction."""

import pytest
from django.utils import timezone

from apks import allowlist
from apks.models import ApkVersion
from deployments import tick
from deployments.engine import reaper
from deployments.models import Deployment, DeploymentEvent, DeploymentTask
from deployments.operations import lifecycle, rollback
from deployments.operations.rollback import Consent
from deployments.reading import log_replay, summary
from devices.models import Device
from mdm.models import AuditEvent
from mdm.people import Actor
from mdm.problems import Conflict, Forbidden, NotFound
from tests.deployments import scene
from tests.deployments.going_back import NO_RETRY, go_back, reached, rebuilt, told, tripped, version
from tests.factories import member

pytestmark = pytest.mark.django_db


# --- when ----------------------------------------------------------------------------------------------------
def test_it_is_not_offered_before_a_gate_has_tripped() -> None:
    rebuilt()
    deployment = scene.start(scene.devices(2))
    found = summary.summary(deployment.pk)["rollback"]
    assert (found["offered"], found["kind"], found["why_not"]) == (False, "rebuild", rollback.NOT_TRIPPED)
    with pytest.raises(Conflict):
        go_back(deployment)
    assert scene.state(deployment) == ("running", "")
    assert ApkVersion.objects.filter(withdrawn_at=None).count() == 3


def test_a_canary_that_failed_offers_it_and_one_that_could_not_be_judged_does_not() -> None:
    rebuilt()
    fleet = scene.devices(4)
    failed = scene.start(fleet[:2], canary=1, retry=NO_RETRY)
    assert scene.beat(fleet[0])
    scene.report(failed, fleet[0], "failed", error_code="apk_invalid")
    tick.advance(failed.pk)
    assert scene.state(failed) == ("paused", "canary_failed")
    assert summary.summary(failed.pk)["rollback"]["offered"]

    silent = scene.start(fleet[2:], canary=1, canary_timeout_min=1)
    assert scene.beat(fleet[2])
    scene.age(silent, minutes=2)
    tick.advance(silent.pk)
    assert scene.state(silent) == ("paused", "canary_undecided")
    assert not summary.summary(silent.pk)["rollback"]["offered"]


def test_it_stays_offered_after_an_override_and_after_a_cancel() -> None:
    rebuilt()
    bad = tripped(scene.devices(3))
    lifecycle.resume(scene.admin(), bad.pk, reason="one flaky device")
    assert summary.summary(bad.pk)["rollback"]["offered"]
    lifecycle.cancel(scene.admin(), bad.pk)
    assert summary.summary(bad.pk)["rollback"]["offered"]
    go_back(bad)
    assert scene.state(bad) == ("canceled", "")


def test_where_it_was_not_allowed_it_is_not_offered() -> None:
    rebuilt()
    bad = tripped(scene.devices(3), allow_rollback=False)
    found = summary.summary(bad.pk)["rollback"]
    assert (found["offered"], found["kind"]) == (False, "rebuild")
    with pytest.raises(Conflict, match="not allowed"):
        go_back(bad)


# --- to whom -------------------------------------------------------------------------------------------------
def test_exactly_those_that_the_bad_version_reached() -> None:
    rebuilt()
    fleet = scene.devices(8)
    has_it, failed_unheard, failed_disproved, moved_on, *never = fleet
    bad = tripped(fleet[:6], installed=1, failed=3)
    scene.beat(failed_disproved)  # packages left out: unchanged, so it is still on 120
    scene.beat(moved_on, packages=told(scene.PACKAGE, 119))
    made = go_back(bad)
    assert reached(made) == {has_it.pk, failed_unheard.pk}
    assert made.target.resolved_count == 2
    assert made.from_version == bad.to_version
    assert not DeploymentTask.objects.filter(deployment=made, device__in=never).exists()


def test_a_device_that_another_deployment_of_the_bad_version_reached_is_among_them() -> None:
    rebuilt()
    fleet = scene.devices(4)
    other = scene.start(fleet[3:])
    scene.install(other, fleet[3])
    bad = tripped(fleet[:3])
    assert reached(go_back(bad)) == {fleet[0].pk, fleet[1].pk, fleet[3].pk}


def test_a_failure_whose_next_heartbeat_shows_the_bad_version_is_rolled_back() -> None:
    rebuilt()
    fleet = scene.devices(3)
    bad = tripped(fleet)
    scene.beat(fleet[1], packages=told(scene.PACKAGE, 121))
    made = go_back(bad)
    command = scene.beat(fleet[1])
    assert command is not None
    assert (command["apk"]["version_code"], command["install_mode"]) == (122, "update")
    assert reached(made) == {fleet[0].pk, fleet[1].pk}


def _unsettled() -> tuple[Deployment, Device]:
    """Rolled back while this device was at work."""
    rebuilt()
    fleet = scene.devices(4)
    bad = scene.start(fleet, retry=NO_RETRY, max_failures=1)
    assert scene.beat(fleet[1])
    assert scene.report(bad, fleet[1], "received").http_status == 200
    assert scene.beat(fleet[0])
    scene.report(bad, fleet[0], "failed", error_code="install_internal")
    tick.advance(bad.pk)
    made = go_back(bad)
    assert scene.reason(made, fleet[1]) == "in_other_deployment"
    assert scene.beat(fleet[1]) is None
    return made, fleet[1]


def test_one_that_is_still_at_work_waits_and_is_left_alone_once_it_has_stopped() -> None:
    made, device = _unsettled()
    bad = made.rollback_of
    assert bad is not None
    assert scene.report(bad, device, "skipped", error_code="canceled").http_status == 200
    assert scene.beat(device) is None
    task = scene.task(made, device)
    assert (task.status, task.reason, task.observed, task.attempt) == (
        "skipped",
        "not_affected",
        "1.0.120",
        0,
    )
    assert task.finished_at is not None


def test_one_that_is_still_at_work_and_installs_the_bad_version_all_the_same_is_rolled_back() -> None:
    made, device = _unsettled()
    bad = made.rollback_of
    assert bad is not None
    scene.report(bad, device, "succeeded")
    assert scene.task(bad, device).status == "succeeded"
    command = scene.beat(device)
    assert command is not None
    assert command["deployment_id"] == made.pk


def test_one_that_never_reports_waits_for_its_old_deadline() -> None:
    made, device = _unsettled()
    assert made.rollback_of is not None
    scene.age(made.rollback_of, minutes=130)
    reaper.reap(timezone.now())
    assert scene.reason(made, device) == "awaiting_heartbeat"
    assert scene.beat(device, packages=told(scene.PACKAGE, 121)) is not None


def test_a_rollback_that_finds_nobody_is_complete() -> None:
    rebuilt()
    fleet = scene.devices(2)
    bad = tripped(fleet, installed=0)
    scene.beat(fleet[0])
    made = go_back(bad)
    assert reached(made) == set()
    assert (made.status, scene.state(bad)[0]) == ("complete", "canceled")
    assert list(log_replay.differences(made.pk)) == []


# --- the transaction -----------------------------------------------------------------------------------------
def test_bad_deployment_version_and_rollback_change_together_and_are_linked_both_ways() -> None:
    _, rebuild = rebuilt()
    fleet = scene.devices(5)
    bad = tripped(fleet, rate=7, concurrency=2, canary=0, min_battery=33)
    made = go_back(bad, reason="tills freeze")
    bad.refresh_from_db()
    assert (bad.status, bad.killed_by, bad.to_version.withdrawn_reason) == (
        "canceled",
        scene.admin().user,
        f"Rolled back from deployment #{bad.pk}: tills freeze",
    )
    seen, before = summary.summary(made.pk), summary.summary(bad.pk)
    assert (seen["rollback_of"], seen["to_version"]["id"], seen["install_mode"]) == (
        bad.pk,
        rebuild.pk,
        "update",
    )
    assert (before["rolled_back_by"], before["rollback"]["offered"]) == (made.pk, False)
    kept = {name: made.options[name] for name in ("rate", "concurrency", "canary", "min_battery")}
    assert kept == {"rate": 7, "concurrency": 2, "canary": 0, "min_battery": 33}
    assert made.canary_state == "none"
    assert not summary.summary(made.pk)["rollback"]["offered"]
    logged = DeploymentEvent.objects.get(deployment=bad, meta__rollback=made.pk)
    assert (logged.actor, logged.meta["kind"], logged.meta["operator_reason"]) == (
        "user:ada",
        "rebuild",
        "tills freeze",
    )
    assert AuditEvent.objects.filter(action="withdraw_apkversion", actor="user:ada").count() == 1
    for deployment in (bad, made):
        assert list(log_replay.differences(deployment.pk)) == []


def test_it_runs_to_complete_and_the_fleet_is_on_good_code() -> None:
    rebuilt()
    fleet = scene.devices(4)
    bad = tripped(fleet, installed=2)
    scene.beat(fleet[2])
    made = go_back(bad)
    for device in fleet[:2]:
        scene.install(made, device)
    tick.advance(made.pk)
    assert scene.state(made) == ("complete", "")
    assert {device.current_versions[scene.PACKAGE]["version_code"] for device in Device.objects.all()} == {
        120,
        122,
    }
    assert list(log_replay.differences(made.pk)) == []


def test_other_deployments_of_the_bad_version_pause() -> None:
    rebuilt()
    fleet = scene.devices(5)
    other = scene.start(fleet[3:])
    go_back(tripped(fleet[:3]))
    assert scene.state(other) == ("paused", "version_withdrawn")
    assert scene.beat(fleet[3]) is None


def test_the_window_of_the_bad_deployment_does_not_hold_the_rollback() -> None:
    rebuilt()
    window = {
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "start": "00:00",
        "end": "23:59",
        "tz": "UTC",
    }
    bad = tripped(scene.devices(3), window=window)
    assert go_back(bad).options["window"] is None


def test_who_is_offline_gets_it_when_back_even_where_the_bad_deployment_never_checked_again() -> None:
    rebuilt()
    fleet = scene.devices(3)
    bad = tripped(fleet, deadline_hours=0)
    scene.quiet(fleet[0], hours=1)
    made = go_back(bad)
    assert made.options["deadline_hours"] == 24
    task = scene.task(made, fleet[0])
    assert (task.status, task.reason, task.next_run_at is not None) == ("skipped", "offline", True)
    command = scene.beat(fleet[0])
    assert command is not None
    assert command["deployment_id"] == made.pk


def _refused(why: str) -> tuple[Deployment, type[Exception], Actor]:
    rebuilt()
    bad = tripped(scene.devices(3))
    actor = scene.admin()
    if why == "the kill switch":
        scene.FleetSwitch.objects.update(kill_switch=True)
        return bad, Conflict, actor
    if why == "the allowlist":
        allowlist.unmanage_package(actor, scene.PACKAGE)
        return bad, Conflict, actor
    if why == "the flag":
        scene.FleetSwitch.objects.update(deployments_enabled=False)
        return bad, Forbidden, actor
    return bad, Forbidden, Actor.person(member("operator"))


@pytest.mark.parametrize("why", ["the kill switch", "the flag", "the allowlist", "a missing permission"])
def test_nothing_is_half_done_when_it_is_refused_by(why: str) -> None:
    bad, problem, actor = _refused(why)
    with pytest.raises(problem):
        rollback.roll_back(actor, bad.pk, Consent())
    assert scene.state(bad) == ("paused", "failure_rate")
    assert Deployment.objects.count() == 1
    assert not ApkVersion.objects.exclude(withdrawn_at=None).exists()


def test_off_the_allowlist_it_is_not_offered_and_says_why() -> None:
    rebuilt()
    bad = tripped(scene.devices(3))
    allowlist.unmanage_package(scene.admin(), scene.PACKAGE)
    offered = summary.summary(bad.pk)["rollback"]
    assert (offered["offered"], offered["kind"]) == (False, "rebuild")
    assert offered["why_not"] == f"{scene.PACKAGE} is not on the allowlist; put it there first."


def test_there_is_no_such_deployment() -> None:
    with pytest.raises(NotFound):
        rollback.roll_back(scene.admin(), 4711, Consent())


# --- pressed twice -------------------------------------------------------------------------------------------
def test_the_second_press_is_told_of_the_first() -> None:
    rebuilt()
    bad = tripped(scene.devices(3))
    made = go_back(bad)
    with pytest.raises(Conflict, match=f"already, by deployment #{made.pk}") as refused:
        go_back(bad)
    assert refused.value.extra["current_status"] == "canceled"
    assert refused.value.extra["deployment_id"] == made.pk
    assert Deployment.objects.count() == 2


def test_a_stale_view_is_told_the_state() -> None:
    rebuilt()
    bad = tripped(scene.devices(3))
    lifecycle.resume(scene.admin(), bad.pk, reason="known")
    with pytest.raises(Conflict) as refused:
        go_back(bad, expected_status="paused")
    assert refused.value.extra == {"current_status": "running"}
    with pytest.raises(Conflict, match="another by now"):
        go_back(bad, expected_version_id=version(120).pk)


def test_a_rollback_that_was_canceled_may_be_followed_by_another() -> None:
    rebuilt()
    fleet = scene.devices(3)
    bad = tripped(fleet)
    first = go_back(bad)
    lifecycle.cancel(scene.admin(), first.pk)
    second = go_back(bad)
    assert reached(second) == reached(first)
    assert summary.summary(bad.pk)["rolled_back_by"] == second.pk
