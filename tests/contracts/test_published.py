"""What scripts and agents build on does not change by accident."""

import json
from typing import Any

import pytest

from deployments.models import FleetSwitch
from tests.calls import Caller, as_device
from tests.contracts.published import HERE, documents
from tests.deployments import scene
from tests.factories import enrollment_token


@pytest.mark.parametrize("name", ["operators.json", "agents.json"])
def test_the_openapi_documents_are_the_published_ones(name: str) -> None:
    published = json.loads((HERE / name).read_text())
    assert documents()[name] == published, "Meant? Then: python -m tests.contracts.published"


def _flag_off() -> None:
    FleetSwitch.objects.update(deployments_enabled=False)


def _switch_on() -> None:
    FleetSwitch.objects.update(deployments_enabled=True, kill_switch=True)


def _deployment_running() -> None:
    scene.start(scene.devices(1))


SITUATIONS = {
    "the flag off": _flag_off,
    "the switch on": _switch_on,
    "a deployment running": _deployment_running,
}


@pytest.mark.django_db
@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_enrolment_and_heartbeat_answer_as_ever_with(situation: Any) -> None:
    situation()
    body = {"enrollment_token": enrollment_token()[1], "serial": "R58M12", "model": "Joy 2", "sdk_int": 33}
    enrolled = Caller()("POST", "/v1/agent/enroll", body)
    assert (enrolled.status, set(enrolled.body)) == (
        201,
        {"device_id", "device_token", "checkin_interval_sec"},
    )
    (device,) = scene.devices(1)
    beat = as_device(device)("POST", f"/v1/agent/devices/{device.pk}/heartbeat", {"battery": 50})
    assert (beat.status, set(beat.body)) == (200, {"server_time", "checkin_interval_sec", "commands"})
    assert beat.body["commands"] == []
