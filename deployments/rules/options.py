"""The options of a deployment, once, for API, form and JSON column: names, defaults, bounds, words.

Every option, and every part of `retry` and `post_install`, may be absent or null and is then the default.
Types are strict: no "5" or 5.0 for an integer, no "yes" or 1 for a boolean, no NaN, no infinity.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import PlainSerializer, ValidationError

from deployments.rules import window as windows
from deployments.rules.option_parts import GroupPattern, Part, PostInstall, Retry, WindowOption, option

MAX_MINUTES: Final = 43_200  # 30 days
MAX_HOURS: Final = 8_760  # a year


# 60 stays 60 on the wire, 0.05 stays 0.05.
_Decimal = Annotated[float, PlainSerializer(lambda value: int(value) if value == int(value) else value)]


class DeploymentOptions(Part):
    """How a deployment goes about its devices. Shares and counts are integers, minutes and hours decimals."""

    canary: int = option(
        "rollout",
        "Canary",
        5,
        "Devices that must do well before the others follow; 0 = no canary, not for the entire fleet.",
        "devices",
        ge=0,
        le=10_000,
    )
    rate: int = option(
        "rollout",
        "Rate",
        10,
        "Never more sends than this within any 60 seconds.",
        "per min",
        ge=1,
        le=100_000,
    )
    concurrency: int = option(
        "rollout", "Concurrency", 3, "Never more devices at work than this.", "devices", ge=1, le=100_000
    )
    wifi_only: bool = option("conditions", "Wi-Fi only", True, "Only over unmetered Wi-Fi or Ethernet.")
    min_battery: int = option(
        "conditions", "Battery at least", 40, "Lowest battery charge to start with.", "%", ge=0, le=100
    )
    charging_only: bool = option("conditions", "Charging only", False, "Only while the device is charging.")
    min_free_mb: int | None = option(
        "conditions",
        "Free storage at least",
        None,
        "Lowest free storage to start with; empty = 2.5 times the size of the APK and 128 MB.",
        "MB",
        ge=0,
        le=10_000_000,
    )
    window: WindowOption | None = option(
        "conditions", "Maintenance window", None, "When devices may be sent the update; empty = at any time."
    )
    retry: Retry = option("rollout", "Retry", Retry(), "How a failed attempt is tried again.")
    post_install: PostInstall = option(
        "after", "After the update", PostInstall(), "What is done after a success."
    )
    allow_rollback: bool = option(
        "after",
        "Allow rollback",
        True,
        "Offer to go back when the canary or the failure limit stops the rollout.",
    )
    canary_success_pct: int = option(
        "rollout", "Canary success", 90, "Share of the canary that must succeed.", "%", ge=1, le=100
    )
    canary_timeout_min: _Decimal = option(
        "rollout",
        "Canary time limit",
        60,
        "Time after which the canary is judged by those that answered.",
        "min",
        gt=0,
        le=MAX_MINUTES,
    )
    canary_soak_min: _Decimal = option(
        "rollout",
        "Canary soak",
        0,
        "Time to watch a canary that did well before the others follow.",
        "min",
        ge=0,
        le=MAX_MINUTES,
    )
    failure_pct: int = option(
        "rollout",
        "Failure limit",
        20,
        "Pause when more than this share of the finished devices failed.",
        "%",
        ge=0,
        le=100,
    )
    failure_min_sample: int = option(
        "rollout",
        "Failure limit from",
        5,
        "Finished devices needed before the failure limit is judged.",
        "devices",
        ge=1,
        le=1_000_000,
    )
    max_failures: int | None = option(
        "rollout",
        "Failures at most",
        None,
        "Pause when this many devices failed; empty = no such limit.",
        "devices",
        ge=1,
        le=1_000_000,
    )
    deadline_hours: _Decimal = option(
        "rollout",
        "Check again for",
        24,
        "How long a device that missed a condition is checked again; 0 = never.",
        "h",
        ge=0,
        le=MAX_HOURS,
    )
    ack_timeout_min: _Decimal = option(
        "time limits",
        "To acknowledge",
        10,
        "Time a device has to take the command.",
        "min",
        gt=0,
        le=MAX_MINUTES,
    )
    step_timeout_min: _Decimal = option(
        "time limits",
        "Without progress",
        15,
        "Time a device may go on without progress.",
        "min",
        gt=0,
        le=MAX_MINUTES,
    )
    install_timeout_min: _Decimal = option(
        "time limits", "To install", 120, "Time an attempt may take in all.", "min", gt=0, le=MAX_MINUTES
    )
    require_doze_exempt: bool = option(
        "conditions", "Exempt from battery saving", False, "Only where Android exempts the agent from doze."
    )
    max_per_group: int | None = option(
        "rollout",
        "At once per group",
        None,
        "Never more devices of one group at work than this, whatever deployment they are at work for; empty = no such"
        " limit.",
        "devices",
        ge=1,
        le=100_000,
    )
    spread_groups: GroupPattern | None = option(
        "rollout",
        "Groups meant",
        None,
        "Which groups the limit per group is about: * stands for any text, ? for one character, as in shop-*;"
        " empty = every group.",
        max_length=200,
    )
    health_within_min: _Decimal | None = option(
        "after",
        "Seen to run within",
        None,
        "Count a success only once a later heartbeat shows the version, and the restart went well where one is asked"
        " for; past this time the device has failed. Empty = count what agents report.",
        "min",
        gt=0,
        le=MAX_MINUTES,
    )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Self:
        """Read the JSON column, or anything from outside. ValidationError."""
        return cls.model_validate({} if stored is None else dict(stored))

    def to_json(self) -> dict[str, Any]:
        """For the JSON column and the wire: every option, in the order of the wire contract."""
        return self.model_dump(mode="json")

    def maintenance_window(self) -> windows.Window | None:
        return windows.parse(self.window.model_dump()) if self.window else None


def milliseconds(minutes: float) -> int:
    """Minutes as the whole milliseconds gates reckon in; what is more than nothing stays at least 1 ms."""
    return math.ceil(round(minutes * 60_000, 3))


def problems(
    options: DeploymentOptions, *, target_type: Literal["fleet", "selection"], now: datetime
) -> dict[str, str]:
    """What is wrong although each option by itself is right: option -> sentence."""
    found = {}
    if target_type == "fleet" and options.canary == 0:
        found["canary"] = "A deployment to the entire fleet needs a canary of at least 1 device."
    if windows.has_ended(options.maintenance_window(), now):
        found["window"] = "The maintenance window has already ended."
    return found


_SENTENCES: Final = {
    "bool_type": "Give true or false.",
    "dict_type": "Give an object.",
    "extra_forbidden": "There is no such option.",
    "finite_number": "Give a finite number.",
    "float_type": "Give a number.",
    "int_type": "Give a whole number.",
    "missing": "This is missing.",
    "model_type": "Give an object.",
    "string_pattern_mismatch": "Give an action such as com.nexmdm.RESTART.",
    "string_type": "Give a text.",
}


def sentences(error: ValidationError) -> dict[str, str]:
    """What validation found, for a person: option ("retry.max") -> sentence; the first per option."""
    found: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        path = [str(part) for part in detail["loc"] if part not in ("absolute", "recurring")]
        found.setdefault(".".join(path), _sentence(detail["type"], detail["msg"]))
    return found


def _sentence(kind: str, message: str) -> str:
    return _SENTENCES.get(kind) or f"{message.replace('Input should', 'Must').rstrip('.')}."
