import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.rules.pace import Pace, Room, expected_pace, room


@pytest.mark.parametrize(
    ("sent", "in_flight", "expected"),
    [
        pytest.param(0, 0, Room(3, None), id="an idle deployment has room for its concurrency"),
        pytest.param(0, 2, Room(1, None), id="one slot is left"),
        pytest.param(9, 0, Room(1, None), id="one send is left in this minute"),
        pytest.param(0, 3, Room(0, "concurrency_limit"), id="all slots are taken"),
        pytest.param(10, 0, Room(0, "rate_limit"), id="the minute is used up"),
        pytest.param(10, 3, Room(0, "rate_limit"), id="both are used up: the rate is named first"),
        pytest.param(12, 0, Room(0, "rate_limit"), id="the rate was lowered below what was sent"),
        pytest.param(
            0, 5, Room(0, "concurrency_limit"), id="the concurrency was lowered below what is in flight"
        ),
    ],
)
def test_room_is_what_rate_and_concurrency_leave(sent: int, in_flight: int, expected: Room) -> None:
    assert room(rate=10, sent_in_window=sent, concurrency=3, in_flight=in_flight) == expected


@given(st.integers(1, 50), st.integers(0, 60), st.integers(1, 50), st.integers(0, 60))
def test_room_never_exceeds_a_limit_and_names_one_exactly_when_there_is_none(
    rate: int, sent: int, concurrency: int, in_flight: int
) -> None:
    left = room(rate=rate, sent_in_window=sent, concurrency=concurrency, in_flight=in_flight)
    assert left.free == 0 or (sent + left.free <= rate and in_flight + left.free <= concurrency)
    assert (left.limited_by is None) == (left.free > 0)


PACES = [
    (
        "the defaults: nothing measured, 90 s each, the concurrency limits",
        (10, 3, None),
        Pace(
            2.0,
            "concurrency_limit",
            "Pace 2 per minute by the concurrency: 3 at a time, about 1 min 30 s each; the rate is 10.",
        ),
    ),
    (
        "the rate limits",
        (60, 50, 40.0),
        Pace(
            60.0,
            "rate_limit",
            "Pace 60 per minute by the rate; 50 at a time, lately 40 s each, would make 75.",
        ),
    ),
    (
        "both are equal: the rate is named",
        (10, 15, 90.0),
        Pace(
            10.0,
            "rate_limit",
            "Pace 10 per minute by the rate; 15 at a time, lately 1 min 30 s each, would make 10.",
        ),
    ),
    (
        "installs that take no time are limited by the rate",
        (10, 1, 0.0),
        Pace(
            10.0,
            "rate_limit",
            "Pace 10 per minute by the rate; 1 at a time, lately less than 1 s each, would make 60,000.",
        ),
    ),
]


@pytest.mark.parametrize(("limits", "pace"), [row[1:] for row in PACES], ids=[row[0] for row in PACES])
def test_the_pace_to_expect(limits: tuple[int, int, float | None], pace: Pace) -> None:
    assert expected_pace(*limits) == pace
