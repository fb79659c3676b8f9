"""Windows over the nights in which clocks change."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.deployments.windows import BERLIN, LORD_HOWE, NEW_YORK, openings, recurring, utc

# The nights in which clocks change in 2026, as [noon UTC, noon UTC).
CHANGES = [
    # Berlin springs from 02:00 to 03:00 at 01:00 UTC and falls from 03:00 to 02:00 at 01:00 UTC.
    (
        "Berlin, spring: a night over the jump is an hour shorter",
        BERLIN,
        "03-28",
        "22:00 05:00",
        ["28 21:00 29 03:00"],
    ),
    (
        "Berlin, spring: a start that does not exist opens after the jump",
        BERLIN,
        "03-28",
        "02:30 05:00",
        ["29 01:00 29 03:00"],
    ),
    (
        "Berlin, spring: an end that does not exist closes at the jump",
        BERLIN,
        "03-28",
        "01:00 02:30",
        ["29 00:00 29 01:00"],
    ),
    ("Berlin, spring: a window inside the jump does not open", BERLIN, "03-28", "02:10 02:50", []),
    (
        "Berlin, spring: a start at the jump opens with it",
        BERLIN,
        "03-28",
        "02:00 03:30",
        ["29 01:00 29 01:30"],
    ),
    (
        "Berlin, spring: an end at the jump closes with it",
        BERLIN,
        "03-28",
        "01:30 03:00",
        ["29 00:30 29 01:00"],
    ),
    ("Berlin, spring: a start right after the jump", BERLIN, "03-28", "03:00 04:00", ["29 01:00 29 02:00"]),
    (
        "Berlin, autumn: a night over the second hour is an hour longer",
        BERLIN,
        "10-24",
        "22:00 05:00",
        ["24 20:00 25 04:00"],
    ),
    (
        "Berlin, autumn: a start that comes twice opens at the first",
        BERLIN,
        "10-24",
        "02:30 05:00",
        ["25 00:30 25 04:00"],
    ),
    (
        "Berlin, autumn: an end that comes twice closes at the second",
        BERLIN,
        "10-24",
        "01:00 02:30",
        ["24 23:00 25 01:30"],
    ),
    (
        "Berlin, autumn: a window inside the second hour spans both",
        BERLIN,
        "10-24",
        "02:10 02:50",
        ["25 00:10 25 01:50"],
    ),
    (
        "Berlin, autumn: an end before the second hour is not moved",
        BERLIN,
        "10-24",
        "01:00 01:59",
        ["24 23:00 24 23:59"],
    ),
    (
        "Berlin, autumn: a start after the second hour is not moved",
        BERLIN,
        "10-24",
        "03:00 04:00",
        ["25 02:00 25 03:00"],
    ),
    # New York springs from 02:00 to 03:00 at 07:00 UTC and falls from 02:00 to 01:00 at 06:00 UTC.
    (
        "New York, spring: a night over the jump is an hour shorter",
        NEW_YORK,
        "03-07",
        "22:00 05:00",
        ["08 03:00 08 09:00"],
    ),
    (
        "New York, spring: a start that does not exist opens after the jump",
        NEW_YORK,
        "03-07",
        "02:30 05:00",
        ["08 07:00 08 09:00"],
    ),
    ("New York, spring: a window inside the jump does not open", NEW_YORK, "03-07", "02:00 02:59", []),
    (
        "New York, autumn: a night over the second hour is an hour longer",
        NEW_YORK,
        "10-31",
        "22:00 05:00",
        ["01 02:00 01 10:00"],
    ),
    (
        "New York, autumn: a start that comes twice opens at the first",
        NEW_YORK,
        "10-31",
        "01:30 05:00",
        ["01 05:30 01 10:00"],
    ),
    (
        "New York, autumn: an end that comes twice closes at the second",
        NEW_YORK,
        "10-31",
        "00:00 01:30",
        ["01 04:00 01 06:30"],
    ),
    # Lord Howe changes by half an hour: 02:00 to 02:30 at 15:30 UTC, 02:00 to 01:30 at 15:00 UTC.
    (
        "Lord Howe, spring: a night over the jump is half an hour shorter",
        LORD_HOWE,
        "10-03",
        "22:00 05:00",
        ["03 11:30 03 18:00"],
    ),
    (
        "Lord Howe, spring: a start that does not exist opens after the jump",
        LORD_HOWE,
        "10-03",
        "02:15 05:00",
        ["03 15:30 03 18:00"],
    ),
    ("Lord Howe, spring: a window inside the jump does not open", LORD_HOWE, "10-03", "02:05 02:25", []),
    (
        "Lord Howe, autumn: a night over the second half hour is longer",
        LORD_HOWE,
        "04-04",
        "22:00 05:00",
        ["04 11:00 04 18:30"],
    ),
    (
        "Lord Howe, autumn: a window inside the second half hour spans both",
        LORD_HOWE,
        "04-04",
        "01:35 01:55",
        ["04 14:35 04 15:25"],
    ),
    (
        "Lord Howe, autumn: an end that comes twice closes at the second",
        LORD_HOWE,
        "04-04",
        "01:00 01:45",
        ["04 14:00 04 15:15"],
    ),
]


@pytest.mark.parametrize(
    ("zone", "day", "clock", "expected"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_windows_over_clock_changes(zone: ZoneInfo, day: str, clock: str, expected: list[str]) -> None:
    start, end = clock.split()
    # Lord Howe lives ten and a half hours ahead: its night is the afternoon before in UTC.
    noon = utc(f"2026-{day}T{'02' if zone is LORD_HOWE else '15'}:00")
    found = [
        " ".join(pair) for pair in openings(recurring(start, end, zone), noon, noon + timedelta(hours=20))
    ]
    assert found == expected


def test_a_night_that_starts_in_the_afternoon_of_the_clock_change_is_as_long_as_any() -> None:
    window = recurring("22:00", "05:00", BERLIN, "sun")
    assert list(openings(window, utc("2026-10-24T00:00"), utc("2026-10-27T00:00"))) == [
        ("25 21:00", "26 04:00")
    ]


def test_a_window_that_overlaps_itself_when_the_clock_goes_back_is_one_opening() -> None:
    window = recurring("02:30", "02:15")
    assert list(openings(window, utc("2026-10-24T00:20"), utc("2026-10-26T00:00"))) == [
        ("24 00:30", "26 01:15")
    ]


def test_openings_that_touch_when_the_clock_goes_forward_are_one() -> None:
    window = recurring("02:30", "02:15")
    assert list(openings(window, utc("2026-03-28T01:20"), utc("2026-03-30T00:00"))) == [
        ("28 01:30", "30 00:15")
    ]


def test_a_day_that_never_came_has_no_opening_of_its_own() -> None:
    apia = ZoneInfo("Pacific/Apia")  # went from Thursday 29 to Saturday 31 December 2011 at 10:00 UTC
    window = recurring("08:00", "09:00", apia)
    assert list(openings(window, utc("2011-12-29T12:00"), utc("2011-12-31T12:00"))) == [
        ("29 18:00", "29 19:00"),
        ("30 18:00", "30 19:00"),
    ]


def test_a_midnight_that_does_not_exist_opens_at_one() -> None:
    sao_paulo = ZoneInfo("America/Sao_Paulo")
    window = recurring("00:00", "05:00", sao_paulo, "sun")
    assert list(openings(window, utc("2018-11-03T12:00"), utc("2018-11-05T00:00"))) == [
        ("04 03:00", "04 07:00")
    ]
