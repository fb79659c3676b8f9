"""Existing flows stay as they are: enrolment and heartbeat answer alike whatever deployments do."""

from typing import Any

import pytest

from deployments.operations import fleet_switch
from devices import enrollment_tokens
from devices.models import Device
from mdm.people import SYSTEM
from tests.calls import Caller, as_device
from tests.deployments import scene

pytestmark = pytest.mark.django_db


def _flag_off() -> None:
    fleet_switch.change(SYSTEM, deployments_enabled=True, reason="first on")
    fleet_switch.change(SYSTEM, deployments_enabled=False, reason="then off")


def _switch_on() -> None:
    fleet_switch.change(SYSTEM, kill_switch=True, reason="drill")


def _running_deployment() -> None:
    scene.start(scene.devices(2))


SITUATIONS = [
    pytest.param(_flag_off, id="the flag is off"),
    pytest.param(_switch_on, id="the kill switch is on"),
    pytest.param(_running_deployment, id="a deployment runs on other devices"),
]


def _enroll(serial: str) -> tuple[int, set[str]]:
    token = enrollment_tokens.for_demo(groups=[], tags=[])
    body = {"enrollment_token": token, "serial": serial, "model": "TC52", "sdk_int": 33}
    reply = Caller()("POST", "/v1/agent/enroll", body)
    return reply.status, set(reply.body)


def _beat(device: Device) -> tuple[int, set[str], list[Any]]:
    reply = as_device(device)("POST", f"/v1/agent/devices/{device.pk}/heartbeat", scene.READY)
    return reply.status, set(reply.body), reply.body["commands"]


@pytest.mark.parametrize("happens", SITUATIONS)
def test_enrolment_answers_alike_when(happens: Any) -> None:
    before = _enroll("R58N000001")
    happens()
    assert _enroll("R58N000002") == before == (201, {"device_id", "device_token", "checkin_interval_sec"})


@pytest.mark.parametrize("happens", SITUATIONS)
def test_the_heartbeat_of_a_device_that_is_not_meant_answers_alike_when(happens: Any) -> None:
    (bystander,) = scene.devices(1)
    before = _beat(bystander)
    happens()
    expected = (200, {"server_time", "checkin_interval_sec", "commands"}, [])
    assert _beat(bystander) == before == expected


def test_the_command_carries_every_field_of_the_milestones_payload() -> None:
    (device,) = scene.devices(1)
    restart = {"action": "com.nexmdm.RESTART", "extras": {}}
    scene.start([device], min_battery=30, post_install={"restart_intent": restart})
    (command,) = _beat(device)[2]
    assert command["action"] == "deploy_apk"
    assert {"package", "version_code", "version_name", "url", "sha256"} <= set(command["apk"])
    assert command["apk"]["package"] == "com.nexmdm"
    conditions = {"wifi_only": True, "min_battery": 30, "charging_only": False}
    assert conditions.items() <= command["constraints"].items()
    assert command["post_install"] == {"restart_intent": restart}
