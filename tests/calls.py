"""Calls to /v1 as scripts and agents make them, with every refusal checked for its form."""

import json
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from devices.models import Device
from tests.factories import api_token, device_token

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    headers: Any
    content: bytes

    @property
    def type(self) -> str:
        return str(self.body["type"])


class Caller:
    """Sends JSON with one bearer token (or none) and reads JSON."""

    def __init__(self, token: str = "") -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.reply(
            self.client.generic(
                method, path, raw, content_type="application/json", headers={**self.headers, **named}
            )
        )

    def reply(self, response: Any) -> Reply:
        content = response.getvalue()
        kind = response.headers.get("Content-Type", "")
        found = Reply(
            response.status_code,
            json.loads(content) if kind.partition(";")[0] in (PROBLEM, "application/json") else None,
            response.headers,
            content,
        )
        check_form(found)
        return found


def check_form(reply: Reply) -> None:
    """Every refusal is problem+json but for the two that agents get as plain JSON."""
    assert reply.status < 500, reply.content[:500]
    plain_for_agents = reply.status in (409, 410) and reply.headers["Content-Type"] == "application/json"
    if reply.status < 400 or plain_for_agents:
        return
    assert reply.headers["Content-Type"] == PROBLEM, reply.content[:500]
    assert {"type", "title", "status", "detail"} <= set(reply.body), reply.body
    assert reply.body["status"] == reply.status
    assert all(isinstance(text, str) for text in reply.body.get("errors", {}).values())


def as_user(user: User, **token: Any) -> Caller:
    return Caller(api_token(user, **token))


def as_device(device: Device, **token: Any) -> Caller:
    return Caller(device_token(device, **token))
