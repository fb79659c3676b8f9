"""Kill switch, flag, withdrawal and allowlist: what stops, who is told, and what time does not count."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models import F
from django.utils import timezone

from apks import allowlist
from deployments.engine import reaper
from deployments.models import Deployment, DeploymentAttempt, DeploymentEvent, FleetSwitch
from deployments.operations import fleet_switch, lifecycle
from deployments.reading import summary
from mdm.people import Actor
from mdm.problems import Conflict, Forbidden, Invalid
from tests.deployments import scene

pytestmark = pytest.mark.django_db


def _resume(deployment: Deployment) -> None:
    lifecycle.resume(scene.admin(), deployment.pk)


def _switch(**turned: bool) -> None:
    fleet_switch.change(scene.admin(), reason="smoke in shop 3", **turned)


def test_the_switch_says_who_and_why_until_the_resume() -> None:
    deployment = scene.start(scene.devices(1))
    _switch(kill_switch=True)
    shown = summary.summary(deployment.pk)
    assert (shown["killed_by"], shown["killed_reason"]) == ("ada", "smoke in shop 3")
    _switch(kill_switch=False)
    _resume(deployment)
    shown = summary.summary(deployment.pk)
    assert (shown["killed_by"], shown["killed_reason"]) == (None, None)
    messages = DeploymentEvent.objects.filter(deployment=deployment).values_list("message", flat=True)
    assert any("smoke in shop 3" in message for message in messages)


STOPS: dict[str, Any] = {
    "kill_switch": lambda deployment: _switch(kill_switch=True),
    "flag_off": lambda deployment: _switch(deployments_enabled=False),
    "version_withdrawn": lambda it: allowlist.withdraw(scene.admin(), it.to_version_id, "bad"),
    "not_managed": lambda it: allowlist.unmanage_package(scene.admin(), scene.PACKAGE),
}
LETS_GO: dict[str, Any] = {
    "kill_switch": lambda: _switch(kill_switch=False),
    "flag_off": lambda: _switch(deployments_enabled=True),
    "not_managed": lambda: allowlist.manage_package(scene.admin(), scene.PACKAGE),
}


@pytest.mark.parametrize("why", STOPS)
def test_a_hard_stop_claims_nothing_and_tells_agents_to_stop(why: str) -> None:
    fleet = scene.devices(3)
    deployment = scene.start(fleet)
    for device in fleet[:2]:
        assert scene.beat(device)
    scene.report(deployment, fleet[1], "downloading")
    STOPS[why](deployment)
    assert scene.state(deployment) == ("paused", why)
    assert [scene.beat(device) for device in fleet] == [None, None, None]
    for device in fleet[:2]:
        answer = scene.confirm(deployment, device, 1)
        assert (answer.http_status, answer.body["reason"]) == (410, why)
    assert scene.report(deployment, fleet[1], "skipped", error_code=why).http_status == 200
    task = scene.task(deployment, fleet[1])
    assert (task.status, task.failures, task.acknowledged_failure_at) == ("queued", 0, None)


@pytest.mark.parametrize("why", LETS_GO)
def test_a_silent_device_keeps_its_place_and_is_handed_the_command_again_after_the_resume(why: str) -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device)
    STOPS[why](deployment)
    scene.age(deployment, hours=5)
    reaper.reap(timezone.now())
    assert scene.task(deployment, device).status == "sending"
    LETS_GO[why]()
    _resume(deployment)
    reaper.reap(timezone.now())
    command = scene.beat(device)
    assert command is not None
    assert command["attempt"] == 1


def test_deadlines_stand_still_while_stopped() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet, ack_timeout_min=10, deadline_hours=1)
    assert scene.beat(fleet[0])
    assert scene.beat(fleet[1], battery=1) is None
    scene.age(deployment, minutes=6)
    _switch(kill_switch=True)
    scene.age(deployment, hours=3)
    _switch(kill_switch=False)
    _resume(deployment)
    now = timezone.now()
    sending, skipped = (scene.task(deployment, device) for device in fleet)
    assert sending.in_flight_until is not None
    assert skipped.recheck_until is not None
    assert timedelta(minutes=3.5) < sending.in_flight_until - now < timedelta(minutes=4.5)
    assert timedelta(minutes=53) < skipped.recheck_until - now < timedelta(minutes=55)


def test_the_switch_costs_nobody_time_whose_deployment_was_paused_before() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(
        fleet, ack_timeout_min=10, step_timeout_min=10, retry={"max": 0, "backoff_sec": 1}
    )
    assert scene.beat(fleet[0])
    assert scene.beat(fleet[1])
    scene.report(deployment, fleet[1], "received")
    lifecycle.pause(scene.admin(), deployment.pk)
    _switch(kill_switch=True)
    _switch(kill_switch=True, deployments_enabled=True)
    _long_ago(deployment, hours=3)
    reaper.reap(timezone.now())
    _switch(kill_switch=False)
    reaper.reap(timezone.now())
    assert scene.counts(deployment) == {"sending": 1, "installing": 1, "total": 2}
    for device in fleet:
        left = scene.task(deployment, device).in_flight_until
        assert left is not None
        assert timedelta(minutes=9) < left - timezone.now() < timedelta(minutes=11)
    assert FleetSwitch.objects.get().kill_switch_since is None


def _long_ago(deployment: Deployment, **span: float) -> None:
    scene.age(deployment, **span)
    FleetSwitch.objects.update(kill_switch_since=F("kill_switch_since") - timedelta(**span))


def test_a_deadline_set_by_a_report_during_the_stop_is_not_stretched_by_the_time_before_it() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], step_timeout_min=15)
    assert scene.beat(device)
    _switch(kill_switch=True)
    scene.age(deployment, hours=1)
    scene.report(deployment, device, "downloading")
    _switch(kill_switch=False)
    _resume(deployment)
    task = scene.task(deployment, device)
    assert task.in_flight_until is not None
    assert task.in_flight_until - timezone.now() < timedelta(minutes=15.5)


def test_the_time_a_person_paused_counts_against_deadlines() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device)
    lifecycle.pause(scene.admin(), deployment.pk)
    scene.age(deployment, minutes=11)
    reaper.reap(timezone.now())
    assert scene.task(deployment, device).status == "queued"
    assert DeploymentAttempt.objects.get().error_code == "no_answer"


def test_a_great_stopped_deployment_does_not_hide_the_dead_devices_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaper, "_DUE", reaper._DUE.replace(f"LIMIT {reaper.BATCH}", "LIMIT 2"))
    fleet = scene.devices(3)
    bad, good = scene.version(121), scene.version(122)
    stopped, other = scene.start(fleet[:2], to=bad), scene.start(fleet[2:], to=good)
    for device in fleet:
        assert scene.beat(device)
    allowlist.withdraw(scene.admin(), bad.pk, "bad")
    scene.age(stopped, hours=2)
    scene.age(other, hours=1)
    assert reaper.reap(timezone.now()) == 1
    assert scene.task(other, fleet[2]).status == "queued"


def test_an_operator_may_turn_the_switch_on_but_not_off() -> None:
    operator = User.objects.create_user("olga")
    operator.user_permissions.add(Permission.objects.get(codename="engage_kill_switch"))
    actor = Actor.person(User.objects.get(pk=operator.pk))
    assert fleet_switch.change(actor, kill_switch=True, reason="smoke")["kill_switch"]
    with pytest.raises(Forbidden):
        fleet_switch.change(actor, kill_switch=False, reason="no smoke")
    with pytest.raises(Invalid):
        fleet_switch.change(scene.admin(), kill_switch=False, reason=" ")


def test_a_stale_look_at_the_switch_changes_nothing() -> None:
    seen = fleet_switch.read()["changed_at"]
    _switch(deployments_enabled=True)
    with pytest.raises(Conflict):
        fleet_switch.change(
            scene.admin(),
            kill_switch=True,
            reason="late",
            expected_changed_at=datetime.fromisoformat(seen),
        )
    assert not fleet_switch.read()["kill_switch"]
