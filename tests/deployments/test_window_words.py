"""Clock changes: when, by how much, and what the form says about them."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from deployments.pages import window_words
from deployments.rules.window import Recurring, clock_change, parse
from tests.deployments import scene

WEEK = timedelta(days=7)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def weekly(zone: str | None) -> Recurring:
    return Recurring(frozenset(range(7)), time(22), time(5), ZoneInfo(zone) if zone else None)


@pytest.mark.parametrize(
    ("zone", "now", "change", "hours"),
    [
        ("Europe/Berlin", "2026-03-25T12:00", "2026-03-29T01:00", 1),
        ("Europe/Berlin", "2026-10-20T12:00", "2026-10-25T01:00", -1),
        ("America/New_York", "2026-03-08T06:59:59", "2026-03-08T07:00", 1),
        ("Australia/Lord_Howe", "2026-10-01T00:00", "2026-10-03T15:30", 0.5),
        ("Europe/Berlin", "2026-03-22T01:00", "2026-03-29T01:00", 1),
    ],
    ids=["spring", "autumn", "in a second", "by half an hour", "in exactly a week"],
)
def test_the_next_change_is_found_to_the_second(zone: str, now: str, change: str, hours: float) -> None:
    found = clock_change(ZoneInfo(zone), at(now), WEEK)
    assert found is not None
    assert found.at == at(change)
    assert found.by == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "now"),
    [
        ("UTC", "2026-03-25T12:00"),
        ("Asia/Tokyo", "2026-03-25T12:00"),
        ("Europe/Berlin", "2026-03-22T00:59:59"),
        ("Europe/Berlin", "2026-03-29T01:00"),
    ],
    ids=["never", "no longer", "a second too early", "just over"],
)
def test_no_change_within_a_week(zone: str, now: str) -> None:
    assert clock_change(ZoneInfo(zone), at(now), WEEK) is None


def test_a_weekly_window_warns_and_others_do_not() -> None:
    spring, autumn = at("2026-03-25T12:00"), at("2026-10-20T12:00")
    (sentence,) = window_words.clock_warnings(weekly("Europe/Berlin"), spring)
    assert sentence == (
        "The clock in Europe/Berlin goes forward by 1 h on Sun 29 Mar 03:00 Europe/Berlin (01:00 UTC): that opening"
        " is shorter if it spans the change."
    )
    (later,) = window_words.clock_warnings(weekly("Europe/Berlin"), autumn)
    assert "goes back by 1 h" in later
    assert "longer" in later
    assert window_words.clock_warnings(weekly("Asia/Tokyo"), spring) == []
    assert window_words.clock_warnings(None, spring) == []
    once = parse({"start_iso": "2026-03-28T22:00:00+01:00", "end_iso": "2026-03-29T05:00:00+02:00"})
    assert window_words.clock_warnings(once, spring) == []


@pytest.mark.django_db
def test_a_window_in_device_time_warns_for_the_zones_of_the_devices() -> None:
    for zone in ("Europe/Berlin", "Europe/Paris", "Europe/Rome", "Europe/Madrid", "Asia/Tokyo", "Mars/Base"):
        scene.devices(1, tz=zone)
    found = window_words.clock_warnings(weekly(None), at("2026-03-25T12:00"))
    assert [sentence.partition(" goes")[0] for sentence in found] == [
        "The clock in Europe/Berlin",
        "The clock in Europe/Madrid",
        "The clock in Europe/Paris",
        "The clock changes in 1 more zone within 7 days.",
    ]
