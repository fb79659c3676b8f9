"""What starting, pausing, resuming, canceling and the switch do to the devices at work and to the counts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from apks import allowlist
from deployments import tick
from deployments.engine import reaper
from deployments.models import Deployment, DeploymentAttempt, DeploymentEvent, DeploymentTask, StartRequest
from deployments.operations import fleet_switch, lifecycle
from deployments.reading import summary
from deployments.rules.options import DeploymentOptions
from devices import changes
from devices.models import Device
from devices.selection import Target
from devices.signals import device_re_enrolled
from mdm.people import Actor
from mdm.problems import Conflict, Forbidden, Invalid, NotFound
from tests.deployments import scene

pytestmark = pytest.mark.django_db


def _pause(deployment: Deployment) -> None:
    lifecycle.pause(scene.admin(), deployment.pk)


def _resume(deployment: Deployment, reason: str = "") -> None:
    lifecycle.resume(scene.admin(), deployment.pk, reason=reason)


def _cancel(deployment: Deployment, reason: str = "") -> None:
    lifecycle.cancel(scene.admin(), deployment.pk, reason=reason)


def _switch(**turned: bool) -> None:
    fleet_switch.change(scene.admin(), reason="smoke in shop 3", **turned)


def _five_states(fleet: list[Device]) -> Deployment:
    """succeeded, installing, sending, skipped to be checked again, failed, waiting."""
    deployment = scene.start(fleet)
    scene.install(deployment, fleet[0])
    for device in (fleet[1], fleet[2], fleet[4]):
        assert scene.beat(device)
    scene.report(deployment, fleet[1], "installing")
    scene.beat(fleet[3], battery=1)
    scene.report(deployment, fleet[4], "failed", error_code="apk_invalid")
    return deployment


# --- start ---------------------------------------------------------------------------------------------------


def _start(device: Device, version_id: int, actor: Actor | None = None, **more: Any) -> int:
    return lifecycle.start(
        actor or scene.admin(),
        apk_version_id=version_id,
        target=Target.model_validate({"type": "selection", "device_ids": [device.pk]}),
        options=DeploymentOptions.from_json(scene.EASY),
        **more,
    )


def test_a_start_keeps_a_snapshot_of_the_flag() -> None:
    (device,) = scene.devices(1)
    assert scene.start([device]).feature_flag_snapshot == {"deployments.enabled": True}


@pytest.mark.parametrize(
    ("turned", "refusal"),
    [({"deployments_enabled": False}, Forbidden), ({"kill_switch": True}, Conflict)],
    ids=["with the flag off: 403", "with the switch on: 409"],
)
def test_a_start_is_refused(turned: dict[str, bool], refusal: type[Exception]) -> None:
    (device,) = scene.devices(1)
    version = scene.version()
    scene.enable()
    _switch(**turned)
    with pytest.raises(refusal):
        _start(device, version.pk)
    assert Deployment.objects.count() == 0


def test_an_unknown_withdrawn_or_unmanaged_version_is_not_started() -> None:
    (device,) = scene.devices(1)
    version = scene.version()
    scene.enable()
    with pytest.raises(NotFound):
        _start(device, version.pk + 1)
    allowlist.withdraw(scene.admin(), version.pk, "bad")
    with pytest.raises(Conflict) as withdrawn:
        _start(device, version.pk)
    assert withdrawn.value.slug == "version_withdrawn"
    allowlist.unmanage_package(scene.admin(), scene.PACKAGE)
    with pytest.raises(Invalid) as unmanaged:
        _start(device, version.pk)
    assert unmanaged.value.slug == "not_managed"


def test_a_key_makes_a_repeat_return_the_first_answer() -> None:
    (device,) = scene.devices(1)
    version = scene.version()
    scene.enable()
    first = _start(device, version.pk, idempotency_key="k", body_digest="d")
    assert _start(device, version.pk, idempotency_key="k", body_digest="d") == first
    with pytest.raises(Invalid):
        _start(device, version.pk, idempotency_key="k", body_digest="other")
    assert Deployment.objects.count() == 1


def test_a_key_is_each_users_own_and_forgotten_after_a_day() -> None:
    (device,) = scene.devices(1)
    version = scene.version()
    scene.enable()
    other = Actor.person(User.objects.create_user("bo", is_superuser=True))
    made = {
        _start(device, version.pk, idempotency_key="k", body_digest="d"),
        _start(device, version.pk, other, idempotency_key="k", body_digest="d"),
    }
    StartRequest.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    made.add(_start(device, version.pk, idempotency_key="k", body_digest="new"))
    assert len(made) == 3


# --- pause and resume ----------------------------------------------------------------------------------------


def test_after_a_pause_nobody_new_is_sent_to_and_who_is_at_work_finishes() -> None:
    fleet = scene.devices(6)
    deployment = _five_states(fleet)
    _pause(deployment)
    assert scene.beat(fleet[5]) is None
    assert scene.beat(fleet[3]) is None
    assert tick.advance(deployment.pk) == []
    assert scene.beat(fleet[2]), "what was sent already is still handed out"
    assert scene.confirm(deployment, fleet[1]).http_status == 200
    assert scene.report(deployment, fleet[1], "succeeded").http_status == 200
    assert scene.report(deployment, fleet[2], "failed", error_code="install_internal").http_status == 200
    assert scene.counts(deployment) == {
        "queued": 2, "succeeded": 2, "failed": 1, "skipped": 1, "total": 6
    }  # fmt: skip


def test_a_paused_deployment_whose_devices_have_all_ended_completes_when_it_is_resumed() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device)
    _pause(deployment)
    scene.report(deployment, device, "succeeded")
    tick.ring_due_deployments()
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "operator")
    _resume(deployment)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("complete", "")


def test_resuming_what_was_queued_queues_it_and_the_next_step_starts_it() -> None:
    (device,) = scene.devices(1)
    scene.enable()
    deployment = Deployment.objects.get(pk=_start(device, scene.version().pk))
    _pause(deployment)
    assert tick.advance(deployment.pk) == []
    assert DeploymentTask.objects.count() == 0
    _resume(deployment)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("running", "")
    assert scene.beat(device)


def test_nobody_is_throttled_while_the_deployment_is_paused() -> None:
    fleet = scene.devices(3)
    deployment = scene.start(fleet, concurrency=1)
    assert scene.beat(fleet[0])
    tick.advance(deployment.pk)
    assert scene.counts(deployment)["throttled"] == 1
    _pause(deployment)
    assert scene.counts(deployment) == {"queued": 2, "sending": 1, "total": 3}


# --- cancel --------------------------------------------------------------------------------------------------


def test_a_cancel_is_final_at_once_and_loses_nobody_from_the_counts() -> None:
    fleet = scene.devices(6)
    deployment = _five_states(fleet)
    assert sum(scene.counts(deployment).values()) == 12
    _cancel(deployment)
    assert scene.counts(deployment) == {"succeeded": 1, "failed": 1, "skipped": 4, "total": 6}
    assert scene.reasons(deployment) == {"canceled": 4, "apk_invalid": 1}
    assert scene.state(deployment) == ("canceled", "")
    assert not DeploymentTask.objects.filter(status="skipped", finished_at=None).exists()
    assert DeploymentEvent.objects.filter(meta__reason="canceled", meta__after="ended").count() == 4


def test_who_was_canceled_in_flight_is_handed_out_no_more_and_is_told_so() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet)
    assert scene.beat(fleet[0])
    assert scene.beat(fleet[1])
    scene.report(deployment, fleet[1], "installing")
    _cancel(deployment)
    for device in fleet:
        assert scene.beat(device) is None
        answer = scene.confirm(deployment, device, 1)
        assert (answer.http_status, answer.body) == (410, {"status": "skipped", "reason": "canceled"})


def test_a_canceled_device_is_busy_until_it_reports_or_its_old_deadline_passes() -> None:
    fleet = scene.devices(2)
    version = scene.version()
    deployment = scene.start(fleet, to=version)
    for device in fleet:
        assert scene.beat(device)
    _cancel(deployment)
    later = scene.start(fleet, to=version)
    assert scene.beat(fleet[0]) is None
    assert scene.reasons(later) == {"in_other_deployment": 2}
    scene.report(deployment, fleet[0], "skipped", error_code="canceled")
    assert scene.beat(fleet[0])
    scene.age(deployment, minutes=9)
    reaper.reap(timezone.now())
    assert scene.beat(fleet[1]) is None
    scene.age(deployment, minutes=2)
    reaper.reap(timezone.now())
    assert scene.beat(fleet[1])


def test_a_cancel_says_who_and_why() -> None:
    deployment = scene.start(scene.devices(1))
    _cancel(deployment, "wrong build")
    shown = summary.summary(deployment.pk)
    assert (shown["killed_by"], shown["killed_reason"]) == ("ada", "wrong build")
    assert shown["finished_at"] is not None


# --- devices that go -----------------------------------------------------------------------------------------


def test_retiring_a_device_ends_its_tasks_as_a_cancel_does() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet)
    assert scene.beat(fleet[0])
    for device in fleet:
        changes.change(scene.admin(), device.pk, changes.DeviceChanges(status="retired"))
    assert scene.reasons(deployment) == {"device_retired": 2}
    assert scene.confirm(deployment, fleet[0]).http_status == 410
    assert scene.report(deployment, fleet[0], "succeeded").http_status == 200
    assert scene.task(deployment, fleet[0]).status == "succeeded"


def test_whoever_retires_a_device_is_named_in_the_log_of_its_deployments() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    person = replace(scene.admin(), request_id="req-1")
    changes.change(person, device.pk, changes.DeviceChanges(status="retired"))
    event = DeploymentEvent.objects.get(deployment=deployment, device=device)
    assert (event.actor, event.meta["request_id"]) == (person.name, "req-1")


def test_each_canceled_device_is_logged_with_the_request_that_canceled_it() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    person = replace(scene.admin(), request_id="req-2")
    lifecycle.cancel(person, deployment.pk)
    event = DeploymentEvent.objects.get(deployment=deployment, device=device)
    assert (event.actor, event.meta["request_id"], event.meta["reason"]) == (person.name, "req-2", "canceled")


def test_a_retired_device_reports_what_was_sent_for_24_hours() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device)
    changes.change(scene.admin(), device.pk, changes.DeviceChanges(status="retired"))
    Device.objects.update(retired_at=timezone.now() - timedelta(hours=24, minutes=1))
    with pytest.raises(Forbidden):
        scene.report(deployment, device, "succeeded")


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_device_that_is_enrolled_anew_during_an_attempt_counts_no_failure(acknowledged: bool) -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 0, "backoff_sec": 300}, max_failures=1)
    assert scene.beat(device)
    if acknowledged:
        scene.report(deployment, device, "downloading")
    device_re_enrolled.send(sender=Device, device_id=device.pk)
    task = scene.task(deployment, device)
    assert (task.status, task.failures, task.next_run_at) == ("queued", 0, None)
    assert DeploymentAttempt.objects.get().error_code == "re_enrolled"
    command = scene.beat(device)
    assert command is not None
    assert command["attempt"] == 2
