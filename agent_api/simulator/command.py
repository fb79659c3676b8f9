"""The deploy_apk command as an agent understands it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Id = int | str


class BadCommand(ValueError):
    """The command is not one that api.md describes; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Apk:
    package: str
    version_code: int
    version_name: str
    url: str
    sha256: str
    size_bytes: int
    signer_sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Constraints:
    wifi_only: bool = False
    min_battery: int = 0
    charging_only: bool = False
    min_free_mb: int = 0


@dataclass(frozen=True, slots=True)
class Command:
    """`apk` is None only in a push that was too long and carries ids alone: the agent asks for the rest."""

    deployment_id: Id
    device_id: Id
    attempt: int
    issued_at: str
    apk: Apk | None
    constraints: Constraints
    install_mode: str
    restart_intent: bool

    @property
    def key(self) -> tuple[str, int]:
        """The same whether it came in a heartbeat or in a push, where ids are strings."""
        return str(self.deployment_id), self.attempt


def from_wire(data: Mapping[str, Any]) -> Command:
    """Raises BadCommand. Unknown fields are ignored, as an old agent would."""
    try:
        return _command(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadCommand(f"{type(error).__name__}: {error}") from error


def from_push(data: Mapping[str, str]) -> Command:
    """The same out of an FCM data message, whose values are strings and whose objects are JSON strings."""
    nested = ("apk", "constraints", "post_install", "window")
    try:
        return from_wire({k: json.loads(v) if k in nested else v for k, v in data.items()})
    except json.JSONDecodeError as error:
        raise BadCommand(f"a nested object of the push is no JSON: {error}") from error


def _command(data: Mapping[str, Any]) -> Command:
    if data["action"] != "deploy_apk":
        raise BadCommand(f"unknown action {data['action']!r}")
    return Command(
        deployment_id=data["deployment_id"],
        device_id=data["device_id"],
        attempt=int(data.get("attempt", 1)),
        issued_at=str(data.get("issued_at", "")),
        apk=_apk(data["apk"]) if data.get("apk") else None,
        constraints=_constraints(data.get("constraints") or {}),
        install_mode=str(data.get("install_mode", "update")),
        restart_intent=bool((data.get("post_install") or {}).get("restart_intent")),
    )


def _apk(data: Mapping[str, Any]) -> Apk:
    return Apk(
        package=str(data["package"]),
        version_code=int(data["version_code"]),
        version_name=str(data["version_name"]),
        url=str(data["url"]),
        sha256=str(data["sha256"]),
        size_bytes=int(data["size_bytes"]),
        signer_sha256=tuple(str(digest) for digest in data["signer_sha256"]),
    )


def _constraints(data: Mapping[str, Any]) -> Constraints:
    return Constraints(
        wifi_only=bool(data.get("wifi_only", False)),
        min_battery=int(data.get("min_battery") or 0),
        charging_only=bool(data.get("charging_only", False)),
        min_free_mb=int(data.get("min_free_mb") or 0),
    )
