"""What holds for every window at any instant, near the clock changes of every zone."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from deployments.rules.window import (
    Recurring,
    after_open,
    closes_at,
    describe,
    is_open,
    next_opening,
    open_seconds,
)
from tests.deployments.windows import DAY, SECOND, SERVER, utc

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
