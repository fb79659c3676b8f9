from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.rules.forecast import Forecast, Plan, finish
from deployments.rules.pace import expected_pace
from deployments.rules.window import Absolute, Recurring

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 21, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
# Opens in four hours, for three.
NIGHT = Recurring(frozenset(range(7)), time(2), time(5), BERLIN)
PLAN: dict[str, Any] = {
    "devices": 100,
    "later": 0,
    "rate": 10,
    "concurrency": 1_000,
    "median_install_sec": 60.0,
    "window": None,
    "zone": BERLIN,
    "canary": 0,
    "canary_timeout_sec": 3_600,
    "canary_soak_sec": 0,
}


def forecast(**change: Any) -> Forecast:
    return finish(NOW, Plan(**(PLAN | change)))


FINISHES = [
    ("100 devices at 10 a minute: the last ten leave after 9 minutes and take one", {}, 10 * MINUTE),
    ("one device takes one install", {"devices": 1}, MINUTE),
    ("a device more than a full minute's waits for the next", {"devices": 11}, 2 * MINUTE),
    ("three at a time, a minute each", {"concurrency": 3, "devices": 30}, 10 * MINUTE),
    (
        "nothing measured: 90 s each",
        {"concurrency": 3, "devices": 30, "median_install_sec": None},
        15 * MINUTE,
    ),
    ("installs that take no time", {"median_install_sec": 0.0}, 9 * MINUTE),
    ("the canary goes first and alone", {"canary": 5}, MINUTE + 10 * MINUTE),
    ("the soak comes between", {"canary": 5, "canary_soak_sec": 1_800}, 41 * MINUTE),
    ("a canary of everybody needs no soak", {"canary": 100, "canary_soak_sec": 1_800}, 10 * MINUTE),
    (
        "a canary larger than the deployment is everybody",
        {"canary": 500, "canary_soak_sec": 1_800},
        10 * MINUTE,
    ),
    ("a window that is closed is waited for", {"window": NIGHT}, 4 * HOUR + 10 * MINUTE),
    ("what is in flight when the window closes goes on", {"window": NIGHT, "devices": 1_800}, 7 * HOUR),
    ("what is left goes on the next night", {"window": NIGHT, "devices": 1_811}, 28 * HOUR + 2 * MINUTE),
    (
        "a soak that outlasts the night waits for the next",
        {"window": NIGHT, "canary": 5, "canary_soak_sec": 4 * 3600},
        28 * HOUR + 10 * MINUTE,
    ),
    (
        "an absolute window that is long enough",
        {"window": Absolute(NOW + HOUR, NOW + 2 * HOUR)},
        HOUR + 10 * MINUTE,
    ),
]


@pytest.mark.parametrize(("change", "after"), [row[1:] for row in FINISHES], ids=[row[0] for row in FINISHES])
def test_when_a_rollout_is_done(change: dict[str, Any], after: timedelta) -> None:
    assert forecast(**change).finish == NOW + after


LIMITS = [
    ("the rate", {}, "rate_limit"),
    ("the concurrency", {"concurrency": 3}, "concurrency_limit"),
    ("a window that only has to be waited for limits nothing", {"window": NIGHT}, "rate_limit"),
    ("a window that ends before all are done", {"window": Absolute(NOW, NOW + 8 * MINUTE)}, "window"),
    ("a window that is over", {"window": Absolute(NOW - HOUR, NOW)}, "window"),
    ("a window that opens too seldom for a year", {"window": NIGHT, "devices": 10**6}, "window"),
    ("a rate that needs more than a year", {"rate": 1, "devices": 10**6}, "rate_limit"),
    ("nobody to send to", {"devices": 0}, None),
]


@pytest.mark.parametrize(
    ("change", "limited_by"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS]
)
def test_what_limits_a_rollout(change: dict[str, Any], limited_by: str | None) -> None:
    assert forecast(**change).limited_by == limited_by


SENTENCES = [
    (
        {"devices": 2_301, "later": 203, "rate": 60, "concurrency": 50, "median_install_sec": 40.0},
        [
            "Done about Mon 23 Nov 22:39 Europe/Berlin (21:39 UTC), in 38 min 40 s.",
            "Pace 60 per minute by the rate; 50 at a time, lately 40 s each, would make 75.",
            "Not counted: 203 that start later, once they meet the conditions.",
        ],
    ),
    (
        {"canary": 100, "concurrency": 1, "median_install_sec": None},
        [
            "Done about Tue 24 Nov 00:30 Europe/Berlin (Mon 23:30 UTC), in 2 h 30 min.",
            "Pace 0.7 per minute by the concurrency: 1 at a time, about 1 min 30 s each; the rate is 10.",
            "At this pace the canary is not done within its 1 h and may end undecided.",
        ],
    ),
    (
        {"window": Absolute(NOW, NOW + 8 * MINUTE)},
        [
            "The window ends Mon 23 Nov 22:08 Europe/Berlin (21:08 UTC), before all are done.",
            "Pace 10 per minute by the rate; 1,000 at a time, lately 1 min each, would make 1,000.",
        ],
    ),
    (
        {"rate": 1, "devices": 10**9},
        [
            "Not done within a year.",
            "Pace 1 per minute by the rate; 1,000 at a time, lately 1 min each, would make 1,000.",
        ],
    ),
    (
        {"devices": 0, "later": 12},
        ["No device can start now; 12 start later, once they meet the conditions."],
    ),
    ({"devices": 0}, ["There is no device to update."]),
]


@pytest.mark.parametrize(("change", "sentences"), SENTENCES)
def test_the_forecast_says_when_and_why(change: dict[str, Any], sentences: list[str]) -> None:
    assert forecast(**change).sentence == " ".join(sentences)


WARNINGS = [
    ("a canary that is done just at its limit", {"canary": 5, "canary_timeout_sec": 60}, False),
    ("a canary that is done a moment later", {"canary": 5, "canary_timeout_sec": 59.9}, True),
    (
        "a canary larger than the deployment counts as everybody",
        {"canary": 1_000, "devices": 10, "canary_timeout_sec": 60},
        False,
    ),
    ("no canary has no limit", {"canary": 0, "canary_timeout_sec": 1}, False),
]


@pytest.mark.parametrize(
    ("change", "warned"), [row[1:] for row in WARNINGS], ids=[row[0] for row in WARNINGS]
)
def test_a_canary_too_slow_for_its_limit_is_said(change: dict[str, Any], warned: bool) -> None:
    assert ("may end undecided" in forecast(**change).sentence) is warned


HEALTH = [
    ("counted as reported, a heartbeat holds no slot", {"beat_sec": 600}, MINUTE, False),
    (
        "a slot is held until the next heartbeat",
        {"health_within_sec": 900, "beat_sec": 600},
        11 * MINUTE,
        False,
    ),
    ("a time as short as a heartbeat is said", {"health_within_sec": 60, "beat_sec": 60}, 2 * MINUTE, True),
]


@pytest.mark.parametrize(
    ("change", "took", "warned"), [row[1:] for row in HEALTH], ids=[row[0] for row in HEALTH]
)
def test_the_time_until_an_app_is_seen_to_run_counts(
    change: dict[str, Any], took: timedelta, warned: bool
) -> None:
    found = forecast(devices=1, **change)
    assert found.finish == NOW + took
    assert ("not seen to run" in found.sentence) is warned


SHOP: dict[str, Any] = {"max_per_group": 2, "largest_group": ("shop-1", 40)}
GROUPS = [
    ("two at a time of forty take twenty installs", SHOP, 20 * MINUTE, "group_limit"),
    ("a limit that is never reached", SHOP | {"max_per_group": 40}, 10 * MINUTE, "rate_limit"),
    ("no group is meant", SHOP | {"largest_group": None}, 10 * MINUTE, "rate_limit"),
    (
        "the canary takes devices of other groups first",
        SHOP | {"canary": 60},
        6 * MINUTE + 20 * MINUTE,
        "group_limit",
    ),
    (
        "a canary of everybody is of the group as well",
        SHOP | {"canary": 100, "devices": 40, "largest_group": ("shop-1", 40)},
        20 * MINUTE,
        "group_limit",
    ),
]


@pytest.mark.parametrize(
    ("change", "took", "limit"), [row[1:] for row in GROUPS], ids=[row[0] for row in GROUPS]
)
def test_the_limit_per_group_counts_and_its_group_is_named(
    change: dict[str, Any], took: timedelta, limit: str
) -> None:
    found = forecast(**change)
    assert (found.finish, found.limited_by) == (NOW + took, limit)
    assert found.group == ("shop-1" if limit == "group_limit" else None)
    assert ("shop-1 has 40 devices, 2 at a time" in found.sentence) is (limit == "group_limit")


plans = st.fixed_dictionaries(
    {
        "devices": st.integers(1, 5_000),
        "rate": st.integers(1, 500),
        "concurrency": st.integers(1, 500),
        "median_install_sec": st.none() | st.floats(0, 1_000),
        "window": st.none() | st.just(NIGHT),
        "canary": st.integers(0, 50),
        "canary_soak_sec": st.floats(0, 7_200),
        "max_per_group": st.integers(1, 50),
        "largest_group": st.none() | st.integers(1, 5_000).map(lambda count: ("shop-1", count)),
    }
).map(lambda plan: plan | {"largest_group": _within(plan["largest_group"], plan["devices"])})


def _within(group: tuple[str, int] | None, devices: int) -> tuple[str, int] | None:
    return group and (group[0], min(group[1], devices))


def done(plan: dict[str, Any]) -> datetime:
    """The finish; later than any where none is said."""
    return forecast(**plan).finish or datetime.max.replace(tzinfo=UTC)


@given(plans)
def test_more_devices_never_finish_earlier_and_more_pace_never_later(plan: dict[str, Any]) -> None:
    assert done(plan | _one_more_device(plan)) >= done(plan) >= NOW
    assert done(plan | {"rate": plan["rate"] + 1}) <= done(plan)
    assert done(plan | {"concurrency": plan["concurrency"] + 1}) <= done(plan)
    assert done(plan | {"max_per_group": plan["max_per_group"] + 1}) <= done(plan)


def _one_more_device(plan: dict[str, Any]) -> dict[str, Any]:
    """Of the largest group: one of another group may make it shorter, see below."""
    group = plan["largest_group"]
    return {"devices": plan["devices"] + 1, "largest_group": group and (group[0], group[1] + 1)}


def test_a_canary_device_of_another_group_spares_the_full_one_a_turn() -> None:
    shop: dict[str, Any] = {"max_per_group": 2, "largest_group": ("shop-1", 4), "median_install_sec": 90.0}
    crowded = shop | {"devices": 4, "rate": 2, "concurrency": 3, "canary": 3}
    alone, beside = done(crowded), done(crowded | {"devices": 5})
    assert (alone - NOW, beside - NOW) == (4.5 * MINUTE, 4 * MINUTE)


@given(plans)
def test_without_window_and_canary_the_finish_is_that_of_the_pace(plan: dict[str, Any]) -> None:
    plain = plan | {"window": None, "canary": 0, "largest_group": None}
    pace = expected_pace(plan["rate"], plan["concurrency"], plan["median_install_sec"])
    minutes = plan["devices"] / pace.per_minute
    install = 90 if plan["median_install_sec"] is None else plan["median_install_sec"]
    # The first batch leaves at once, so the end is within one batch and one install of devices / pace.
    batch = max(1.0, install / 60)
    assert abs((done(plain) - NOW) / MINUTE - minutes) <= batch + install / 60 + 0.001
