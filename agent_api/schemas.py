"""Answers to agents, for OpenAPI and for the tests that hold the routes to it."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from mdm.wire_schemas import Item
from mdm.wire_types import examples

_COMMAND: dict[str, Any] = {
    "action": "deploy_apk",
    "schema": 1,
    "deployment_id": 42,
    "device_id": 17,
    "attempt": 1,
    "issued_at": "2030-01-31T18:00:00+00:00",
    "expires_at": "2030-01-31T18:10:00+00:00",
    "apk": {
        "package": "com.nexmdm",
        "version_code": 121,
        "version_name": "1.0.121-d263d20",
        "url": "https://mdm.example.com/v1/artifacts/31ab….apk?device=17&…",
        "sha256": "31ab…",
        "size_bytes": 4193280,
        "signer_sha256": ["9f2c…"],
    },
    "constraints": {"wifi_only": True, "min_battery": 40, "charging_only": False, "min_free_mb": 138},
    "window": None,
    "install_mode": "update",
    "post_install": {"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {}}},
}


class CommandApk(Item):
    package: str
    version_code: int
    version_name: str
    url: str
    sha256: str
    size_bytes: int
    signer_sha256: list[str]


class Constraints(Item):
    wifi_only: bool
    min_battery: int
    charging_only: bool
    min_free_mb: int


class Command(Item):
    """Install this. `schema` rises when an old agent could misread it."""

    model_config = ConfigDict(json_schema_extra=examples(_COMMAND), validate_by_name=True)

    action: Literal["deploy_apk"]
    schema_: int = Field(alias="schema")
    deployment_id: int
    device_id: int
    attempt: int
    issued_at: str
    expires_at: str
    apk: CommandApk
    constraints: Constraints
    window: dict[str, Any] | None
    install_mode: Literal["update", "reinstall"]
    post_install: dict[str, Any]


class StandingCommand(Command):
    """The command still stands. Where the server is reached its clock decides, not the device's."""

    model_config = ConfigDict(
        json_schema_extra=examples(_COMMAND | {"server_time": _COMMAND["issued_at"], "window_open": True})
    )

    server_time: str
    window_open: bool


class Gone(Item):
    """The command is void: stop, and report `skipped` with this reason."""

    model_config = ConfigDict(json_schema_extra=examples({"status": "skipped", "reason": "canceled"}))

    status: str
    reason: str


class EnrolledOut(Item):
    """`device_token` is shown only now."""

    model_config = ConfigDict(
        json_schema_extra=examples({"device_id": 17, "device_token": "nxd_…", "checkin_interval_sec": 60})
    )

    device_id: int
    device_token: str
    checkin_interval_sec: int


class NewToken(Item):
    """The old token stays valid until this one is used."""

    model_config = ConfigDict(json_schema_extra=examples({"device_id": 17, "device_token": "nxd_…"}))

    device_id: int
    device_token: str


class CheckedIn(Item):
    """At most one command: the one in flight and not yet acknowledged, or the one claimed by this heartbeat."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"server_time": "2030-01-31T18:00:00+00:00", "checkin_interval_sec": 60, "commands": [_COMMAND]}
        )
    )

    server_time: str
    checkin_interval_sec: int
    commands: list[Command]


class TaskState(Item):
    """The task as it stands now: `final` = drop it, `cancel` = stop."""

    model_config = ConfigDict(
        json_schema_extra=examples({"status": "installing", "attempt": 1, "final": False, "cancel": False})
    )

    status: str
    attempt: int
    final: bool
    cancel: bool
