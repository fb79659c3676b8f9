"""A whole update over HTTP, with every answer held to the published contract."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agent_api.schemas import CheckedIn, Gone, StandingCommand, TaskState
from deployments.models import Deployment, DeploymentEvent
from deployments.operations import lifecycle
from devices.models import Device
from tests.calls import Caller, Reply, as_device
from tests.deployments import scene

MINUTE = timedelta(minutes=1)
pytestmark = pytest.mark.django_db


class Agent:
    """One device at the door."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.call: Caller = as_device(device)

    def beat(self, **said: Any) -> list[dict[str, Any]]:
        reply = self.call("POST", f"/v1/agent/devices/{self.device.pk}/heartbeat", {**scene.READY, **said})
        CheckedIn.model_validate(reply.body)
        assert reply.status == 200
        return list(reply.body["commands"])

    def ask(self, deployment: Deployment, query: str = "") -> Reply:
        return self.call("GET", f"/v1/agent/deployments/{deployment.pk}/devices/{self.device.pk}{query}")

    def report(self, deployment: Deployment, status: str, **said: Any) -> Reply:
        path = f"/v1/agent/deployments/{deployment.pk}/devices/{self.device.pk}/status"
        reply = self.call("POST", path, {"status": status, **said})
        if reply.status in (200, 409):
            TaskState.model_validate(reply.body)
        return reply


@pytest.fixture
def device() -> Device:
    return scene.devices(1)[0]


@pytest.fixture
def agent(device: Device) -> Agent:
    return Agent(device)


@pytest.fixture
def deployment(device: Device) -> Deployment:
    return scene.start([device])


def test_an_update_from_heartbeat_to_success(agent: Agent, deployment: Deployment) -> None:
    (command,) = agent.beat()
    assert command["apk"]["version_code"] == 121
    (again,) = agent.beat()
    again["apk"]["url"] = command["apk"]["url"]  # signed anew each time
    assert again == command
    standing = agent.ask(deployment, "?attempt=1")
    StandingCommand.model_validate(standing.body)
    assert (standing.status, standing.body["window_open"]) == (200, True)
    for status in ("received", "downloading", "installing"):
        assert agent.report(deployment, status, attempt=1).body["final"] is False
    assert agent.beat() == []
    done = agent.report(deployment, "succeeded", attempt=1, installed_version={"version_code": 121})
    assert done.body == {"status": "succeeded", "attempt": 1, "final": True, "cancel": False}
    repeated = agent.report(deployment, "succeeded", attempt=1)
    assert (repeated.status, repeated.body) == (200, done.body)


def test_the_command_expires_at_its_current_deadline(agent: Agent, deployment: Deployment) -> None:
    """Ten minutes to acknowledge it, then fifteen without progress."""
    (command,) = agent.beat()
    agent.report(deployment, "downloading")
    later = agent.ask(deployment).body
    assert later["issued_at"] == command["issued_at"]
    minutes = [
        (datetime.fromisoformat(found["expires_at"]) - datetime.fromisoformat(found["issued_at"])) / MINUTE
        for found in (command, later)
    ]
    assert (round(minutes[0]), round(minutes[1])) == (10, 15)


def test_what_is_over_is_410_in_plain_json(agent: Agent, deployment: Deployment) -> None:
    agent.beat()
    lifecycle.cancel(scene.admin(), deployment.pk)
    gone = agent.ask(deployment)
    assert (gone.status, gone.headers["Content-Type"]) == (410, "application/json")
    assert Gone.model_validate(gone.body).reason == "canceled"
    told = agent.report(deployment, "downloading")
    assert (told.status, told.body["cancel"]) == (409, True)


def test_a_refusal_of_what_was_said_is_409_in_plain_json_and_logged(
    agent: Agent, deployment: Deployment
) -> None:
    agent.beat()
    refused = agent.report(deployment, "succeeded", installed_version="1.0.999")
    assert (refused.status, refused.headers["Content-Type"]) == (409, "application/json")
    assert DeploymentEvent.objects.filter(message__startswith="Report refused").count() == 1


@pytest.mark.parametrize(
    "said",
    [
        {"status": "failed", "error": "not_permitted"},
        {"status": "failed:not_permitted"},
        {"status": "failed", "error_code": "not_permitted"},
    ],
    ids=str,
)
def test_every_way_of_saying_not_permitted_ends_as_a_skip(
    said: dict[str, str], agent: Agent, deployment: Deployment
) -> None:
    agent.beat()
    assert agent.report(deployment, **said).body["status"] == "skipped"
    assert scene.task(deployment, agent.device).reason == "not_permitted"


def test_another_device_neither_sees_nor_reports_the_task(agent: Agent, deployment: Deployment) -> None:
    agent.beat()
    (other,) = scene.devices(1)
    path = f"/v1/agent/deployments/{deployment.pk}/devices"
    stranger = as_device(other)
    assert stranger("GET", f"{path}/{agent.device.pk}").status == 403
    assert stranger("POST", f"{path}/{agent.device.pk}/status", {"status": "succeeded"}).status == 403
    assert stranger("GET", f"{path}/{other.pk}").status == 404
    assert scene.task(deployment, agent.device).status == "sending"


def test_a_retired_device_still_reports_what_was_sent_before(agent: Agent, deployment: Deployment) -> None:
    agent.beat()
    Device.objects.filter(pk=agent.device.pk).update(status="retired", retired_at=timezone.now())
    assert agent.report(deployment, "succeeded").status == 200


def test_an_attempt_in_flight_ends_when_the_device_is_enrolled_again(
    agent: Agent, deployment: Deployment
) -> None:
    from tests.factories import enrollment_token

    agent.beat()
    body = {
        "enrollment_token": enrollment_token()[1],
        "serial": agent.device.serial,
        "model": "TC52",
        "sdk_int": 33,
    }
    assert agent.call("POST", "/v1/agent/enroll", body).status == 201
    task = scene.task(deployment, agent.device)
    assert (task.status, task.error_code, task.failures) == ("queued", "re_enrolled", 0)
