"""Maintenance windows: when may something be sent, and when again.

A window is absolute (two instants) or recurring (days, a local wall clock and its zone). All intervals are
half-open, [opens, closes). Wall clock against clock changes:

- a time that the clock jumps over is the first instant after the jump, for opening and for closing alike; a
  window that lies wholly inside the jump does not open that day;
- of a time that comes twice, a window opens at the first and closes at the second occurrence, so that a night
  is never cut short;
- a night belongs to the day on which it starts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from deployments.rules import wording

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DEVICE_ZONE: Final = "device"

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
# Names that mean another zone on another host, or none.
_NO_ZONES: Final = frozenset({"localtime", "posixrules", "Factory"})
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Absolute:
    """Open from `start` until before `end`, both aware."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Recurring:
    """Open on `days` (0 = Monday) from `start` until before `end`, the next day's where it is not later.

    `zone` None: each device's own.
    """

    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo | None


Window: TypeAlias = Absolute | Recurring


class Spell(NamedTuple):
    """One uninterrupted opening, [opens, closes) in UTC."""

    opens: datetime
    closes: datetime


class ClockChange(NamedTuple):
    """When a zone's clock changes, in UTC, and by how much: more than nothing where it goes forward."""

    at: datetime
    by: timedelta


# Reading.


def parse(window: Mapping[str, Any] | None) -> Window | None:
    """The window as on the wire: `start_iso`, `end_iso` or `days`, `start`, `end`, `tz`. ValueError."""
    if window is None:
        return None
    if "start_iso" in window:
        return _absolute(window)
    return _recurring(window)


def _absolute(window: Mapping[str, Any]) -> Absolute:
    start, end = parse_instant(window["start_iso"]), parse_instant(window["end_iso"])
    if start >= end:
        raise ValueError("The window must end after it starts.")
    return Absolute(start, end)


def _recurring(window: Mapping[str, Any]) -> Recurring:
    start, end = parse_clock(window["start"]), parse_clock(window["end"])
    if start == end:
        raise ValueError("Start and end must differ; for a window that is always open leave it out.")
    return Recurring(parse_days(window["days"]), start, end, parse_zone(window["tz"]))


def parse_instant(text: str) -> datetime:
    """An ISO 8601 date and time with offset, in UTC, years 1970 to 2999. ValueError with a sentence."""
    if not _INSTANT.fullmatch(text):
        raise ValueError("Give date, time and offset as in 2026-11-24T02:00:00+01:00.")
    try:
        instant = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("There is no such date and time.") from None
    if not 1970 <= instant.year <= 2999:
        raise ValueError("The year must lie between 1970 and 2999.")
    return instant


def parse_clock(text: str) -> time:
    """A wall clock time "HH:MM", 00:00 to 23:59. ValueError with a sentence."""
    if not _CLOCK.fullmatch(text):
        raise ValueError("Give the time as HH:MM, from 00:00 to 23:59.")
    return time.fromisoformat(text)


def parse_days(days: list[str]) -> frozenset[int]:
    """Days as numbers, 0 = Monday. ValueError with a sentence: none given, one unknown or named twice."""
    if not days:
        raise ValueError("Choose at least one day.")
    if len(set(days)) != len(days):
        raise ValueError("A day is named twice.")
    if unknown := sorted(set(days) - set(DAYS)):
        raise ValueError(f"Days are {', '.join(DAYS)}; not known: {', '.join(unknown)}.")
    return frozenset(DAYS.index(day) for day in days)


def parse_zone(name: str) -> ZoneInfo | None:
    """The zone of that IANA name, None for "device". ValueError with a sentence."""
    if name == DEVICE_ZONE:
        return None
    if name not in zone_names():
        raise ValueError('Give an IANA time zone such as Europe/Berlin, or "device".')
    return ZoneInfo(name)


@cache
def zone_names() -> frozenset[str]:
    """IANA names this host knows. Reading them takes a third of a second, once."""
    return frozenset(available_timezones()) - _NO_ZONES


def device_zone(name: str | None, server: ZoneInfo) -> ZoneInfo:
    """The zone a device says it is in, the server's where it says none or nonsense."""
    return ZoneInfo(name) if name in zone_names() else server


# Asking.
# `zone` is the device's (`device_zone`), the server's where no device is meant; a window that names its own
# zone, and an absolute one, decide by themselves. `now` is aware.


def is_open(window: Window | None, now: datetime, zone: ZoneInfo) -> bool:
    """Whether something may be sent now; without a window always."""
    return next_opening(window, now, zone) == now


def next_opening(window: Window | None, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant from `now` on at which it is open (`now` where it is); None once it is over."""
    if window is None:
        return now
    spell = _next_spell(window, now, zone)
    return max(now, spell.opens) if spell else None


def closes_at(window: Window | None, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When the present opening ends; None while closed and without a window."""
    if window is None:
        return None
    spell = _next_spell(window, now, zone)
    return spell.closes if spell and spell.opens <= now else None


def has_ended(window: Window | None, now: datetime) -> bool:
    """Whether it will never open again: only an absolute window ends."""
    return isinstance(window, Absolute) and now >= window.end


def open_seconds(window: Window | None, start: datetime, end: datetime, zone: ZoneInfo) -> float:
    """How many seconds of [start, end) it was open."""
    if end <= start:
        return 0.0
    if window is None:
        return (end - start).total_seconds()
    total = timedelta()
    for spell in _spells(window, start, zone):
        if spell.opens >= end:
            break
        total += min(spell.closes, end) - max(spell.opens, start)
    return total.total_seconds()


def after_open(
    window: Window | None, start: datetime, seconds: float, zone: ZoneInfo, *, horizon: timedelta
) -> datetime | None:
    """The instant at which it will have been open for `seconds` since `start` (0: the next opening).

    None where it is over before, or where that lies more than `horizon` ahead.
    """
    left = timedelta(seconds=min(seconds, (horizon + _DAY).total_seconds()))
    spells = iter([Spell(start, start + left)]) if window is None else _spells(window, start, zone)
    for spell in spells:
        opens = max(spell.opens, start)
        if opens - start > horizon:
            return None
        if opens + left <= spell.closes:
            return opens + left if opens + left - start <= horizon else None
        left -= spell.closes - opens
    return None


def clock_change(zone: ZoneInfo, now: datetime, within: timedelta) -> ClockChange | None:
    """The first change of that zone's clock in (now, now + within]."""
    step = timedelta(hours=6)
    before, end = now.astimezone(UTC), now.astimezone(UTC) + within
    while before < end:
        after = min(before + step, end)
        old, new = before.astimezone(zone).utcoffset(), after.astimezone(zone).utcoffset()
        if old is not None and new is not None and old != new:
            return ClockChange(_jump_between(before.replace(microsecond=0), after, zone), new - old)
        before = after
    return None


def describe(window: Window | None, now: datetime, zone: ZoneInfo) -> str:
    """One sentence for an operator: when it opens or closes, in local time and UTC."""
    if window is None:
        return "No maintenance window: open at any time."
    shown = window.zone or zone if isinstance(window, Recurring) else zone
    if isinstance(window, Absolute) and now >= window.end:
        return f"Over since {wording.moment(window.end, shown, now)}."
    if closes := closes_at(window, now, zone):
        left = wording.since(now, closes)
        return f"Open until {wording.moment(closes, shown, now)}, another {left}."
    opens = next_opening(window, now, zone)
    assert opens is not None  # only an absolute window ends
    return f"Opens {wording.moment(opens, shown, now)}, in {wording.since(now, opens)}."


# The arithmetic.


def _next_spell(window: Window, now: datetime, zone: ZoneInfo) -> Spell | None:
    return next(_spells(window, now, zone), None)


def _spells(window: Window, start: datetime, zone: ZoneInfo) -> Iterator[Spell]:
    """Openings that end after `start`, in order, apart from each other."""
    if isinstance(window, Recurring):
        return _merged(_daily(window, start, window.zone or zone), start)
    return iter([Spell(window.start, window.end)] if start < window.end else [])


def _merged(spells: Iterator[Spell], start: datetime) -> Iterator[Spell]:
    """Neighbours that touch become one: 02:30 to 02:15 overlaps itself in the night the clock goes back."""
    held = None
    for spell in spells:
        if spell.closes <= start:
            continue
        if held is None:
            held = spell
        elif spell.opens <= held.closes:
            held = Spell(held.opens, max(held.closes, spell.closes))
        else:
            yield held
            held = spell
    if held:
        yield held


def _daily(window: Recurring, start: datetime, zone: ZoneInfo) -> Iterator[Spell]:
    # Two days back: a night that began yesterday, and zones that once skipped a whole day.
    day = start.astimezone(zone).date() - 2 * _DAY
    last = date.max - 2 * _DAY
    crosses = window.end <= window.start
    while day < last:
        if day.weekday() in window.days:
            opens = _instant(day, window.start, zone, fold=0)
            closes = _instant(day + _DAY if crosses else day, window.end, zone, fold=1)
            if opens < closes:
                yield Spell(opens, closes)
        day += _DAY


def _instant(day: date, clock: time, zone: ZoneInfo, *, fold: int) -> datetime:
    """That wall clock time in UTC; of two the one `fold` names, the end of the jump where there is none."""
    first = datetime.combine(day, clock, zone).astimezone(UTC)
    second = datetime.combine(day, clock.replace(fold=1), zone).astimezone(UTC)
    if second < first:
        return _jump_between(second, first, zone)
    return second if fold else first


def _jump_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The whole second at which the clock jumps; it lies in (before, after]."""
    offset = before.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)
