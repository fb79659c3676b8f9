"""The options of a deployment as the wire contract has them, and how tests give them."""

from typing import Any

import pytest
from pydantic import ValidationError

from deployments.rules.options import DeploymentOptions, sentences

# As the wire contract shows them, in its order.
DEFAULTS: dict[str, Any] = {
    "canary": 5,
    "rate": 10,
    "concurrency": 3,
    "wifi_only": True,
    "min_battery": 40,
    "charging_only": False,
    "min_free_mb": None,
    "window": None,
    "retry": {"max": 3, "backoff_sec": 300},
    "post_install": {},
    "allow_rollback": True,
    "canary_success_pct": 90,
    "canary_timeout_min": 60,
    "canary_soak_min": 0,
    "failure_pct": 20,
    "failure_min_sample": 5,
    "max_failures": None,
    "deadline_hours": 24,
    "ack_timeout_min": 10,
    "step_timeout_min": 15,
    "install_timeout_min": 120,
    "require_doze_exempt": False,
    "max_per_group": None,
    "spread_groups": None,
    "health_within_min": None,
}
NIGHTLY = {"days": ["fri", "mon"], "start": "22:00", "end": "05:00", "tz": "Europe/Berlin"}
ONCE = {"start_iso": "2026-11-24T02:00:00+01:00", "end_iso": "2026-11-24T05:00:00Z"}
RESTART = {"action": "com.nexmdm.RESTART", "extras": {}}


def read(**options: Any) -> DeploymentOptions:
    return DeploymentOptions.from_json(options)


def refusal(options: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        DeploymentOptions.model_validate(options)
    return sentences(caught.value)


def nested(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {head: nested(rest, value) if rest else value}


INTEGERS = {
    "canary": (0, 10_000),
    "rate": (1, 100_000),
    "concurrency": (1, 100_000),
    "min_battery": (0, 100),
    "min_free_mb": (0, 10_000_000),
    "retry.max": (0, 100),
    "retry.backoff_sec": (0, 604_800),
    "canary_success_pct": (1, 100),
    "failure_pct": (0, 100),
    "failure_min_sample": (1, 1_000_000),
    "max_failures": (1, 1_000_000),
    "max_per_group": (1, 100_000),
}
# Lowest taken, first refused below it, highest.
DECIMALS = {
    "canary_timeout_min": (0.0001, 0, 43_200),
    "canary_soak_min": (0, -0.0001, 43_200),
    "deadline_hours": (0, -0.0001, 8_760),
    "ack_timeout_min": (0.0001, 0, 43_200),
    "step_timeout_min": (0.0001, 0, 43_200),
    "install_timeout_min": (0.0001, 0, 43_200),
    "health_within_min": (0.0001, 0, 43_200),
}
BOOLEANS = ("wifi_only", "charging_only", "allow_rollback", "require_doze_exempt")
NUMBERS = (*INTEGERS, *DECIMALS)


def stored(options: DeploymentOptions, path: str) -> Any:
    value: Any = options.to_json()
    for step in path.split("."):
        value = value[step]
    return value
