"""What a heartbeat leaves out: most readings stand until something else is said, some belong to their moment."""

from typing import Any

import pytest

from deployments.engine import checkin
from devices.inventory import HeartbeatIn
from devices.models import Heartbeat
from tests.deployments import scene

pytestmark = pytest.mark.django_db

FIRST: dict[str, Any] = {
    **scene.READY,
    "network": "cellular",
    "metered": True,
    "in_use": True,
    "in_call": True,
}


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ({}, {"in_use": None, "in_call": None}),
        ({"battery": 5}, {"battery": 5}),
        ({"network": "cellular"}, {}),
        ({"network": "wifi"}, {"network": "wifi", "metered": None}),
        ({"network": "wifi", "metered": True}, {"network": "wifi"}),
        ({"metered": False}, {"metered": False}),
    ],
    ids=str,
)
def test_a_beat_after_a_full_one(said: dict[str, Any], changes: dict[str, Any]) -> None:
    (device,) = scene.devices(1)
    for body in (FIRST, said):
        checkin.check_in(scene.credential(device), HeartbeatIn.model_validate(body))
    now = Heartbeat.objects.filter(device=device).values(*FIRST).get()
    assert now == FIRST | {"in_use": None, "in_call": None} | changes


def test_a_device_that_leaves_a_metered_network_need_not_say_that_wifi_is_not() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert scene.beat(device, network="cellular", metered=True) is None
    assert scene.reason(deployment, device) == "no_wifi"
    answer = checkin.check_in(scene.credential(device), HeartbeatIn.model_validate({"network": "wifi"}))
    assert len(answer.commands) == 1
