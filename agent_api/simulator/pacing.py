"""When a device asks again: seeded chance, jitter, Retry-After, back-off. Pure, in seconds."""

from datetime import datetime
from email.utils import parsedate_to_datetime
from random import Random

JITTER = 0.1
DEFAULT_INTERVAL_SEC = 60.0
LONGEST_RETRY_AFTER_SEC = 3600.0


def seeded(*parts: object) -> Random:
    """Chance that is the same at each run: the devices of a seed behave alike."""
    return Random(" ".join(map(str, parts)))  # noqa: S311 - no secret comes from it


def jittered(seconds: float, rng: Random) -> float:
    """The interval ±10 %."""
    return seconds * rng.uniform(1 - JITTER, 1 + JITTER)


def told_interval(value: object) -> float:
    """What the server's `checkin_interval_sec` means; nonsense means the default."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 86400:
        return float(value)
    return DEFAULT_INTERVAL_SEC


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header (a number or a date), at most an hour; None where it says nothing."""
    if not header:
        return None
    if header.strip().isdigit():
        return min(float(header), LONGEST_RETRY_AFTER_SEC)
    try:
        wait = (parsedate_to_datetime(header) - now).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(wait, 0.0), LONGEST_RETRY_AFTER_SEC)


class Backoff:
    """Doubles from `first` up to `most`; a success starts it anew."""

    def __init__(self, rng: Random, *, first: float = 0.5, most: float = 60.0) -> None:
        self._rng, self._first, self._most = rng, first, most
        self._next = first

    def after_failure(self, told: float | None = None) -> float:
        """The seconds to wait now: what the server told, else the next step; jitter only adds."""
        step, self._next = self._next, min(self._next * 2, self._most)
        return (step if told is None else max(told, 0.05)) * self._rng.uniform(1, 1 + JITTER)

    def succeeded(self) -> None:
        self._next = self._first
