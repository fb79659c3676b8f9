"""The bodies of the deployment routes as they travel, with examples for OpenAPI."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from deployments.rules.options import DeploymentOptions
from devices.selection import Target
from mdm.wire_schemas import Item
from mdm.wire_types import AnyId, Flag, Int32, Moment, Strict, examples

Status = Literal["queued", "running", "paused", "canceled", "complete", "failed"]
Reason = Annotated[str, Field(max_length=1000)]
Pace = Annotated[Int32, Field(ge=1, le=100_000)]

_VERSION: Final = {"id": 7, "version_name": "1.0.121-d263d20", "version_code": 121}
_BEFORE: Final = {"id": 6, "version_name": "1.0.120", "version_code": 120}
_REBUILD: Final = {"id": 8, "version_name": "1.0.122", "version_code": 122}
_COUNTS: Final = {
    "queued": 70,
    "waiting_window": 0,
    "throttled": 10,
    "sending": 1,
    "installing": 2,
    "succeeded": 14,
    "failed": 1,
    "skipped": 2,
    "total": 100,
}
_AT: Final = "2030-01-31T18:00:00+00:00"
_HEADER: Final[dict[str, Any]] = {
    "id": 42,
    "apk": {"id": 1, "package_name": "com.nexmdm", "display_name": "NexMDM"},
    "from_version": _BEFORE,
    "to_version": _VERSION,
    "status": "running",
    "paused_reason": None,
    "rollback_of": None,
    "created_by": "alice",
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": None,
    "approved_by": None,
    "approved_at": None,
    "needs_approval": False,
    "killed_by": None,
    "killed_reason": None,
    "feature_flag_snapshot": {"deployments.enabled": True},
    "options": DeploymentOptions().to_json(),
    "target": {"scope": "fleet", "selection_query": {"type": "fleet"}, "resolved_count": 100},
    "retry_of": None,
    "install_mode": "update",
    "rollback": {"offered": True, "kind": "rebuild", "to_version": _REBUILD, "why_not": None},
    "counts": _COUNTS,
}


class StartIn(Strict):
    """What to install where, and how. Every option may be left out."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"apk_version_id": 7, "target": {"type": "fleet"}},
            {
                "apk_version_id": 7,
                "target": {"type": "selection", "filters": {"groups": ["shop-1"], "tags": ["kiosk"]}},
                "options": {
                    "canary": 5,
                    "rate": 10,
                    "concurrency": 3,
                    "window": {"days": ["mon"], "start": "22:00", "end": "05:00", "tz": "Europe/Berlin"},
                },
                "dry_run_id": None,
            },
        )
    )

    apk_version_id: AnyId
    target: Target
    options: DeploymentOptions | None = None
    dry_run_id: AnyId | None = Field(default=None, description="Starts exactly the devices of that dry run.")


class MoveIn(Strict):
    """Why, and in which state one believes the deployment to be (409 where that is stale)."""

    model_config = ConfigDict(
        json_schema_extra=examples({"reason": "Shop opens", "expected_status": "running"})
    )

    reason: Reason | None = None
    expected_status: Status | None = None

    def words(self) -> dict[str, Any]:
        return {"reason": (self.reason or "").strip(), "expected_status": self.expected_status}


class PaceIn(Strict):
    model_config = ConfigDict(json_schema_extra=examples({"rate": 30, "concurrency": 5}))

    rate: Pace | None = None
    concurrency: Pace | None = None


class SwitchIn(Strict):
    model_config = ConfigDict(json_schema_extra=examples({"kill_switch": True, "reason": "Tills freeze"}))

    kill_switch: Flag | None = None
    deployments_enabled: Flag | None = None
    reason: Reason | None = None
    expected_changed_at: Moment | None = None


class DeploymentFilter(BaseModel):
    status: Literal[Status, ""] = ""
    package: Annotated[str, Field(max_length=300)] = ""


class TaskFilter(BaseModel):
    """The filters of the device table, for list and export alike."""

    status: Annotated[str, Field(max_length=200)] = Field(
        default="", description="One or several, separated by commas."
    )
    reason: Annotated[str, Field(max_length=100)] = Field(
        default="",
        description="A code; after `waiting:` or `ended:` only of devices that wait, or have ended.",
    )
    query: Annotated[str, Field(max_length=200)] = Field(
        default="", description="Part of alias, serial or model, in any case."
    )


class EventFilter(BaseModel):
    device_id: Annotated[str, Field(max_length=100)] = ""
    level: Literal["", "info", "warn", "error"] = ""


class StartedOut(Item):
    model_config = ConfigDict(json_schema_extra=examples({"deployment_id": 42}))

    deployment_id: int


class VersionBrief(Item):
    id: int
    version_name: str
    version_code: int


class PackageBrief(Item):
    id: int
    package_name: str
    display_name: str


class TargetOut(Item):
    scope: Literal["fleet", "selection"]
    selection_query: dict[str, Any]
    resolved_count: int


class Counts(Item):
    queued: int
    waiting_window: int
    throttled: int
    sending: int
    installing: int
    succeeded: int
    failed: int
    skipped: int
    total: int


class ReasonCount(Item):
    reason: str
    count: int


class CanaryOut(Item):
    size: int
    succeeded: int
    failed: int
    state: Literal["none", "collecting", "passed", "failed", "undecided", "overridden"]


class FailureOut(Item):
    failed: int
    finished: int
    limit_pct: int


class RollbackOut(Item):
    """`kind`: which way back there is, offered or not. In lists it is looked for only once a gate has tripped."""

    offered: bool
    kind: Literal["rebuild", "reinstall"] | None
    to_version: VersionBrief | None
    why_not: str | None


class ListedDeploymentOut(Item):
    model_config = ConfigDict(json_schema_extra=examples(_HEADER))

    id: int
    apk: PackageBrief
    from_version: VersionBrief | None
    to_version: VersionBrief
    status: Status
    paused_reason: str | None
    rollback_of: int | None
    created_by: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    approved_by: str | None
    approved_at: str | None
    needs_approval: bool
    killed_by: str | None
    killed_reason: str | None
    feature_flag_snapshot: dict[str, Any]
    options: DeploymentOptions
    target: TargetOut
    retry_of: int | None
    install_mode: Literal["update", "reinstall"]
    rollback: RollbackOut
    counts: Counts


class DeploymentOut(ListedDeploymentOut):
    model_config = ConfigDict(
        json_schema_extra=examples(
            _HEADER
            | {
                "rolled_back_by": None,
                "retried_by": None,
                "reasons": [{"reason": "rate_limit", "count": 10}, {"reason": "offline", "count": 2}],
                "canary": {"size": 5, "succeeded": 5, "failed": 0, "state": "passed"},
                "failure": {"failed": 1, "finished": 15, "limit_pct": 20},
                "as_of": _AT,
            }
        )
    )

    rolled_back_by: int | None
    retried_by: int | None
    reasons: list[ReasonCount]
    canary: CanaryOut
    failure: FailureOut
    as_of: str


class TaskOut(Item):
    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "id": 1001,
                "device_id": 17,
                "device_alias": "Till 3",
                "status": "skipped",
                "phase": None,
                "reason": "battery_low",
                "attempt": 0,
                "is_canary": False,
                "last_error": None,
                "error_code": None,
                "from_version_code": 120,
                "installed_version_code": None,
                "next_run_at": _AT,
                "sent_at": None,
                "finished_at": None,
                "updated_at": _AT,
            }
        )
    )

    id: int
    device_id: int
    device_alias: str
    status: str
    phase: str | None
    reason: str | None
    attempt: int
    is_canary: bool
    last_error: str | None
    error_code: str | None
    from_version_code: int | None
    installed_version_code: int | None
    next_run_at: str | None
    sent_at: str | None
    finished_at: str | None
    updated_at: str


class EventOut(Item):
    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "id": 5,
                "device_id": None,
                "level": "info",
                "message": "Paused by a person",
                "actor": "user:alice",
                "meta": {"before": "running", "after": "paused", "reason": "Shop opens"},
                "created_at": _AT,
            }
        )
    )

    id: int
    device_id: int | None
    level: Literal["info", "warn", "error"]
    message: str
    actor: str
    meta: dict[str, Any]
    created_at: str


class DryRunDeviceOut(Item):
    device_id: int
    alias: str
    class_: Annotated[Literal["will_update", "excluded", "later"], Field(alias="class")]
    reason: str | None
    observed: str | None
    required: str | None


class ForecastOut(Item):
    model_config = ConfigDict(extra="allow")

    finish_iso: str | None
    limited_by: str | None
    group: str | None


class DryRunOut(Item):
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=examples(
            {
                "dry_run_id": 9,
                "resolved": 100,
                "will_update": 90,
                "excluded": [{"reason": "already_installed", "count": 8}],
                "later": [{"reason": "battery_low", "count": 2}],
                "forecast": {"finish_iso": _AT, "limited_by": "concurrency_limit", "group": None},
                "needs_approval": False,
                "rollback": {"offered": True, "kind": "reinstall", "to_version": _BEFORE, "why_not": None},
                "devices": [
                    {
                        "device_id": 17,
                        "alias": "Till 3",
                        "class": "later",
                        "reason": "battery_low",
                        "observed": "12 %",
                        "required": "40 %",
                    }
                ],
            }
        ),
    )

    dry_run_id: int
    resolved: int
    will_update: int
    excluded: list[ReasonCount]
    later: list[ReasonCount]
    needs_approval: bool
    forecast: ForecastOut
    rollback: RollbackOut
    devices: list[DryRunDeviceOut]


class SwitchOut(Item):
    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "kill_switch": False,
                "deployments_enabled": True,
                "reason": "Pilot begins",
                "changed_by": "alice",
                "changed_at": _AT,
            }
        )
    )

    kill_switch: bool
    deployments_enabled: bool
    reason: str
    changed_by: str | None
    changed_at: str
