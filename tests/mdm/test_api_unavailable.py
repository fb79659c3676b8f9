"""While the database is away: 503 with `Retry-After`, which agents and scripts know to wait for."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apks.artifacts import signed_url
from tests.calls import PROBLEM
from tests.factories import AdminFactory, ApkVersionFactory, DeviceFactory, api_token, device_token

pytestmark = pytest.mark.django_db(transaction=True)


def requests() -> dict[str, tuple[str, str, str]]:
    """Name to method, address and bearer token: one for each way to the database."""
    device, version, token = DeviceFactory(), ApkVersionFactory(), api_token(AdminFactory())
    mine, task = device_token(device), f"/v1/agent/deployments/1/devices/{device.pk}"
    return {
        "heartbeat": ("POST", f"/v1/agent/devices/{device.pk}/heartbeat", mine),
        "confirm": ("GET", task, mine),
        "status": ("POST", f"{task}/status", mine),
        "list": ("GET", "/v1/devices", token),
        "start": ("POST", "/v1/deployments", token),
        "metrics": ("GET", "/metrics", ""),
        "artifact": ("GET", signed_url(version.sha256, device.pk), ""),
    }


def test_who_asks_meanwhile_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = requests()
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "HOST", "/nonexistent")
        answers = {name: ask(*request) for name, request in asked.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(asked, 503)
    for answer in answers.values():
        assert (answer["Content-Type"], answer["Retry-After"]) == (PROBLEM, "5")
        assert (answer.json()["type"], answer.json()["status"]) == ("service_unavailable", 503)
        assert "/nonexistent" not in answer.content.decode()


def ask(method: str, path: str, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    client = Client(raise_request_exception=False)
    return client.generic(method, path, b"{}", content_type="application/json", headers=headers)


def test_what_is_wrong_with_us_stays_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("devices.tokens.authenticate", crash)
    assert ask("POST", "/v1/agent/devices/1/heartbeat", "x").status_code == 500
