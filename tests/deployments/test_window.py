"""Maintenance windows: whether one is open, for how long, in whose zone, in which words."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deployments.rules.window import (
    Absolute,
    Window,
    after_open,
    closes_at,
    describe,
    device_zone,
    has_ended,
    is_open,
    next_opening,
    open_seconds,
    parse,
)
from tests.deployments.windows import (
    BERLIN,
    DAY,
    ENDS,
    LORD_HOWE,
    NEW_YORK,
    ONCE,
    OPENS,
    SECOND,
    SERVER,
    openings,
    recurring,
    utc,
)

NIGHTS = [
    ("a night belongs to the day on which it starts: Friday's late evening", "2026-11-27T22:00", True),
    ("a second before it is closed", "2026-11-27T20:59:59", False),
    ("Saturday's small hours still belong to Friday", "2026-11-28T03:59:59", True),
    ("at its end it is closed", "2026-11-28T04:00", False),
    ("Saturday's evening is another night", "2026-11-28T22:00", False),
    ("Friday's small hours belong to Thursday", "2026-11-27T02:00", False),
    ("Friday's opening itself is inside", "2026-11-27T21:00", True),
]


@pytest.mark.parametrize(("now", "expected"), [row[1:] for row in NIGHTS], ids=[row[0] for row in NIGHTS])
def test_a_friday_night_in_berlin(now: str, expected: bool) -> None:
    assert is_open(recurring("22:00", "05:00", BERLIN, "fri"), utc(now), SERVER) is expected


def test_an_end_at_midnight_is_the_midnight_after() -> None:
    window = recurring("22:00", "00:00", BERLIN, "mon")
    assert list(openings(window, utc("2026-11-23T00:00"), utc("2026-11-30T00:00"))) == [
        ("23 21:00", "23 23:00")
    ]


# Device time.


def test_device_time_follows_the_zone_of_the_device() -> None:
    window = recurring("22:00", "05:00", None)
    now = utc("2026-11-24T03:30")
    assert [is_open(window, now, zone) for zone in (BERLIN, NEW_YORK, LORD_HOWE)] == [True, True, False]
    assert is_open(window, utc("2026-11-24T04:30"), BERLIN) is False


def test_a_window_with_a_zone_of_its_own_ignores_the_device() -> None:
    window = recurring("22:00", "05:00", BERLIN)
    assert is_open(window, utc("2026-11-24T03:30"), LORD_HOWE)


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "Mars/Olympus",
        "europe/berlin",
        "GMT+02:00",
        "../../../etc/passwd",
        "/etc/localtime",
        "Europe",
        "Europe/Berlin\0",
        "\ud800",
        "localtime",
        "posixrules",
        "Factory",
        "right/Europe/Berlin",
        "posix/Europe/Berlin",
        "tzdata.zi",
        "x" * 100_000,
    ],
)
def test_a_zone_that_a_device_makes_up_is_the_servers(name: str | None) -> None:
    assert device_zone(name, NEW_YORK) is NEW_YORK


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "UTC", "Etc/GMT-2", "America/Argentina/Buenos_Aires", "Asia/Kolkata"]
)
def test_a_zone_that_exists_is_the_devices(name: str) -> None:
    assert device_zone(name, NEW_YORK) == ZoneInfo(name)


# Absolute windows, and none.

MOMENTS = [
    ("before it opens", OPENS - SECOND, False, OPENS, None, False),
    ("as it opens", OPENS, True, OPENS, ENDS, False),
    ("while it is open", OPENS + SECOND, True, OPENS + SECOND, ENDS, False),
    ("just before it ends", ENDS - SECOND, True, ENDS - SECOND, ENDS, False),
    ("as it ends", ENDS, False, None, None, True),
    ("after it ended", ENDS + DAY, False, None, None, True),
]


@pytest.mark.parametrize(
    ("now", "opened", "opens", "closes", "ended"),
    [row[1:] for row in MOMENTS],
    ids=[row[0] for row in MOMENTS],
)
def test_an_absolute_window(
    now: datetime, opened: bool, opens: datetime | None, closes: datetime | None, ended: bool
) -> None:
    assert is_open(ONCE, now, BERLIN) is opened
    assert next_opening(ONCE, now, BERLIN) == opens
    assert closes_at(ONCE, now, BERLIN) == closes
    assert has_ended(ONCE, now) is ended


def test_no_window_is_open_at_any_time_and_never_ends() -> None:
    assert is_open(None, OPENS, BERLIN)
    assert next_opening(None, OPENS, BERLIN) == OPENS
    assert closes_at(None, OPENS, BERLIN) is None
    assert not has_ended(None, OPENS)
    assert open_seconds(None, OPENS, ENDS, BERLIN) == 10_800


def test_a_recurring_window_never_ends() -> None:
    assert not has_ended(recurring("22:00", "05:00"), utc("2900-01-01T00:00"))


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        pytest.param(OPENS - DAY, OPENS, 0, id="before it"),
        pytest.param(OPENS - DAY, ENDS + DAY, 10_800, id="all of it"),
        pytest.param(OPENS - DAY, OPENS + SECOND, 1, id="its first second"),
        pytest.param(ENDS - SECOND, ENDS + DAY, 1, id="its last second"),
        pytest.param(OPENS + SECOND, OPENS + 3 * SECOND, 2, id="a piece of it"),
        pytest.param(ENDS, ENDS + DAY, 0, id="after it"),
        pytest.param(ENDS, OPENS, 0, id="backwards"),
    ],
)
def test_how_long_an_absolute_window_was_open(start: datetime, end: datetime, seconds: float) -> None:
    assert open_seconds(ONCE, start, end, BERLIN) == seconds


def test_a_year_of_nights_has_an_hour_less_and_an_hour_more() -> None:
    window = recurring("22:00", "05:00")
    assert open_seconds(window, utc("2026-01-01T12:00"), utc("2027-01-01T12:00"), SERVER) == 365 * 7 * 3600
    assert (
        open_seconds(window, utc("2026-01-01T12:00"), utc("2026-07-01T12:00"), SERVER) == (181 * 7 - 1) * 3600
    )


NEXT_NIGHT = utc("2026-11-25T01:00")


@pytest.mark.parametrize(
    ("window", "seconds", "expected"),
    [
        pytest.param(None, 100, OPENS - DAY + 100 * SECOND, id="without a window time just passes"),
        pytest.param(None, 30 * 86_400, OPENS + 29 * DAY, id="the horizon itself is within"),
        pytest.param(None, 30 * 86_400 + 1, None, id="beyond the horizon nothing is said"),
        pytest.param(None, 1e15, None, id="so far ahead that no calendar has it"),
        pytest.param(ONCE, 0, OPENS, id="no time at all is the opening"),
        pytest.param(ONCE, 10_799, ENDS - SECOND, id="just before its end"),
        pytest.param(ONCE, 10_800, ENDS, id="exactly its length is its end"),
        pytest.param(ONCE, 10_801, None, id="longer than it is open never comes"),
        pytest.param(
            recurring("02:00", "05:00", days="tue wed"),
            10_801,
            NEXT_NIGHT + SECOND,
            id="goes on the next night",
        ),
        pytest.param(recurring("02:00", "05:00", days="tue"), 10_800 * 6, None, id="too many weeks"),
    ],
)
def test_when_it_will_have_been_open_so_long(
    window: Window | None, seconds: float, expected: datetime | None
) -> None:
    assert after_open(window, OPENS - DAY, seconds, SERVER, horizon=30 * DAY) == expected


# Sentences.


SENTENCES = [
    (None, "2026-11-23T21:48", BERLIN, "No maintenance window: open at any time."),
    (
        recurring("02:00", "05:00"),
        "2026-11-23T21:48",
        NEW_YORK,
        "Opens Tue 24 Nov 02:00 Europe/Berlin (01:00 UTC), in 3 h 12 min.",
    ),
    (
        recurring("02:00", "05:00", None),
        "2026-11-24T06:40",
        NEW_YORK,
        "Opens Tue 24 Nov 02:00 America/New_York (07:00 UTC), in 20 min.",
    ),
    (
        recurring("22:00", "05:00"),
        "2026-11-24T03:59:15",
        SERVER,
        "Open until Tue 24 Nov 05:00 Europe/Berlin (04:00 UTC), another 45 s.",
    ),
    (
        recurring("00:30", "05:00"),
        "2026-11-24T12:00",
        SERVER,
        "Opens Wed 25 Nov 00:30 Europe/Berlin (Tue 23:30 UTC), in 11 h 30 min.",
    ),
    (ONCE, "2026-11-22T00:00", SERVER, "Opens Tue 24 Nov 01:00 UTC, in 2 d 1 h."),
    (ONCE, "2026-11-24T01:00", BERLIN, "Open until Tue 24 Nov 05:00 Europe/Berlin (04:00 UTC), another 3 h."),
    (ONCE, "2026-11-24T04:00", BERLIN, "Over since Tue 24 Nov 05:00 Europe/Berlin (04:00 UTC)."),
    (ONCE, "2027-01-01T04:00", SERVER, "Over since Tue 24 Nov 2026 04:00 UTC."),
    (
        Absolute(OPENS + 7 * SECOND, ENDS),
        "2026-11-24T01:00",
        SERVER,
        "Opens Tue 24 Nov 01:00:07 UTC, in 7 s.",
    ),
]


@pytest.mark.parametrize(("window", "now", "zone", "sentence"), SENTENCES)
def test_a_window_says_when_it_opens_or_closes(
    window: Window | None, now: str, zone: ZoneInfo, sentence: str
) -> None:
    assert describe(window, utc(now), zone) == sentence


# Reading.


def test_the_two_kinds_of_window_are_read_from_the_wire() -> None:
    assert parse(None) is None
    assert parse({"start_iso": "2026-11-24T02:00:00+01:00", "end_iso": "2026-11-24T04:00Z"}) == ONCE
    night = {"days": ["fri", "sat"], "start": "22:00", "end": "05:00", "tz": "Europe/Berlin"}
    assert parse(night) == recurring("22:00", "05:00", BERLIN, "fri sat")
    assert parse(night | {"tz": "device"}) == recurring("22:00", "05:00", None, "fri sat")


ABSOLUTE = {"start_iso": "2026-11-24T02:00:00+01:00", "end_iso": "2026-11-24T05:00:00+01:00"}
NIGHTLY = {"days": ["mon"], "start": "22:00", "end": "05:00", "tz": "UTC"}

BAD = [
    ("no offset", ABSOLUTE | {"start_iso": "2026-11-24T02:00:00"}),
    ("a date only", ABSOLUTE | {"start_iso": "2026-11-24"}),
    ("a week date", ABSOLUTE | {"start_iso": "2026-W48-2T02:00:00Z"}),
    ("a day that does not exist", ABSOLUTE | {"start_iso": "2026-02-30T02:00:00Z"}),
    ("an hour that does not exist", ABSOLUTE | {"start_iso": "2026-11-24T25:00:00Z"}),
    ("an offset that does not exist", ABSOLUTE | {"start_iso": "2026-11-24T02:00:00+99:00"}),
    ("the first year with an offset before it", ABSOLUTE | {"start_iso": "0001-01-01T00:00:00+23:59"}),
    ("the last year with an offset behind it", ABSOLUTE | {"end_iso": "9999-12-31T23:59:59-23:59"}),
    ("a year nobody plans for", ABSOLUTE | {"end_iso": "3000-01-01T00:00:00Z"}),
    ("other digits", ABSOLUTE | {"start_iso": "２026-11-24T02:00:00Z"}),
    ("a line break at the end", ABSOLUTE | {"start_iso": "2026-11-24T02:00:00Z\n"}),
    ("an end before its start", ABSOLUTE | {"end_iso": "2026-11-24T01:00:00+01:00"}),
    ("an end at its start in another offset", ABSOLUTE | {"end_iso": "2026-11-24T01:00:00Z"}),
    ("no days", NIGHTLY | {"days": []}),
    ("a day twice", NIGHTLY | {"days": ["mon", "mon"]}),
    ("an unknown day", NIGHTLY | {"days": ["Monday"]}),
    ("start and end alike", NIGHTLY | {"end": "22:00"}),
    ("one digit", NIGHTLY | {"start": "2:00"}),
    ("24:00", NIGHTLY | {"end": "24:00"}),
    ("minute 60", NIGHTLY | {"start": "22:60"}),
    ("seconds", NIGHTLY | {"start": "22:00:00"}),
    ("a line break", NIGHTLY | {"start": "22:00\n"}),
    ("an unknown zone", NIGHTLY | {"tz": "Mars/Olympus"}),
    ("a path", NIGHTLY | {"tz": "../UTC"}),
    ("a zone that depends on the host", NIGHTLY | {"tz": "localtime"}),
]


@pytest.mark.parametrize("window", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_a_window_that_makes_no_sense_is_refused_with_a_sentence(window: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        parse(window)
