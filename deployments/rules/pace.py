"""How many may be sent now, and how fast a rollout is to be expected to go."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from deployments.rules import wording

# In no half-open interval of this length may more than `rate` sends start.
RATE_WINDOW: Final = timedelta(seconds=60)
# Seconds per install where the ledger knows none of this package yet.
USUAL_INSTALL_SEC: Final = 90.0

Limit: TypeAlias = Literal["rate_limit", "concurrency_limit"]


@dataclass(frozen=True, slots=True)
class Room:
    """`free`: how many may be sent now. `limited_by`: what holds the next back, None while there is room."""

    free: int
    limited_by: Limit | None


@dataclass(frozen=True, slots=True)
class Pace:
    """Installs per minute to expect, and which of the two limits sets it."""

    per_minute: float
    limited_by: Limit
    sentence: str


def room(*, rate: int, sent_in_window: int, concurrency: int, in_flight: int) -> Room:
    """`sent_in_window`: sends with sent_at later than now - RATE_WINDOW, given-back slots included."""
    by_rate, by_concurrency = rate - sent_in_window, concurrency - in_flight
    free = max(0, min(by_rate, by_concurrency))
    if free:
        return Room(free, None)
    return Room(0, "rate_limit" if by_rate <= 0 else "concurrency_limit")


def expected_pace(rate: int, concurrency: int, median_install_sec: float | None) -> Pace:
    """min(rate, concurrency x 60 / seconds per install); None: no install of this package measured yet."""
    seconds = USUAL_INSTALL_SEC if median_install_sec is None else max(median_install_sec, 0.001)
    by_concurrency = concurrency * 60 / seconds
    known = "about" if median_install_sec is None else "lately"
    each = f"{concurrency:,} at a time, {known} {_seconds(seconds)} each"
    if by_concurrency < rate:
        text = f"Pace {_number(by_concurrency)} per minute by the concurrency: {each}; the rate is {rate:,}."
        return Pace(by_concurrency, "concurrency_limit", text)
    text = f"Pace {rate:,} per minute by the rate; {each}, would make {_number(by_concurrency)}."
    return Pace(float(rate), "rate_limit", text)


def _seconds(seconds: float) -> str:
    return wording.span(seconds) if seconds >= 1 else "less than 1 s"


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
