"""Windows, zones and instants that the tests of maintenance windows share."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from deployments.rules.window import DAYS, Absolute, Recurring, Window, closes_at, next_opening

BERLIN, NEW_YORK, LORD_HOWE = map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))
SERVER = ZoneInfo("UTC")
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def recurring(
    start: str, end: str, zone: ZoneInfo | None = BERLIN, days: str = "mon tue wed thu fri sat sun"
) -> Recurring:
    numbers = frozenset(DAYS.index(day) for day in days.split())
    return Recurring(numbers, time.fromisoformat(start), time.fromisoformat(end), zone)


def openings(
    window: Window, start: datetime, end: datetime, zone: ZoneInfo = SERVER
) -> Iterator[tuple[str, str]]:
    """Every opening that begins in [start, end), as UTC texts, asked for as the engine asks."""
    at = next_opening(window, start, zone)
    while at is not None and at < end:
        closes = closes_at(window, at, zone)
        assert closes is not None
        yield f"{at:%d %H:%M}", f"{closes:%d %H:%M}"
        at = next_opening(window, closes, zone)


OPENS, ENDS = utc("2026-11-24T01:00"), utc("2026-11-24T04:00")
ONCE = Absolute(OPENS, ENDS)
