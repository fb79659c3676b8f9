"""When a rollout will probably be finished: its pace through the openings of its window, the canary first.

An estimate of the usual case: every device that can start now does so when its turn comes and succeeds at the
first try.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from deployments.rules import wording
from deployments.rules.pace import RATE_WINDOW, USUAL_INSTALL_SEC, expected_pace
from deployments.rules.window import Absolute, Window, after_open

# Further ahead nobody plans, and nothing is said.
HORIZON: Final = timedelta(days=366)

Limit: TypeAlias = Literal["rate_limit", "concurrency_limit", "group_limit", "window"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """`finish` in UTC, None where it cannot be said; `limited_by` None where there is nothing to send, `group` the
    one that limits where that is the limit per group."""

    finish: datetime | None
    limited_by: Limit | None
    sentence: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the forecast reckons with.

    devices: that can start now; later: that must first meet a condition, left out of the time.
    median_install_sec: None = not measured yet. zone: for windows in device time, and for the sentence.
    canary: 0 = none. health_within_sec: None = a success counts as reported; else with the next heartbeat, which
    comes every beat_sec. largest_group: of those that the limit per group is about, with how many of the devices.
    """

    devices: int
    later: int
    rate: int
    concurrency: int
    median_install_sec: float | None
    window: Window | None
    zone: ZoneInfo
    canary: int
    canary_timeout_sec: float
    canary_soak_sec: float
    health_within_sec: float | None = None
    beat_sec: float = 0.0
    max_per_group: int | None = None
    largest_group: tuple[str, int] | None = None

    @property
    def install_sec(self) -> float:
        """How long a slot is held."""
        seconds = USUAL_INSTALL_SEC if self.median_install_sec is None else self.median_install_sec
        return seconds if self.health_within_sec is None else seconds + self.beat_sec

    @property
    def grouped(self) -> int:
        """Devices of the largest group."""
        return self.largest_group[1] if self.largest_group else 0


def finish(now: datetime, plan: Plan) -> Forecast:
    """The forecast from `now` (aware)."""
    if plan.devices <= 0:
        return Forecast(None, None, _nothing(plan.later))
    measured = None if plan.median_install_sec is None else plan.install_sec
    pace = expected_pace(plan.rate, plan.concurrency, measured)
    limit: Limit = pace.limited_by
    sentence, group = pace.sentence, None
    if plan.largest_group and _by_group_sec(plan.grouped, plan) > _by_pace_sec(plan.devices, plan):
        limit, sentence, group = "group_limit", _group_words(plan), plan.largest_group[0]
    end = _end(now, plan)
    if end is None:
        return Forecast(None, "window" if plan.window else limit, _unsaid(now, plan, sentence), group)
    when = wording.moment(wording.full_minute(end), plan.zone, now)
    text = f"Done about {when}, in {wording.since(now, end)}."
    return Forecast(end, limit, " ".join([text, sentence, *_warnings(plan)]), group)


def _end(now: datetime, plan: Plan) -> datetime | None:
    canary = min(plan.canary, plan.devices)
    rest = plan.devices - canary
    at: datetime | None = now
    if canary:
        at = _batch(now, canary, plan, _forced(canary, plan))
        if at and rest:
            at += timedelta(seconds=plan.canary_soak_sec)
    return _batch(at, rest, plan, min(plan.grouped, rest)) if at and rest else at


def _forced(canary: int, plan: Plan) -> int:
    """Canary devices that must be of the largest group: where it is full, those of other groups are taken."""
    return max(0, canary - (plan.devices - plan.grouped))


def _batch(start: datetime, devices: int, plan: Plan, grouped: int) -> datetime | None:
    """When so many are done: sends wait for the window, what is in flight when it closes goes on."""
    last = after_open(plan.window, start, _last_send_sec(devices, grouped, plan), plan.zone, horizon=HORIZON)
    return last + timedelta(seconds=plan.install_sec) if last else None


def _last_send_sec(devices: int, grouped: int, plan: Plan) -> float:
    """Open time before the last send, by the slowest of the limits."""
    return max(_by_pace_sec(devices, plan), _by_group_sec(grouped, plan))


def _by_pace_sec(devices: int, plan: Plan) -> float:
    """`rate` per minute or `concurrency` per install, the slower of both."""
    by_rate = (devices - 1) // plan.rate * RATE_WINDOW.total_seconds()
    by_concurrency = (devices - 1) // plan.concurrency * plan.install_sec
    return max(by_rate, by_concurrency)


def _by_group_sec(grouped: int, plan: Plan) -> float:
    """Open time before the last send to one group, so many at a time."""
    if plan.max_per_group is None or not grouped:
        return 0.0
    return (grouped - 1) // plan.max_per_group * plan.install_sec


def _group_words(plan: Plan) -> str:
    assert plan.largest_group is not None
    name, count = plan.largest_group
    return f"Pace by the limit per group: {name} has {count:,} devices, {plan.max_per_group:,} at a time."


def _canary_sec(canary: int, plan: Plan) -> float:
    return _last_send_sec(canary, _forced(canary, plan), plan) + plan.install_sec


def _nothing(later: int) -> str:
    if later:
        return f"No device can start now; {later:,} start later, once they meet the conditions."
    return "There is no device to update."


def _unsaid(now: datetime, plan: Plan, pace: str) -> str:
    if isinstance(plan.window, Absolute):
        over = wording.moment(plan.window.end, plan.zone, now)
        return f"The window ends {over}, before all are done. {pace}"
    return f"Not done within a year. {pace}"


def _warnings(plan: Plan) -> list[str]:
    found = []
    canary = min(plan.canary, plan.devices)
    if canary and _canary_sec(canary, plan) > plan.canary_timeout_sec:
        limit = wording.span(plan.canary_timeout_sec)
        found.append(f"At this pace the canary is not done within its {limit} and may end undecided.")
    if plan.health_within_sec is not None and plan.health_within_sec <= plan.beat_sec:
        limit, beat = wording.span(plan.health_within_sec), wording.span(plan.beat_sec)
        found.append(f"Devices send a heartbeat every {beat}: within {limit} most are not seen to run.")
    if plan.later:
        found.append(f"Not counted: {plan.later:,} that start later, once they meet the conditions.")
    return found
