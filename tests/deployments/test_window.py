from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployments.rules.window import (
    DAYS,
    Absolute,
    Recurring,
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

OPENS, ENDS = utc("2026-11-24T01:00"), utc("2026-11-24T04:00")
ONCE = Absolute(OPENS, ENDS)

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


# Properties, near the clock changes of every zone.

CHANGE_OF = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
    "Pacific/Apia": ("2011-12-30T10:00", "2011-09-24T14:00"),
    "America/Sao_Paulo": ("2018-11-04T03:00", "2018-02-18T02:00"),
    "Antarctica/Troll": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "Africa/Casablanca": ("2026-02-15T02:00", "2026-03-22T02:00"),
    "UTC": ("2026-01-01T00:00",),
}

quarters = st.integers(0, 95).map(lambda number: time(number // 4, number % 4 * 15))


@st.composite
def situations(draw: st.DrawFn) -> tuple[Recurring, datetime]:
    """A recurring window and an instant, mostly within days of a clock change of its zone."""
    name = draw(st.sampled_from(sorted(CHANGE_OF)))
    start, end = draw(quarters), draw(quarters)
    assume(start != end)
    days = frozenset(draw(st.sets(st.integers(0, 6), min_size=1)))
    change = utc(draw(st.sampled_from(CHANGE_OF[name])))
    now = change + timedelta(
        minutes=draw(st.integers(-6_000, 6_000)), seconds=draw(st.sampled_from([0, 0, 1, 59]))
    )
    return Recurring(days, start, end, ZoneInfo(name)), now


def by_the_wall_clock(window: Recurring, now: datetime) -> bool:
    """What a person with a watch would say."""
    assert window.zone
    local = now.astimezone(window.zone)
    clock, today, yesterday = local.time(), local.weekday(), (local.date() - DAY).weekday()
    if window.start < window.end:
        return today in window.days and window.start <= clock < window.end
    return (today in window.days and clock >= window.start) or (
        yesterday in window.days and clock < window.end
    )


def comes_twice(now: datetime, zone: ZoneInfo) -> bool:
    local = now.astimezone(zone)
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


@given(situations())
def test_it_is_open_when_a_watch_says_so_except_in_the_hour_that_comes_twice(
    case: tuple[Recurring, datetime],
) -> None:
    window, now = case
    assert window.zone
    if not comes_twice(now, window.zone):
        assert is_open(window, now, SERVER) == by_the_wall_clock(window, now)
    elif by_the_wall_clock(window, now):
        assert is_open(window, now, SERVER)


@given(situations(), st.floats(0, 1, exclude_max=True))
def test_it_is_open_at_the_next_opening_and_never_before(
    case: tuple[Recurring, datetime], share: float
) -> None:
    window, now = case
    opens = next_opening(window, now, SERVER)
    assert opens is not None
    assert opens >= now
    assert is_open(window, opens, SERVER)
    between = now + (opens - now) * share
    assert between == opens or not is_open(window, between, SERVER)


@given(situations(), st.floats(0, 1, exclude_max=True))
def test_it_stays_open_until_it_closes(case: tuple[Recurring, datetime], share: float) -> None:
    window, now = case
    closes = closes_at(window, now, SERVER)
    assert (closes is not None) == is_open(window, now, SERVER)
    if closes:
        assert closes > now
        between = now + (closes - now) * share
        assert between == closes or is_open(window, between, SERVER)
        assert not is_open(window, closes, SERVER)


@given(situations(), st.integers(0, 4_320))
def test_open_seconds_are_the_minutes_at_which_it_was_open(
    case: tuple[Recurring, datetime], minutes: int
) -> None:
    window, now = case
    start = now.replace(second=0)
    step = timedelta(minutes=15)
    start -= timedelta(minutes=start.minute % 15)
    steps = minutes // 15
    seen = sum(is_open(window, start + each * step, SERVER) for each in range(steps))
    assert open_seconds(window, start, start + steps * step, SERVER) == seen * 900


@given(situations(), st.integers(0, 200_000), st.integers(0, 200_000))
def test_open_seconds_add_up_and_after_open_undoes_them(
    case: tuple[Recurring, datetime], one: int, two: int
) -> None:
    window, start = case
    middle, end = start + one * SECOND, start + (one + two) * SECOND
    total = open_seconds(window, start, end, SERVER)
    assert total == open_seconds(window, start, middle, SERVER) + open_seconds(window, middle, end, SERVER)
    assert 0 <= total <= one + two
    reached = after_open(window, start, total, SERVER, horizon=365 * DAY)
    assert reached is not None
    assert open_seconds(window, start, reached, SERVER) == total


@given(situations())
def test_every_situation_has_a_sentence(case: tuple[Recurring, datetime]) -> None:
    window, now = case
    assert describe(window, now, SERVER).startswith("Open" if is_open(window, now, SERVER) else "Opens")
