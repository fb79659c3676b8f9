"""The first sentence of a deployment's page: its state, the cause, the number and the limit. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deployments.rules.states import IN_FLIGHT, WAITING, CanaryState, DeploymentStatus, PausedReason
from deployments.rules.wording import devices


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a deployment when its headline is said.

    counts: tasks by status, and `total`. canary, failure: as in the summary. canary_pct: its success share.
    failure_sentence: the failure limit's own words. window: a sentence while the window is shut, else "".
    by, because: who moved it into this state and what that person wrote, where there was one.
    again: skipped devices that will be checked again.
    needs_approval: only another person's approval is missing.
    released: what stopped it, the kill switch or the flag, stands as before again.
    """

    status: str
    paused_reason: str
    planned: bool
    counts: Mapping[str, int]
    canary: Mapping[str, Any]
    canary_pct: int
    failure_sentence: str
    window: str
    by: str = ""
    because: str = ""
    again: int = 0
    needs_approval: bool = False
    released: bool = False

    def of(self, *statuses: str) -> int:
        return sum(self.counts[status] for status in statuses)


@dataclass(frozen=True, slots=True)
class Headline:
    """`state` stands in the badge, `sentence` beside it."""

    state: str
    sentence: str


_HELD: Final = {
    PausedReason.CANARY_FAILED: "Held: canary failed",
    PausedReason.CANARY_UNDECIDED: "Held: canary undecided",
    PausedReason.FAILURE_RATE: "Held: failure limit",
    PausedReason.KILL_SWITCH: "Stopped: kill switch",
    PausedReason.FLAG_OFF: "Stopped: deployments switched off",
    PausedReason.VERSION_WITHDRAWN: "Stopped: version withdrawn",
    PausedReason.NOT_MANAGED: "Stopped: package not managed",
    PausedReason.OPERATOR: "Paused",
}


def state_words(status: str, paused_reason: str, *, needs_approval: bool = False) -> str:
    """The state in two or three words, as lists show it."""
    if status == DeploymentStatus.QUEUED and needs_approval:
        return "Needs approval"
    if status == DeploymentStatus.PAUSED:
        return _HELD[PausedReason(paused_reason)]
    return DeploymentStatus(status).label


def headline(now: Situation) -> Headline:
    words = state_words(now.status, now.paused_reason, needs_approval=now.needs_approval)
    return Headline(words, _SENTENCES[DeploymentStatus(now.status)](now))


def _queued(now: Situation) -> str:
    if not now.planned:
        return "The devices are being worked out; nothing was sent yet."
    if now.needs_approval:
        return f"Planned for {devices(now.counts['total'])}. Nothing is sent before another person approves."
    return f"Planned for {devices(now.counts['total'])}; the first are sent to within seconds."


def _running(now: Situation) -> str:
    if now.window:
        return f"Nothing is sent outside the maintenance window. {now.window}"
    if now.canary["state"] == CanaryState.COLLECTING:
        rest = now.counts["total"] - now.canary["size"]
        after = f" before the other {rest:,} follow" if rest > 0 else ""
        return f"Canary first: {_canary(now)}; {now.canary_pct} % must succeed{after}."
    at_work, waiting = now.of(*IN_FLIGHT), now.of(*WAITING)
    again = f", {now.again:,} to be checked again" if now.again else ""
    return (
        f"{now.counts['succeeded']:,} of {devices(now.counts['total'])} succeeded, {at_work:,} at work,"
        f" {waiting:,} waiting{again}. {now.failure_sentence}"
    )


def _paused(now: Situation) -> str:
    return _PAUSES[PausedReason(now.paused_reason)](now)


def _by_a_person(now: Situation) -> str:
    at_work = now.of(*IN_FLIGHT)
    finish = f" {devices(at_work)} at work will finish." if at_work else ""
    then = " It still needs another person's approval." if now.needs_approval else ""
    return f"Paused{_who(now)}. Nothing new is sent.{finish}{then}"


def _canary_failed(now: Situation) -> str:
    return (
        f"{_canary(now)}; {now.canary_pct} % had to succeed. Nobody else is sent to until a person decides."
    )


def _canary_undecided(now: Situation) -> str:
    return f"Too few of the canary answered: {_canary(now)}. Nobody else is sent to until a person decides."


def _failure_rate(now: Situation) -> str:
    return f"{now.failure_sentence} Nobody else is sent to until a person decides."


def _kill_switch(now: Situation) -> str:
    stopped = f"All rollouts were stopped{_who(now)}."
    if now.released:
        return f"{stopped} The kill switch is off again; this one stays paused until a person resumes it."
    return f"{stopped} Agents that ask before they install are told to stop."


def _flag_off(now: Situation) -> str:
    off = f"Deployments were switched off{_who(now)}."
    if now.released:
        return f"{off} They are on again; this one stays paused until a person resumes it."
    return f"{off} Nothing new is sent."


def _withdrawn(now: Situation) -> str:
    return f"The version was withdrawn{_who(now)}. It cannot go on: cancel it."


def _not_managed(now: Situation) -> str:
    return f"The package was taken off the allowlist{_who(now)}. Put it back there to go on, or cancel."


def _complete(now: Situation) -> str:
    return f"Everything has ended: {_results(now)}."


def _canceled(now: Situation) -> str:
    return f"Canceled for good{_who(now)}: {_results(now)}."


def _failed(now: Situation) -> str:
    if now.counts["skipped"] == now.counts["total"]:
        return f"It could not be carried out: {_nobody_of(now.counts['total'])} could take the version."
    return f"It could not be carried out: {_results(now)}, and the canary never passed."


_PAUSES: Final[dict[PausedReason, Callable[[Situation], str]]] = {
    PausedReason.OPERATOR: _by_a_person,
    PausedReason.CANARY_FAILED: _canary_failed,
    PausedReason.CANARY_UNDECIDED: _canary_undecided,
    PausedReason.FAILURE_RATE: _failure_rate,
    PausedReason.KILL_SWITCH: _kill_switch,
    PausedReason.FLAG_OFF: _flag_off,
    PausedReason.VERSION_WITHDRAWN: _withdrawn,
    PausedReason.NOT_MANAGED: _not_managed,
}
_SENTENCES: Final[dict[DeploymentStatus, Callable[[Situation], str]]] = {
    DeploymentStatus.QUEUED: _queued,
    DeploymentStatus.RUNNING: _running,
    DeploymentStatus.PAUSED: _paused,
    DeploymentStatus.CANCELED: _canceled,
    DeploymentStatus.COMPLETE: _complete,
    DeploymentStatus.FAILED: _failed,
}


def _canary(now: Situation) -> str:
    canary = now.canary
    return f"{canary['succeeded']:,} of {devices(canary['size'])} succeeded, {canary['failed']:,} failed"


def _results(now: Situation) -> str:
    counts = now.counts
    return (
        f"{counts['succeeded']:,} of {devices(counts['total'])} succeeded, {counts['failed']:,} failed,"
        f" {counts['skipped']:,} skipped"
    )


def _nobody_of(count: int) -> str:
    return "no device" if count < 2 else f"none of {devices(count)}"


def _who(now: Situation) -> str:
    by = f" by {now.by.removeprefix('user:')}" if now.by else ""
    return f"{by} (“{now.because}”)" if now.because else by
