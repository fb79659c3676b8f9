"""How numbers of devices, spans and moments are said to people."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

# Largest first; a span names at most two neighbours ("3 h 12 min"), more is noise.
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count:,} devices"


def span(seconds: float) -> str:
    """A length of time as "45 s", "3 h 12 min" or "2 d": whole seconds, from an hour on whole minutes."""
    left = max(0, round(seconds))
    if left >= 3_600:
        left = (left + 30) // 60 * 60
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count:,} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0 s"


def moment(instant: datetime, zone: ZoneInfo, now: datetime) -> str:
    """An instant as "Tue 24 Nov 02:00 Europe/Berlin (01:00 UTC)", with the year where it is not this one."""
    local, utc = instant.astimezone(zone), instant.astimezone(UTC)
    text = f"{_day(local)}{_year(local, now.astimezone(zone))} {_clock(local)}"
    if zone.key == "UTC":
        return f"{text} UTC"
    other_day = "" if utc.date() == local.date() else f"{utc:%a} "
    return f"{text} {zone.key} ({other_day}{_clock(utc)} UTC)"


def full_minute(instant: datetime) -> datetime:
    """The next full minute, so that what is said does not change with every look."""
    return (instant + timedelta(seconds=59)).replace(second=0, microsecond=0)


def _day(local: datetime) -> str:
    return f"{local:%a} {local.day} {local:%b}"


def _year(local: datetime, today: datetime) -> str:
    return "" if local.year == today.year else f" {local.year}"


def _clock(local: datetime) -> str:
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"


def since(start: datetime, end: datetime) -> str:
    """The span from `start` to `end`."""
    return span((end - start) / timedelta(seconds=1))
