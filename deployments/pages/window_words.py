"""What the form says about a maintenance window: its next opening, and whether a clock changes before long."""

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from deployments.engine import eligibility
from deployments.engine.eligibility import SERVER_ZONE
from deployments.rules import window as windows
from deployments.rules import wording
from deployments.rules.window import Recurring, Window

_SOON: Final = timedelta(days=7)
_NAMED: Final = 3


def opening(window: Window | None, now: datetime) -> str:
    """When it opens or closes next, in its zone and in UTC."""
    said = windows.describe(window, now, SERVER_ZONE)
    if isinstance(window, Recurring) and window.zone is None:
        return f"In each device's own zone; for a device in {SERVER_ZONE.key}: {said}"
    return said


def clock_warnings(window: Window | None, now: datetime) -> list[str]:
    """A weekly window is by the wall clock, so a night may be an hour shorter or longer."""
    if not isinstance(window, Recurring):
        return []
    zones = [window.zone] if window.zone else [ZoneInfo(name) for name in _zones_of_devices()]
    changes = {zone.key: windows.clock_change(zone, now, _SOON) for zone in zones}
    found = [_sentence(name, change, now) for name, change in sorted(changes.items()) if change]
    if len(found) > _NAMED:
        more = len(found) - _NAMED
        zones_more = "1 more zone" if more == 1 else f"{more} more zones"
        found[_NAMED:] = [f"The clock changes in {zones_more} within 7 days."]
    return found


def _zones_of_devices() -> list[str]:
    return [name for name in eligibility.zones() if name in windows.zone_names()]


def _sentence(zone: str, change: windows.ClockChange, now: datetime) -> str:
    """ "The clock in Europe/Berlin goes back by 1 h at Sun 29 Mar 02:00 …"."""
    way = "forward" if change.by > timedelta() else "back"
    shown = wording.moment(change.at, ZoneInfo(zone), now)
    span = wording.since(change.at, change.at + abs(change.by))
    return f"The clock in {zone} goes {way} by {span} on {shown}: that opening is {_effect(change)}."


def _effect(change: windows.ClockChange) -> str:
    return "shorter if it spans the change" if change.by > timedelta() else "longer if it spans the change"
