"""The verdicts that let a rollout go on or stop it: canary and failure limit, out of integers alone.

`ok` counts devices that succeeded, `bad` those that failed after they had acknowledged the command; silence
is neither. Shares are compared crosswise, so that no rounding decides.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from deployments.rules import wording

# So many devices may be tried for each place.
CANARY_TRIES: Final = 2

CanaryState: TypeAlias = Literal["collecting", "soaking", "passed", "failed", "undecided"]


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """`soaking`: good enough, watched a while longer; the first time it is seen starts the soak."""

    state: CanaryState
    sentence: str


@dataclass(frozen=True, slots=True)
class FailureVerdict:
    tripped: bool
    sentence: str


def canary(
    *,
    size: int,
    success_pct: int,
    ok: int,
    bad: int,
    unsettled_acknowledged: int,
    sent: int,
    place_free: bool,
    elapsed_ms: int,
    timeout_ms: int,
    soak_ms: int,
    since_reached_ms: int | None,
) -> CanaryVerdict:
    """The canary's verdict; the first that applies: failed, soaking or passed, undecided, collecting.

    size: its places, fewer than asked for where fewer devices exist; a canary of nobody never passes.
    success_pct: 1 to 100. bad: failed for good, retries spent. unsettled_acknowledged: took the command and
    neither succeeded nor failed for good. sent: devices ever sent to. place_free: a place waits for a device.
    elapsed_ms: since the first send, counted while running with the window open; 0 before.
    since_reached_ms: since the verdict was first soaking; None before.
    """
    if size == 0:
        return CanaryVerdict("collecting", "There is no device for the canary, so it cannot pass.")
    needed = f"{-(-success_pct * size // 100):,} ({success_pct} %)"
    soak_left_ms = soak_ms - (since_reached_ms or 0)
    if (size - bad) * 100 < success_pct * size:
        return CanaryVerdict(
            "failed",
            f"Canary failed: {bad:,} of {wording.devices(size)} failed, {needed} can no longer succeed.",
        )
    if ok * 100 >= success_pct * size:
        return _good(f"{ok:,} of {wording.devices(size)} succeeded, {needed} had to", soak_left_ms)
    if elapsed_ms >= timeout_ms:
        return _by_answers(
            size=size,
            success_pct=success_pct,
            ok=ok,
            answered=ok + bad + unsettled_acknowledged,
            when=f"after {wording.span(timeout_ms / 1000)}",
            soak_left_ms=soak_left_ms,
        )
    if place_free and sent >= CANARY_TRIES * size:
        tried = (
            f"{wording.devices(sent)} were tried for {size:,} places and {ok:,} succeeded, {needed} had to"
        )
        return CanaryVerdict("undecided", f"Canary undecided: {tried}.")
    return _too_early(f"{ok:,} of {wording.devices(size)} succeeded, {bad:,} failed, {needed} must succeed")


def _too_early(so_far: str) -> CanaryVerdict:
    return CanaryVerdict("collecting", f"Too early to judge the canary: {so_far}.")


def _by_answers(
    *, size: int, success_pct: int, ok: int, answered: int, when: str, soak_left_ms: int
) -> CanaryVerdict:
    """At the time limit; `answered` holds those that acknowledged and have not succeeded, bad by now."""
    if answered == 0 or 2 * answered < size:
        few = f"{when} {answered:,} of {wording.devices(size)} had answered, at least half must"
        return CanaryVerdict("undecided", f"Canary undecided: {few}.")
    share = f"{when} {ok:,} of the {answered:,} that answered had succeeded"
    if ok * 100 < success_pct * answered:
        return CanaryVerdict("undecided", f"Canary undecided: {share}, {success_pct} % had to.")
    return _good(share, soak_left_ms)


def _good(why: str, soak_left_ms: int) -> CanaryVerdict:
    if soak_left_ms > 0:
        return CanaryVerdict(
            "soaking", f"Canary good: {why}; watched another {wording.span(soak_left_ms / 1000)}."
        )
    return CanaryVerdict("passed", f"Canary passed: {why}.")


def failure_limit(
    *, ok: int, bad: int, failure_pct: int, min_sample: int, max_failures: int | None
) -> FailureVerdict:
    """Whether the rollout must stop.

    `bad` counts as well who waits for a retry (see retry.counts_as_bad_while_waiting); failure_pct 0 to 100;
    min_sample at least 1; max_failures None = no such limit.
    """
    finished = ok + bad
    if max_failures is not None and bad >= max_failures:
        return FailureVerdict(True, f"{wording.devices(bad)} failed, the limit is {max_failures:,}.")
    if finished < min_sample:
        early = f"{wording.devices(finished)} finished, {bad:,} failed; judged from {min_sample:,} on"
        return FailureVerdict(False, f"Too early to judge: {early}.")
    share = f"{_percent(bad, finished)} %, limit {failure_pct} %"
    text = f"{bad:,} of {finished:,} finished devices failed ({share})."
    return FailureVerdict(bad * 100 > failure_pct * finished, text)


def _percent(part: int, total: int) -> str:
    tenths = (part * 2000 + total) // (2 * total)
    return f"{tenths // 10}.{tenths % 10}"
