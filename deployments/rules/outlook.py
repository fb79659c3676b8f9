"""When a live deployment will probably be finished, or why that cannot be said now. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from deployments.rules import forecast, wording
from deployments.rules.headline import Situation
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import IN_FLIGHT, WAITING, CanaryState, DeploymentStatus

_LIMITS: Final = {
    "rate_limit": "as fast as the rate allows",
    "concurrency_limit": "as fast as the concurrency allows",
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """`median_install_sec` None = no install of this package was measured yet; `zone`: for windows and words."""

    options: DeploymentOptions
    median_install_sec: float | None
    zone: ZoneInfo


def sentence(now: datetime, situation: Situation, expected: Expectation) -> str:
    """To the minute, so that it does not change with every look."""
    if why := _why_none(situation):
        return f"Estimated finish: none {why}."
    told = forecast.finish(now, _plan(situation, expected))
    if told.finish is None:
        return f"Estimated finish: none. {told.sentence}"
    when = wording.moment(wording.full_minute(told.finish), expected.zone, now)
    how = _LIMITS.get(told.limited_by or "", "")
    return f"Estimated finish: about {when}{f', {how}' if how else ''}."


def _why_none(situation: Situation) -> str:
    if situation.status == DeploymentStatus.QUEUED:
        return "before the devices are planned"
    if situation.status == DeploymentStatus.PAUSED:
        return "while nothing new is sent"
    if situation.status != DeploymentStatus.RUNNING:
        return "as it has ended"
    return "outside the maintenance window" if situation.window else ""


def _plan(situation: Situation, expected: Expectation) -> forecast.Plan:
    options = expected.options
    collecting = situation.canary["state"] == CanaryState.COLLECTING
    return forecast.Plan(
        devices=situation.of(*WAITING, *IN_FLIGHT),
        later=situation.again,
        rate=options.rate,
        concurrency=options.concurrency,
        median_install_sec=expected.median_install_sec,
        window=options.maintenance_window(),
        zone=expected.zone,
        canary=situation.canary["size"] - situation.canary["succeeded"] if collecting else 0,
        canary_timeout_sec=options.canary_timeout_min * 60,
        canary_soak_sec=options.canary_soak_min * 60,
    )
