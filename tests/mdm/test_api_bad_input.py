"""Bad input to every operators' route: problem+json, never a 5xx, nothing half-done."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from deployments.models import Deployment
from devices.models import EnrollmentToken
from mdm.api import api
from mdm.watch.models import Alert
from tests.calls import PROBLEM, Caller, as_user
from tests.factories import AdminFactory, ApkVersionFactory, DeploymentFactory, DeviceFactory, api_token

pytestmark = pytest.mark.django_db

NO_IDS = [
    "0", "-1", "1.0", "1e3", "abc", "+1", "0x1", "%20", "1%00", "%00", "9223372036854775808", "9" * 60,
    "8d3f1c1e-6f0a-4b58-9c3a-0f5a3c2d1b00", "9223372036854775807", "١",
]  # fmt: skip
JUNK: list[Any] = [
    None, True, 0, -1, 1.5, 2**63, 2**200, 1e308, "", " ", "\0", "a\0b", "x" * 5000, "\u202e", [], [None], [[]], {},
    {"a": {"b": []}}, ["\0"], {"\0": 1},
]  # fmt: skip
RAW = [
    b"{", b"[]", b"null", b"true", b"1", b'"text"', b"\xff\xfe", b"{]", b'{"a":NaN}', b'{"reason":"\\ud800"}',
    b'{"reason":"\\u0000"}', b'{"reason":Infinity}', b"[" * 100_000, b'{"a":' * 5_000, b'{"reason": "a\x00b"}',
    b"reason=x", b"\x00", b'{"a":1' + b"0" * 5000 + b"}",
]  # fmt: skip


@pytest.fixture
def call() -> Caller:
    return as_user(AdminFactory())


@pytest.fixture
def ids() -> dict[str, int]:
    version = ApkVersionFactory()
    return {
        "apk_id": version.apk_id,
        "version_id": version.pk,
        "deployment_id": DeploymentFactory(to_version=version).pk,
        "device_id": DeviceFactory().pk,
        "dry_run_id": 1,
        "alert_id": Alert.objects.create(kind="worker_silent", subject="worker-1", message="Silent.").pk,
        "package_name": "com.nexmdm",
    }


def routes() -> list[tuple[str, str]]:
    schema = api.get_openapi_schema(path_prefix="/v1/")
    return [(method.upper(), path) for path, found in schema["paths"].items() for method in found]


def bodies(method: str, path: str, ids: dict[str, int]) -> list[tuple[str, Any]]:
    """A valid body's field names for each route that takes one."""
    fields = {
        "start": {"apk_version_id": ids["version_id"], "target": {"type": "fleet"}, "options": {}, "dry_run_id": None},
        "move": {"reason": "x", "expected_status": None},
        "pace": {"rate": 5, "concurrency": 5},
        "switch": {
            "kill_switch": True, "deployments_enabled": True, "reason": "x", "expected_changed_at": None
        },
        "device": {
            "alias": "a", "external_id": "", "tags": [], "groups": [], "status": "active",
            "hold_until": None, "hold_reason": "",
        },
        "token": {"expires_at": None, "max_uses": 1, "tags": [], "groups": [], "device_id": None},
        "package": {"display_name": "x"},
        "withdraw": {"reason": "x"},
        "retry": {"expected_status": None},
        "rollback": {
            "accept_data_loss": True, "confirm_version": "1", "reason": "x", "expected_status": None,
        },
    }  # fmt: skip
    kinds = {
        ("POST", "/v1/deployments"): "start",
        ("POST", "/v1/deployments/dry-run"): "start",
        ("PATCH", "/v1/deployments/{deployment_id}"): "pace",
        ("PUT", "/v1/fleet-switch"): "switch",
        ("PATCH", "/v1/devices/{device_id}"): "device",
        ("POST", "/v1/enrollment-tokens"): "token",
        ("PUT", "/v1/apks/managed/{package_name}"): "package",
        ("POST", "/v1/apks/versions/{version_id}/withdraw"): "withdraw",
        ("POST", "/v1/deployments/{deployment_id}/rollback"): "rollback",
        ("POST", "/v1/deployments/{deployment_id}/retry"): "retry",
    }
    kind = kinds.get(
        (method, path),
        "move" if method == "POST" and path.endswith(("pause", "resume", "approve", "cancel")) else "",
    )
    return list(fields[kind].items()) if kind else []


def test_every_route_answers_404_for_what_can_be_nobodys_id(call: Caller, ids: dict[str, int]) -> None:
    asked = 0
    for method, path in routes():
        for name in [name for name in ids if name.endswith("_id") and f"{{{name}}}" in path]:
            for bad in NO_IDS:
                filled = path.replace(f"{{{name}}}", bad).format(**ids)
                reply = call(method, filled, dict(bodies(method, path, ids)) or None)
                assert reply.status == 404, (method, filled, reply.body)
                asked += 1
    assert asked > 150


def test_every_field_of_every_body_is_tried(ids: dict[str, int]) -> None:
    """A body that this file does not know would be tried by nobody."""
    schema = api.get_openapi_schema(path_prefix="/v1/")
    for method, path in routes():
        content = schema["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
        told = content.get("application/json", {}).get("schema", {})
        names = [part["$ref"].rpartition("/")[2] for part in [told, *told.get("anyOf", [])] if "$ref" in part]
        fields = {name for of in names for name in schema["components"]["schemas"][of].get("properties", {})}
        assert fields == set(dict(bodies(method, path, ids))), (method, path)


def test_no_body_of_any_form_brings_a_route_down(call: Caller, ids: dict[str, int]) -> None:
    for method, path in routes():
        if method in ("GET", "DELETE"):
            continue
        for raw in RAW:
            reply = call(method, path.format(**ids), raw)
            refused_as_no_json = reply.status in (404, 409, 422)
            assert refused_as_no_json or raw in (b"null", b"\x00"), (method, path, raw[:40], reply.status)


def test_no_value_in_any_field_brings_a_route_down(call: Caller, ids: dict[str, int]) -> None:
    sent = 0
    for method, path in routes():
        valid = dict(bodies(method, path, ids))
        for name in valid:
            for junk in JUNK:
                call(method, path.format(**ids), {**valid, name: junk})
                sent += 1
    assert sent > 400


def test_every_route_refuses_unknown_fields(call: Caller, ids: dict[str, int]) -> None:
    for method, path in routes():
        valid = dict(bodies(method, path, ids))
        if not valid:
            continue
        reply = call(method, path.format(**ids), {**valid, "surprise": 1})
        assert reply.status == 422, (method, path, reply.status)
        assert reply.body["errors"]["surprise"] == "There is no such field."
    assert Deployment.objects.count() == 1
    assert not EnrollmentToken.objects.exists()


def parameters() -> list[tuple[str, str]]:
    schema = api.get_openapi_schema(path_prefix="/v1/")
    return [
        (path, parameter["name"])
        for path, found in schema["paths"].items()
        for parameter in found.get("get", {}).get("parameters", [])
        if parameter["in"] == "query"
    ]


@pytest.mark.parametrize(
    "value", ["", "0", "abc", "%00", "a%00b", "9" * 30, "%", "%5C", "x" * 3000, "%F0%28", "a,b,,"]
)
def test_no_value_of_any_parameter_brings_a_list_down(value: str, call: Caller, ids: dict[str, int]) -> None:
    assert len(parameters()) > 20
    for path, name in parameters():
        call("GET", f"{path.format(**ids)}?{name}={value}&{name}={value}")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page_size=0", "page_size"),
        ("page_size=501", "page_size"),
        ("page=x", "page"),
        ("status=asleep", "status"),
        ("after=abc", "after"),
    ],
)
def test_a_wrong_parameter_is_named(query: str, field: str, call: Caller) -> None:
    reply = call("GET", f"/v1/devices?{query}")
    assert (reply.status, list(reply.body["errors"])) == (422, [field])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_an_address_does_not_take_is_405_with_those_that_it_does(
    method: str, call: Caller, ids: dict[str, int]
) -> None:
    taken: dict[str, set[str]] = {}
    for known, path in routes():
        taken.setdefault(path, set()).add(known)
    for path, methods in taken.items():
        if method not in methods:
            reply = call(method, path.format(**ids))
            assert reply.status == 405, (method, path)
            assert set(reply.headers["Allow"].split(", ")) == methods


@pytest.mark.parametrize(
    "path", ["/v1/", "/v1/nothing", "/v1/agent/nothing", "/v1/deployments/", "/v1/%00", "/v1/a/b/c"]
)
def test_an_unknown_address_is_404_as_problem_json(path: str, call: Caller) -> None:
    assert call("GET", path).status == 404


def test_a_reshaped_refusal_says_its_own_length() -> None:
    """Else the connection breaks: the length was set for the page that it was before."""
    answer = Client().get("/v1/nothing")
    assert int(answer["Content-Length"]) == len(answer.content)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/agent/nothing", "/v1/deployments/"])
def test_a_reshaped_refusal_is_no_longer_compressed(path: str) -> None:
    """The page that it was before came out of gzip; who believes that of the problem cannot read it."""
    answer = Client().get(path, headers={"accept-encoding": "gzip"})
    assert (answer.status_code, answer.json()["type"]) == (404, "not_found")
    assert "Content-Encoding" not in answer.headers


def test_outside_v1_errors_stay_pages() -> None:
    assert "html" in Client().get("/nothing")["Content-Type"]


def test_a_crash_is_a_500_that_tells_nothing(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("deployments.operations.fleet_switch.read", crash)
    response = call.client.get("/v1/fleet-switch", headers=call.headers)
    assert (response.status_code, response["Content-Type"]) == (500, PROBLEM)
    assert "secret" not in response.content.decode()


def test_an_oversized_body_is_413(call: Caller) -> None:
    assert call("POST", "/v1/deployments", b" " * (2 * 1024 * 1024 + 1)).status == 413


@pytest.mark.parametrize(
    ("path", "size", "closes"),
    [
        ("/v1/agent/enroll", 70_000, True),
        ("/v1/deployments", 70_000, True),
        ("/v1/agent/enroll", 200, False),
        ("/v1/deployments", 200, False),
    ],
)
def test_a_refusal_that_may_have_left_the_body_unread_ends_the_connection(
    path: str, size: int, closes: bool
) -> None:
    """Else the client's next request on it is lost."""
    refused = Caller()("POST", path, b"x" * size)
    assert refused.status >= 400
    assert (refused.headers.get("Connection") == "close") is closes


@pytest.mark.parametrize("path", ["/v1/deployments", "/v1/apks/versions", "/v1/agent/enroll"])
def test_a_body_in_chunks_is_411_and_not_read_as_an_empty_one(path: str, call: Caller) -> None:
    assert call("POST", path, b"{}", Transfer_Encoding="chunked").status == 411


def test_an_idempotency_key_that_is_too_long_is_422(call: Caller, ids: dict[str, int]) -> None:
    body = {"apk_version_id": ids["version_id"], "target": {"type": "fleet"}}
    assert call("POST", "/v1/deployments", body, Idempotency_Key="k" * 256).status == 422


@pytest.mark.parametrize("given", ["abc", "8d3f1c1e-6f0a-4b58-9c3a-0f5a3c2d1b00", 2**70, 0, -5, "999999999"])
@pytest.mark.parametrize("field", ["apk_version_id", "dry_run_id"])
def test_an_unknown_version_or_dry_run_in_a_body_is_404(
    given: Any, field: str, call: Caller, ids: dict[str, int]
) -> None:
    call("PUT", "/v1/fleet-switch", {"deployments_enabled": True, "reason": "test"})
    body = {"apk_version_id": ids["version_id"], "target": {"type": "fleet"}, field: given}
    assert call("POST", "/v1/deployments", body).status == 404


@pytest.mark.parametrize("given", [None, True, 1.5, [], {}])
def test_a_version_that_is_no_id_at_all_is_422(given: Any, call: Caller) -> None:
    assert (
        call("POST", "/v1/deployments", {"apk_version_id": given, "target": {"type": "fleet"}}).status == 422
    )


# --- forms -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"file=abc"),
        ("text/plain", b"PK\x03\x04"),
        ("", b""),
    ],
    ids=range(8),
)
def test_an_upload_that_is_no_form_with_a_file_is_refused(content_type: str, raw: bytes) -> None:
    call = Caller(api_token(AdminFactory()))
    response = call.client.generic(
        "POST", "/v1/apks/versions", raw, content_type=content_type, headers=call.headers
    )
    assert call.reply(response).status in (400, 422)


@pytest.mark.parametrize(
    "more",
    [
        {"rebuild_of": "abc"},
        {"rebuild_of": "9" * 40},
        {"notes": "a\0b"},
        {"notes": "x" * 20_000},
        {"surprise": "1"},
        {"rebuild_of": "1\0"},
    ],
    ids=lambda more: (
        next(iter(more.items()))[0] + "-" + str(next(iter(more.values())))[:5].replace("\0", "NUL")
    ),
)
def test_a_form_with_wrong_fields_is_422(more: dict[str, str]) -> None:
    call = Caller(api_token(AdminFactory()))
    form = {"file": SimpleUploadedFile("a.apk", b"no apk"), **more}
    assert call.reply(call.client.post("/v1/apks/versions", form, headers=call.headers)).status == 422


def test_many_files_and_fields_are_refused() -> None:
    call = Caller(api_token(AdminFactory()))
    many = {"file": SimpleUploadedFile("a.apk", b"x")} | {f"f{number}": "1" for number in range(1100)}
    assert call.reply(call.client.post("/v1/apks/versions", many, headers=call.headers)).status in (400, 422)
    files = {f"f{number}": SimpleUploadedFile("a", b"x") for number in range(10)}
    assert call.reply(call.client.post("/v1/apks/versions", files, headers=call.headers)).status in (400, 422)


def test_json_keys_that_repeat_or_nest_are_read_like_any_other(call: Caller, ids: dict[str, int]) -> None:
    raw = json.dumps({"alias": "a"}).replace("{", '{"alias": "b", ').encode()
    assert call("PATCH", f"/v1/devices/{ids['device_id']}", raw).body["alias"] == "a"
