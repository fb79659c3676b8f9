"""The way of a deployment in stages, with where it stands and how long the present wait lasts. Pure."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from deployments.rules import wording
from deployments.rules.headline import Situation
from deployments.rules.states import GATE_STOPS, WAITING, CanaryState, DeploymentStatus, PausedReason

Mark: TypeAlias = Literal["done", "now", "held", "ahead", "failed"]


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds left of the canary's time limit and of its soak; None while they do not run."""

    canary_left: float | None = None
    soak_left: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    mark: Mark
    words: str


def stages(now: Situation, clock: Clock) -> list[Stage]:
    """Planning, canary where there is one, rollout, end."""
    found = [_planning(now)]
    if now.canary["state"] != CanaryState.NONE:
        found.append(_canary(now, clock))
    return [*found, _rollout(now), _end(now)]


def _planning(now: Situation) -> Stage:
    if not now.planned:
        return Stage("Planning", _current(now), "working out the devices")
    return Stage("Planning", "done", wording.devices(now.counts["total"]))


def _canary(now: Situation, clock: Clock) -> Stage:
    state, size = now.canary["state"], now.canary["size"]
    good = f"{now.canary['succeeded']:,} of {wording.devices(size)} good"
    if state == CanaryState.PASSED:
        return Stage("Canary", "done", f"passed, {good}")
    if state == CanaryState.OVERRIDDEN:
        return Stage("Canary", "done", f"overridden by a person, {good}")
    if state in (CanaryState.FAILED, CanaryState.UNDECIDED):
        return Stage("Canary", "failed", f"{CanaryState(state).label.lower()}, {good}")
    mark = _current(now) if now.planned else "ahead"
    return Stage("Canary", mark, good + _left(clock))


def _left(clock: Clock) -> str:
    if clock.soak_left is not None:
        return f", watched another {_minutes(clock.soak_left)}"
    return "" if clock.canary_left is None else f", judged in {_minutes(clock.canary_left)} at the latest"


def _minutes(seconds: float) -> str:
    """Full minutes, so that a page does not change with every look."""
    return wording.span(-(-max(seconds, 1) // 60) * 60)


def _rollout(now: Situation) -> Stage:
    open_ = now.canary["state"] in (CanaryState.NONE, CanaryState.PASSED, CanaryState.OVERRIDDEN)
    done = now.of("succeeded", "failed")
    words = f"{done:,} of {wording.devices(now.counts['total'])} finished"
    if not (open_ and now.planned):
        return Stage("Rollout", "ahead", "after the canary" if now.planned else "after planning")
    if now.status == DeploymentStatus.COMPLETE:
        return Stage("Rollout", "done", words)
    if now.status in (DeploymentStatus.CANCELED, DeploymentStatus.FAILED):
        return Stage("Rollout", "failed", words)
    if now.window and now.of(*WAITING):
        words = "waits for the maintenance window"
    return Stage("Rollout", _current(now), words)


def _current(now: Situation) -> Mark:
    """A stage at work, unless it is held up."""
    if now.status in (DeploymentStatus.CANCELED, DeploymentStatus.FAILED):
        return "failed"
    return "held" if now.status == DeploymentStatus.PAUSED or now.window or now.needs_approval else "now"


def _end(now: Situation) -> Stage:
    if now.status == DeploymentStatus.COMPLETE:
        failed = now.counts["failed"]
        return Stage("End", "done", f"complete, {failed:,} failed" if failed else "complete")
    if now.status in (DeploymentStatus.CANCELED, DeploymentStatus.FAILED):
        return Stage("End", "failed", DeploymentStatus(now.status).label.lower())
    return Stage("End", "ahead", "every device finished or skipped")


def next_step(now: Situation) -> str:
    """What happens next by itself, or what a person can do."""
    if now.status == DeploymentStatus.PAUSED:
        return _when_paused(PausedReason(now.paused_reason), released=now.released)
    if now.needs_approval:
        return "A fleet admin who did not start it approves it, or it is canceled."
    if now.status != DeploymentStatus.RUNNING:
        return "" if now.status == DeploymentStatus.QUEUED else "Nothing more happens by itself."
    if now.canary["state"] == CanaryState.COLLECTING:
        return "When the canary passes, the others follow by themselves; if it fails, the rollout stops."
    return "It stops by itself when the limit is passed."


def _when_paused(reason: PausedReason, *, released: bool) -> str:
    if reason == PausedReason.VERSION_WITHDRAWN:
        return "Cancel it: the version will not come back."
    if reason == PausedReason.NOT_MANAGED:
        return "Put the package back on the allowlist and resume, or cancel."
    if reason in (PausedReason.KILL_SWITCH, PausedReason.FLAG_OFF) and not released:
        return "Once the switch is set back, resume it, or cancel."
    if reason not in GATE_STOPS:
        return "Resume or cancel."
    return "Look at the failures; then cancel, or resume with a reason."
