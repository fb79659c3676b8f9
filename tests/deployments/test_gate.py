from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.rules.gate import canary, failure_limit

HOUR_MS = 3_600_000
FIVE: dict[str, Any] = {
    "size": 5,
    "success_pct": 90,
    "ok": 0,
    "bad": 0,
    "unsettled_acknowledged": 0,
    "sent": 5,
    "place_free": False,
    "elapsed_ms": 0,
    "timeout_ms": HOUR_MS,
    "soak_ms": 0,
    "since_reached_ms": None,
}
TEN = FIVE | {"size": 10, "sent": 10}
TWENTY = FIVE | {"size": 20, "sent": 20}
AT_TIMEOUT = {"elapsed_ms": HOUR_MS}

CANARY = [
    ("a canary of nobody never passes", FIVE | {"size": 0, "sent": 0}, "collecting"),
    ("a canary of nobody does not pass at its time limit", FIVE | {"size": 0} | AT_TIMEOUT, "collecting"),
    (
        "a canary of nobody does not pass by a late success",
        FIVE | {"size": 0, "ok": 1} | AT_TIMEOUT,
        "collecting",
    ),
    ("nothing reported yet collects", FIVE, "collecting"),
    ("four of five is less than 90 %", FIVE | {"ok": 4}, "collecting"),
    ("five of five passes", FIVE | {"ok": 5}, "passed"),
    ("nine of ten is just 90 %", TEN | {"ok": 9}, "passed"),
    ("nine of ten with the tenth failed is just 90 %", TEN | {"ok": 9, "bad": 1}, "passed"),
    ("eight of ten with one failed may still pass", TEN | {"ok": 8, "bad": 1}, "collecting"),
    ("two failed of ten can no longer make 90 %", TEN | {"ok": 8, "bad": 2}, "failed"),
    ("one failed of five can no longer make 90 %", FIVE | {"bad": 1}, "failed"),
    ("one failed of ten still can", TEN | {"bad": 1}, "collecting"),
    ("100 % wants every one", TEN | {"ok": 9, "success_pct": 100}, "collecting"),
    ("100 % fails with the first failure", TEN | {"ok": 9, "bad": 1, "success_pct": 100}, "failed"),
    ("1 % of ten passes with one", TEN | {"ok": 1, "success_pct": 1}, "passed"),
    ("1 % of ten with nine failed may still pass", TEN | {"bad": 9, "success_pct": 1}, "collecting"),
    ("1 % of ten fails only when all ten failed", TEN | {"bad": 10, "success_pct": 1}, "failed"),
    ("1 % of one passes with one", FIVE | {"size": 1, "ok": 1, "success_pct": 1}, "passed"),
    ("33 % of three passes with one", FIVE | {"size": 3, "ok": 1, "success_pct": 33}, "passed"),
    ("34 % of three wants two", FIVE | {"size": 3, "ok": 1, "success_pct": 34}, "collecting"),
    # Soak
    ("a good canary soaks first", FIVE | {"ok": 5, "soak_ms": 1000}, "soaking"),
    (
        "one millisecond before its end it soaks",
        FIVE | {"ok": 5, "soak_ms": 1000, "since_reached_ms": 999},
        "soaking",
    ),
    (
        "at the end of the soak it passes",
        FIVE | {"ok": 5, "soak_ms": 1000, "since_reached_ms": 1000},
        "passed",
    ),
    ("no soak passes at once", FIVE | {"ok": 5, "since_reached_ms": 0}, "passed"),
    (
        "a failure too many fails it while it soaks",
        TEN | {"ok": 9, "bad": 2, "soak_ms": 1000, "since_reached_ms": 500},
        "failed",
    ),
    ("a soak past the time limit goes on", FIVE | {"ok": 5, "soak_ms": 1000} | AT_TIMEOUT, "soaking"),
    # Time limit
    ("a millisecond before the limit it collects", FIVE | {"ok": 3, "elapsed_ms": HOUR_MS - 1}, "collecting"),
    ("at the limit three good of five and two silent go on", FIVE | {"ok": 3} | AT_TIMEOUT, "passed"),
    ("at the limit two of five answered are too few", FIVE | {"ok": 2} | AT_TIMEOUT, "undecided"),
    ("at the limit half is enough", TEN | {"ok": 5} | AT_TIMEOUT, "passed"),
    ("at the limit less than half is not", TEN | {"ok": 4} | AT_TIMEOUT, "undecided"),
    ("at the limit silence is no success", FIVE | AT_TIMEOUT, "undecided"),
    ("a canary of one that is silent is undecided", FIVE | {"size": 1, "sent": 1} | AT_TIMEOUT, "undecided"),
    (
        "one that acknowledged and hangs is bad at the limit",
        FIVE | {"ok": 3, "unsettled_acknowledged": 1} | AT_TIMEOUT,
        "undecided",
    ),
    (
        "one that acknowledged and hangs is not bad before the limit",
        FIVE | {"ok": 4, "unsettled_acknowledged": 1},
        "collecting",
    ),
    (
        "all that acknowledged hang at the limit: undecided, not failed",
        FIVE | {"unsettled_acknowledged": 5} | AT_TIMEOUT,
        "undecided",
    ),
    (
        "those that hang count as answers: 2 good and 3 hanging are judged, and are too bad",
        FIVE | {"ok": 2, "unsettled_acknowledged": 3} | AT_TIMEOUT,
        "undecided",
    ),
    ("at the limit 17 of 18 answered are 90 %", TWENTY | {"ok": 17, "bad": 1} | AT_TIMEOUT, "passed"),
    (
        "at the limit 17 good and 2 bad of 19 answered are less than 90 %",
        TWENTY | {"ok": 17, "bad": 2} | AT_TIMEOUT,
        "undecided",
    ),
    (
        "at the limit 9 good of 10 answered are just 90 %",
        TWENTY | {"ok": 9, "unsettled_acknowledged": 1} | AT_TIMEOUT,
        "passed",
    ),
    ("what failed for good fails it at the limit, too", FIVE | {"ok": 3, "bad": 1} | AT_TIMEOUT, "failed"),
    ("going on at the limit soaks first", FIVE | {"ok": 3, "soak_ms": 1000} | AT_TIMEOUT, "soaking"),
    (
        "going on at the limit passes after the soak",
        FIVE | {"ok": 3, "soak_ms": 1000, "since_reached_ms": 1000} | AT_TIMEOUT,
        "passed",
    ),
    (
        "a place that falls free in the soak after the limit does not stop it",
        FIVE | {"ok": 3, "soak_ms": 1000, "sent": 10, "place_free": True} | AT_TIMEOUT,
        "soaking",
    ),
    # Replacements
    (
        "2N tried and a place free again is undecided",
        FIVE | {"ok": 3, "sent": 10, "place_free": True},
        "undecided",
    ),
    ("2N tried and all places taken collects", FIVE | {"ok": 3, "sent": 10}, "collecting"),
    (
        "one less than 2N tried and a place free collects",
        FIVE | {"ok": 3, "sent": 9, "place_free": True},
        "collecting",
    ),
    ("2N tried and good enough passes", FIVE | {"ok": 5, "sent": 10, "place_free": True}, "passed"),
    ("2N tried and failed fails", FIVE | {"bad": 1, "sent": 10, "place_free": True}, "failed"),
]


@pytest.mark.parametrize(("numbers", "state"), [row[1:] for row in CANARY], ids=[row[0] for row in CANARY])
def test_the_canary_verdict(numbers: dict[str, Any], state: str) -> None:
    assert canary(**numbers).state == state


CANARY_SENTENCES = [
    (
        FIVE | {"ok": 3},
        "Too early to judge the canary: 3 of 5 devices succeeded, 0 failed, 5 (90 %) must succeed.",
    ),
    (FIVE | {"ok": 5}, "Canary passed: 5 of 5 devices succeeded, 5 (90 %) had to."),
    (
        FIVE | {"ok": 5, "soak_ms": 720_000},
        "Canary good: 5 of 5 devices succeeded, 5 (90 %) had to; watched another 12 min.",
    ),
    (FIVE | {"bad": 1}, "Canary failed: 1 of 5 devices failed, 5 (90 %) can no longer succeed."),
    (FIVE | {"ok": 3} | AT_TIMEOUT, "Canary passed: after 1 h 3 of the 3 that answered had succeeded."),
    (
        FIVE | {"ok": 1} | AT_TIMEOUT,
        "Canary undecided: after 1 h 1 of 5 devices had answered, at least half must.",
    ),
    (
        FIVE | {"ok": 3, "unsettled_acknowledged": 1} | AT_TIMEOUT,
        "Canary undecided: after 1 h 3 of the 4 that answered had succeeded, 90 % had to.",
    ),
    (
        FIVE | {"ok": 3, "sent": 10, "place_free": True},
        "Canary undecided: 10 devices were tried for 5 places and 3 succeeded, 5 (90 %) had to.",
    ),
    (FIVE | {"size": 0}, "There is no device for the canary, so it cannot pass."),
]


@pytest.mark.parametrize(("numbers", "sentence"), CANARY_SENTENCES)
def test_the_canary_says_what_it_saw_and_what_it_wants(numbers: dict[str, Any], sentence: str) -> None:
    assert canary(**numbers).sentence == sentence


counts = st.integers(0, 30)


@st.composite
def canaries(draw: st.DrawFn) -> dict[str, Any]:
    """Any numbers a deployment can bring about: a place holds one device."""
    size = draw(counts)
    ok = draw(st.integers(0, size))
    bad = draw(st.integers(0, size - ok))
    return {
        "size": size,
        "success_pct": draw(st.integers(1, 100)),
        "ok": ok,
        "bad": bad,
        "unsettled_acknowledged": draw(st.integers(0, size - ok - bad)),
        "sent": draw(st.integers(ok + bad, 2 * size)),
        "place_free": draw(st.booleans()),
        "elapsed_ms": draw(st.integers(0, 200)),
        "timeout_ms": draw(st.integers(1, 200)),
        "soak_ms": draw(st.integers(0, 100)),
        "since_reached_ms": draw(st.none() | st.integers(0, 200)),
    }


@given(canaries())
def test_a_canary_that_passes_has_a_success_and_one_that_fails_a_failure(numbers: dict[str, Any]) -> None:
    state = canary(**numbers).state
    if state in ("passed", "soaking"):
        assert numbers["ok"] >= 1
        assert numbers["size"] >= 1
    if state == "failed":
        assert numbers["bad"] >= 1


@given(canaries())
def test_one_more_success_never_takes_a_pass_away(numbers: dict[str, Any]) -> None:
    better = numbers | {"ok": numbers["ok"] + 1}
    if canary(**numbers).state == "passed":
        assert canary(**better).state == "passed"


@given(canaries())
def test_one_more_failure_never_mends_a_canary(numbers: dict[str, Any]) -> None:
    worse = numbers | {"bad": numbers["bad"] + 1}
    before, after = canary(**numbers).state, canary(**worse).state
    if before == "failed":
        assert after == "failed"
    if after == "passed" and numbers["elapsed_ms"] < numbers["timeout_ms"]:
        assert before == "passed"


@given(canaries())
def test_before_the_limit_a_fast_pass_and_a_failure_exclude_each_other(numbers: dict[str, Any]) -> None:
    size, wanted = numbers["size"], numbers["success_pct"] * numbers["size"]
    early = numbers | {"elapsed_ms": 0, "soak_ms": 0, "place_free": False}
    good, hopeless = size > 0 and numbers["ok"] * 100 >= wanted, (size - numbers["bad"]) * 100 < wanted
    expected = "failed" if hopeless else "passed" if good else "collecting"
    assert not (good and hopeless)
    assert canary(**early).state == expected


@given(canaries())
def test_at_its_limit_a_canary_of_somebody_is_decided(numbers: dict[str, Any]) -> None:
    late = numbers | {"elapsed_ms": numbers["timeout_ms"]}
    assert numbers["size"] == 0 or canary(**late).state != "collecting"


FAILURES = [
    ("four finished are too few to judge", (0, 4, 20, 5, None), False),
    ("five finished, one failed is just 20 %", (4, 1, 20, 5, None), False),
    ("five finished, two failed is more than 20 %", (3, 2, 20, 5, None), True),
    ("21 of 100 is more than 20 %", (79, 21, 20, 5, None), True),
    ("20 of 100 is not more than 20 %", (80, 20, 20, 5, None), False),
    ("2,001 of 10,000 is more than 20 %", (7_999, 2_001, 20, 5, None), True),
    ("0 % stops at the first failure once there is a sample", (4, 1, 0, 5, None), True),
    ("0 % does not stop without a failure", (5, 0, 0, 5, None), False),
    ("100 % never stops", (0, 5, 100, 5, None), False),
    ("nothing finished stops nothing", (0, 0, 0, 1, None), False),
    ("a sample of one judges the first failure", (0, 1, 20, 1, None), True),
    ("one less than the highest number goes on", (100, 2, 20, 5, 3), False),
    ("the highest number stops whatever the share", (1_000, 3, 20, 5, 3), True),
    ("the highest number needs no sample", (0, 1, 20, 5, 1), True),
    ("without a highest number only the share counts", (1_000, 200, 20, 5, None), False),
]


@pytest.mark.parametrize(
    ("numbers", "tripped"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES]
)
def test_the_failure_limit(numbers: tuple[int, int, int, int, int | None], tripped: bool) -> None:
    ok, bad, failure_pct, min_sample, max_failures = numbers
    verdict = failure_limit(
        ok=ok, bad=bad, failure_pct=failure_pct, min_sample=min_sample, max_failures=max_failures
    )
    assert verdict.tripped is tripped


@pytest.mark.parametrize(
    ("ok", "bad", "max_failures", "sentence"),
    [
        (4_121, 218, None, "218 of 4,339 finished devices failed (5.0 %, limit 20 %)."),
        (2, 1, None, "1 of 3 finished devices failed (33.3 %, limit 20 %)."),
        (1, 1, None, "Too early to judge: 2 devices finished, 1 failed; judged from 3 on."),
        (1, 0, None, "Too early to judge: 1 device finished, 0 failed; judged from 3 on."),
        (0, 3, 2, "3 devices failed, the limit is 2."),
    ],
)
def test_the_failure_limit_says_its_numbers(
    ok: int, bad: int, max_failures: int | None, sentence: str
) -> None:
    verdict = failure_limit(ok=ok, bad=bad, failure_pct=20, min_sample=3, max_failures=max_failures)
    assert verdict.sentence == sentence


@given(
    ok=counts,
    bad=counts,
    failure_pct=st.integers(0, 100),
    min_sample=st.integers(1, 20),
    max_failures=st.none() | st.integers(1, 20),
)
def test_one_more_failure_never_unstops_a_rollout(
    ok: int, bad: int, failure_pct: int, min_sample: int, max_failures: int | None
) -> None:
    limits: dict[str, Any] = {
        "failure_pct": failure_pct,
        "min_sample": min_sample,
        "max_failures": max_failures,
    }
    if failure_limit(ok=ok, bad=bad, **limits).tripped:
        assert bad >= 1
        assert failure_limit(ok=ok, bad=bad + 1, **limits).tripped
