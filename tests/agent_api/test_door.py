"""The agents' door: credentials, bodies, forms of answers."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from agent_api.openapi import ROUTES
from agent_api.schemas import CheckedIn, EnrolledOut, NewToken
from devices.models import Device, Heartbeat
from tests.calls import Caller, as_device
from tests.factories import DeviceFactory, device_token, enrollment_token

pytestmark = pytest.mark.django_db

ENROLL = "/v1/agent/enroll"
SERIAL = "R58M12ABCDE"
NO_IDS = [
    "0", "-1", "abc", "1.0", "%00", "9223372036854775808", "9" * 60, "8d3f1c1e-6f0a-4b58-9c3a-0f5a3c2d1b00",
]  # fmt: skip
RAW = [
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff", b"[" * 60_000, b'{"status":NaN,"battery":NaN}',
    b'{"status":"\\ud800"}',
    b'{"status":"failed","error":"\\u0000"}', b'{"status":"failed","error":"a\x00b"}', b"status=failed",
    b'{"battery":1' + b"0" * 400 + b"}", b'{"tz":"\\u0000"}', b'{"\\u0000":1}',
    b'{"enrollment_token":"\\u0000","serial":"S12345","model":"m","sdk_int":33}',
]  # fmt: skip


@pytest.fixture
def device() -> Device:
    return DeviceFactory()


@pytest.fixture
def call(device: Device) -> Caller:
    return as_device(device)


def beat_path(device: Device) -> str:
    return f"/v1/agent/devices/{device.pk}/heartbeat"


def enrolment(token: str, **more: Any) -> dict[str, Any]:
    return {"enrollment_token": token, "serial": SERIAL, "model": "Orbic Joy 2", "sdk_int": 33, **more}


# --- the round -------------------------------------------------------------------------------------------
def test_a_device_enrols_beats_and_renews_its_token() -> None:
    _, text = enrollment_token(max_uses=1)
    reply = Caller()("POST", ENROLL, enrolment(text, colour="red"))
    enrolled = EnrolledOut.model_validate(reply.body)
    assert reply.status == 201
    call = Caller(enrolled.device_token)
    path = f"/v1/agent/devices/{enrolled.device_id}"
    beat = CheckedIn.model_validate(call("POST", f"{path}/heartbeat", {"battery": 81, "mood": "fine"}).body)
    assert (beat.commands, beat.checkin_interval_sec) == ([], enrolled.checkin_interval_sec)
    assert datetime.fromisoformat(beat.server_time).tzinfo is not None
    assert Heartbeat.objects.get().battery == 81
    renewed = NewToken.model_validate(call("POST", f"{path}/token").body)
    assert call("POST", f"{path}/heartbeat", {}).status == 200
    assert Caller(renewed.device_token)("POST", f"{path}/heartbeat", {}).status == 200
    assert call("POST", f"{path}/heartbeat", {}).status == 401


def test_the_old_token_as_bearer_lets_a_device_enrol_again() -> None:
    _, text = enrollment_token()
    first = Caller()("POST", ENROLL, enrolment(text)).body
    path = f"/v1/agent/devices/{first['device_id']}/heartbeat"
    assert Caller(first["device_token"])("POST", path, {}).status == 200
    stranger = Caller()("POST", ENROLL, enrolment(text))
    assert (stranger.status, stranger.type) == (409, "serial_taken")
    again = Caller(first["device_token"])("POST", ENROLL, enrolment(text))
    assert (again.status, again.body["device_id"]) == (201, first["device_id"])
    assert Caller(first["device_token"])("POST", path, {}).status == 401


@pytest.mark.parametrize("serial", ["unknown", "0123456789ABCDEF", "00000000"])
def test_a_placeholder_serial_is_422_and_says_why(serial: str) -> None:
    reply = Caller()("POST", ENROLL, enrolment(enrollment_token()[1], serial=serial))
    assert (reply.status, "placeholder" in reply.body["errors"]["serial"]) == (422, True)


def test_a_bad_enrolment_token_is_401() -> None:
    reply = Caller()("POST", ENROLL, enrolment("nxe_wrong"))
    assert (reply.status, reply.type) == (401, "bad_enrollment_token")


# --- credentials -----------------------------------------------------------------------------------------
def paths(device: Device, deployment_id: int = 1) -> list[tuple[str, str]]:
    ids = {"device_id": device.pk, "deployment_id": deployment_id}
    return [(route.method.upper(), route.path.format(**ids)) for route in ROUTES if not route.open_to_all]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "bearer nxd_x", "Basic eDp5", "Bearer ä"]
)
def test_without_a_device_token_every_route_is_401(header: str, device: Device) -> None:
    for method, path in paths(device):
        reply = Caller()(method, path, {"status": "received"}, Authorization=header)
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer"), path


def test_another_devices_token_is_403_on_every_route(device: Device) -> None:
    call = as_device(DeviceFactory())
    for method, path in paths(device):
        assert call(method, path, {"status": "received"}).status == 403, path


def test_a_revoked_token_is_401_on_every_route(device: Device) -> None:
    call = as_device(device, revoked_at=timezone.now())
    for method, path in paths(device):
        assert call(method, path, {"status": "received"}).status == 401, path


def test_a_token_of_an_operator_or_an_enrolment_opens_nothing_for_agents(device: Device) -> None:
    from tests.factories import AdminFactory, api_token

    for text in (api_token(AdminFactory()), enrollment_token()[1]):
        for method, path in paths(device):
            assert Caller(text)(method, path, {"status": "received"}).status == 401, path


def test_a_session_opens_nothing_for_agents(device: Device) -> None:
    from tests.factories import AdminFactory

    call = Caller()
    call.client.force_login(AdminFactory())
    assert call("POST", beat_path(device), {}).status == 401


def test_a_retired_device_neither_beats_nor_renews_for_a_day_and_is_nobody_after(device: Device) -> None:
    call = as_device(device)
    Device.objects.update(status="retired", retired_at=timezone.now())
    for path in (beat_path(device), f"/v1/agent/devices/{device.pk}/token"):
        reply = call("POST", path, {})
        assert (reply.status, reply.type) == (403, "device_retired")
    Device.objects.update(retired_at=timezone.now() - timedelta(hours=25))
    for method, path in paths(device):
        assert call(method, path, {"status": "received"}).status == 401


# --- bodies and ids --------------------------------------------------------------------------------------
@pytest.mark.parametrize("raw", RAW, ids=lambda raw: repr(raw[:30]))
def test_no_body_of_any_form_brings_a_route_down(raw: bytes, device: Device, call: Caller) -> None:
    for path in (ENROLL, beat_path(device)):
        assert call("POST", path, raw).status == 422, path
    status = f"/v1/agent/deployments/1/devices/{device.pk}/status"
    assert call("POST", status, raw).status == 422
    assert Heartbeat.objects.get().battery == 90


@pytest.mark.parametrize(
    "body",
    [
        {"battery": 101},
        {"network": "5g"},
        {"packages": 1},
        {"charging": "yes"},
        {"sdk_int": 2**40},
        {"tz": 5},
    ],
    ids=str,
)
def test_a_beat_of_the_wrong_form_is_422_and_names_the_field(
    body: dict[str, Any], device: Device, call: Caller
) -> None:
    reply = call("POST", beat_path(device), body)
    assert (reply.status, list(reply.body["errors"])) == (422, list(body))


def test_the_length_of_a_body_is_bounded_before_it_is_read(device: Device, call: Caller) -> None:
    fits = b'{"agent_version":"' + b"x" * (64 * 1024 - 20) + b'"}'
    assert call("POST", beat_path(device), fits).status == 422
    for path in (ENROLL, beat_path(device), f"/v1/agent/deployments/1/devices/{device.pk}/status"):
        assert call("POST", path, fits + b" ").status == 413
    assert call("POST", beat_path(device), b"{}", Content_Length="1e9").status == 413


def test_what_can_be_nobodys_id_is_404_on_every_route(device: Device, call: Caller) -> None:
    for route in ROUTES:
        for name in ("device_id", "deployment_id"):
            if f"{{{name}}}" not in route.path:
                continue
            for bad in NO_IDS:
                path = route.path.format(**{"device_id": device.pk, "deployment_id": 1, name: bad})
                assert call(route.method.upper(), path, {"status": "received"}).status == 404, path


def test_an_unknown_deployment_is_404(device: Device, call: Caller) -> None:
    path = f"/v1/agent/deployments/9223372036854775807/devices/{device.pk}"
    assert call("GET", path).status == 404
    assert call("POST", f"{path}/status", {"status": "received"}).status == 404


@pytest.mark.parametrize("attempt", ["0", "-1", "x", "1.5", "%00", "9" * 40])
def test_an_attempt_that_is_no_number_is_422(attempt: str, device: Device, call: Caller) -> None:
    path = f"/v1/agent/deployments/1/devices/{device.pk}?attempt={attempt}"
    assert call("GET", path).status == 422


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_a_method_that_a_route_does_not_take_is_405(method: str, device: Device, call: Caller) -> None:
    taken: dict[str, set[str]] = {}
    for route in ROUTES:
        path = route.path.format(device_id=device.pk, deployment_id=1)
        taken.setdefault(path, set()).add(route.method.upper())
    for path, methods in taken.items():
        if method not in methods:
            response = call.client.generic(method, path, headers=call.headers)
            assert (response.status_code, response["Allow"]) == (405, ", ".join(methods)), path


def test_answers_are_whole_without_the_rest_of_the_middleware(device: Device, call: Caller) -> None:
    reply = call("POST", beat_path(device), {})
    assert reply.headers["Content-Type"] == "application/json"
    assert int(reply.headers["Content-Length"]) == len(reply.content)
    assert "Set-Cookie" not in reply.headers
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_the_fast_lane_and_the_ordinary_way_answer_alike(device: Device, settings: Any) -> None:
    text = device_token(device)
    found = []
    for way in (settings.MIDDLEWARE, [name for name in settings.MIDDLEWARE if "fast_lane" not in name]):
        settings.MIDDLEWARE = way
        call = Caller(text)
        replies = [call("POST", beat_path(device), {"battery": battery}) for battery in (5, 500)]
        bodies = [{**reply.body, "server_time": ""} for reply in replies]
        found.append((json.dumps(bodies), [reply.status for reply in replies]))
    assert found[0] == found[1]
    assert found[0][1] == [200, 422]


def test_agents_need_no_csrf_token(device: Device) -> None:
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {device_token(device)}"})
    assert client.post(beat_path(device), "{}", content_type="application/json").status_code == 200
    assert client.post(beat_path(device), "{}", content_type="text/plain").status_code == 200
