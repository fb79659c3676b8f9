"""Who is called by push beside its command: an agent that replaces itself and stays silent, a device that must stop."""

import json

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from deployments import tasks, tick
from deployments.engine import reaper
from deployments.models import Deployment, DeploymentAttempt, DeploymentEvent
from deployments.operations import fleet_switch
from devices import changes
from devices.models import Device
from tests.deployments import scene
from tests.fakes import LoopbackFcm

pytestmark = pytest.mark.django_db


def replacing_itself(package: str = scene.PACKAGE, *, silent_min: float = 16) -> tuple[Deployment, Device]:
    """It began to install this long ago and has said nothing since."""
    (device,) = scene.devices(1)
    Device.objects.update(fcm_token="token")
    deployment = scene.start([device], to=scene.version(package=package))
    assert scene.beat(device)
    assert scene.report(deployment, device, "installing").http_status == 200
    scene.age(deployment, minutes=silent_min)
    return deployment, device


def second() -> list[str]:
    """What the ticker does each second, and the jobs that it asks for; their names."""
    tick.ring_due_deployments()
    jobs = [SignedPackage.loads(job.payload) for job in OrmQ.objects.all()]
    OrmQ.objects.all().delete()
    for job in jobs:
        getattr(tasks, job["func"].removeprefix("deployments.tasks."))(*job["args"])
    return [job["func"] for job in jobs]


def test_an_agent_that_stays_silent_while_it_replaces_itself_is_called_once(fcm: LoopbackFcm) -> None:
    deployment, device = replacing_itself()
    for _ in range(3):
        second()
    (request,) = fcm.received
    assert request.message["token"] == "token"
    said = request.message["data"]
    assert (said["action"], said["deployment_id"], json.loads(said["attempt"])) == (
        "deploy_apk",
        str(deployment.pk),
        1,
    )
    assert DeploymentAttempt.objects.get().nudged_at is not None
    assert DeploymentEvent.objects.filter(device=device, message__contains="called once").count() == 1
    assert scene.beat(device, packages=[{"package": scene.PACKAGE, "version_code": 121}]) is None
    assert scene.task(deployment, device).status == "succeeded"


@pytest.mark.parametrize("why", ["not long", "another package", "stopped", "no token", "check-in"])
def test_nobody_else_is_called(fcm: LoopbackFcm, settings: Settings, why: str) -> None:
    package = "com.nexmdm.unity" if why == "another package" else scene.PACKAGE
    replacing_itself(package, silent_min=14 if why == "not long" else 16)
    if why == "stopped":
        fleet_switch.change(scene.admin(), kill_switch=True, reason="drill")
    elif why == "no token":
        Device.objects.update(fcm_token="")
    elif why == "check-in":
        settings.PUSH_TRANSPORT = "checkin"
    assert "deployments.tasks.nudge" not in second()
    assert DeploymentAttempt.objects.get().nudged_at is None


def test_whoever_has_spoken_meanwhile_is_not_called(fcm: LoopbackFcm) -> None:
    deployment, device = replacing_itself()
    tick.ring_due_deployments()
    scene.report(deployment, device, "succeeded")
    second()
    assert fcm.received == []


def test_each_attempt_may_be_called_once(fcm: LoopbackFcm) -> None:
    deployment, device = replacing_itself()
    second()
    scene.age(deployment, hours=2)
    reaper.reap(timezone.now())
    scene.age(deployment, hours=1)
    assert scene.beat(device)
    scene.report(deployment, device, "installing")
    scene.age(deployment, minutes=16)
    second()
    assert [request.message["data"]["attempt"] for request in fcm.received] == ["1", "2"]


def test_a_device_that_is_retired_in_flight_is_told_to_stop(
    fcm: LoopbackFcm, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    waiting, at_work = scene.devices(2)
    Device.objects.filter(pk=at_work.pk).update(fcm_token="token")
    deployment = scene.start([waiting, at_work])
    assert scene.beat(at_work)
    OrmQ.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        for device in (waiting, at_work):
            changes.change(scene.admin(), device.pk, changes.DeviceChanges(status="retired"))
    assert second()[:1] == ["deployments.tasks.tell_to_stop"]
    (request,) = fcm.received
    said = request.message["data"]
    assert (said["action"], said["device_id"]) == ("stop_deploy", str(at_work.pk))
    assert said["deployment_id"] == str(deployment.pk)
