"""What moves on the page of one deployment, gathered from the one source of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils import timezone

from deployments.engine.eligibility import SERVER_ZONE
from deployments.models import Deployment
from deployments.operations import approval
from deployments.reading import summary
from deployments.rules import gate, outlook, stages
from deployments.rules import window as windows
from deployments.rules.headline import Situation, headline
from deployments.rules.options import DeploymentOptions
from deployments.rules.retry import ERROR_CODES
from deployments.rules.states import (
    GATE_STOPS,
    PEOPLE_GROUPS,
    REASONS,
    TERMINAL,
    CanaryState,
    DeploymentStatus,
    TaskStatus,
)

GROUP_LABELS: Final = {
    "succeeded": "Succeeded",
    "in_progress": "In progress",
    "queued": "Queued",
    "failed": "Failed",
    "skipped": "Skipped",
}


@dataclass(frozen=True, slots=True)
class Group:
    """One of the five groups for people: `parts` are its statuses with a count above nothing."""

    name: str
    label: str
    count: int
    statuses: str
    parts: str


def live(deployment: Deployment) -> dict[str, Any]:
    """Everything that moves: state, numbers, reasons, gates. The same for page and refresh."""
    now = timezone.now()
    numbers = summary.numbers(deployment)
    options = DeploymentOptions.from_json(deployment.options)
    moment = numbers["moment"]
    situation = _situation(deployment, numbers, options, now)
    return {
        "deployment": deployment,
        "numbers": numbers,
        "counts": numbers["counts"],
        "groups": groups(numbers["counts"], situation.again),
        "waiting_count": sum(row["count"] for row in numbers["waiting"]),
        "waiting": [row | words_of(row["reason"]) for row in numbers["waiting"]],
        "ended": [row | words_of(row["reason"]) for row in numbers["ended"]],
        "way_back": numbers["way_back"],
        "reasons": [row | words_of(row["reason"]) for row in numbers["reasons"]],
        "canary": numbers["canary"] | {"label": deployment.get_canary_state_display()},
        "failure": numbers["failure"] | {"sentence": _failure_sentence(options, numbers["failure"])},
        "options": options,
        "at_work": situation.of(*PEOPLE_GROUPS["in_progress"]),
        "moment": moment,
        "headline": headline(situation),
        "stages": stages.stages(situation, _clock(deployment, options, now)),
        "next_step": stages.next_step(situation),
        "outlook": outlook.sentence(
            now, situation, outlook.Expectation(options, moment["median_install_sec"], SERVER_ZONE)
        ),
        "running": deployment.status == DeploymentStatus.RUNNING,
        "terminal": deployment.status in TERMINAL,
        "needs_approval": situation.needs_approval,
        "overriding": deployment.paused_reason in GATE_STOPS,
    }


def groups(counts: Mapping[str, int], again: int = 0) -> list[Group]:
    """The five groups in the order in which they are drawn; their sum is the total. `again`: skipped, not final."""
    return [_group(name, statuses, counts, again) for name, statuses in PEOPLE_GROUPS.items()]


def _group(name: str, statuses: tuple[TaskStatus, ...], counts: Mapping[str, int], again: int) -> Group:
    label, total = GROUP_LABELS[name], sum(counts[status] for status in statuses)
    told = {status.label.lower(): counts[status] for status in statuses}
    if name == "skipped":
        told = {"will be checked again": again, "final": total - again}
    # "107 queued" below "107 Queued" would tell nothing.
    own = (label.lower(), total)
    parts = [f"{count:,} {words}" for words, count in told.items() if count and (words, count) != own]
    return Group(name=name, label=label, count=total, statuses=",".join(statuses), parts=" · ".join(parts))


def words_of(reason: str | None) -> dict[str, str]:
    """A reason or error code in words, with what would change it."""
    if known := REASONS.get(reason or ""):
        return {"text": known.text, "help": known.help}
    if code := ERROR_CODES.get(reason or ""):
        return {"text": code.label, "help": f"{code.meaning} {code.advice}"}
    return {"text": reason or "", "help": ""}


def _failure_sentence(options: DeploymentOptions, failure: Mapping[str, int]) -> str:
    return gate.failure_limit(
        ok=failure["finished"] - failure["failed"],
        bad=failure["failed"],
        failure_pct=options.failure_pct,
        min_sample=options.failure_min_sample,
        max_failures=options.max_failures,
    ).sentence


def _situation(
    deployment: Deployment,
    numbers: Mapping[str, Any],
    options: DeploymentOptions,
    now: datetime,
) -> Situation:
    final_skips = sum(row["count"] for row in numbers["ended"]) - numbers["counts"]["failed"]
    return Situation(
        status=deployment.status,
        paused_reason=deployment.paused_reason,
        planned=deployment.planned_at is not None,
        counts=numbers["counts"],
        canary=numbers["canary"],
        canary_pct=options.canary_success_pct,
        failure_sentence=_failure_sentence(options, numbers["failure"]),
        window=_shut(options, now),
        by=numbers["moment"]["by"],
        because=numbers["moment"]["because"],
        needs_approval=approval.is_missing(deployment),
        released=numbers["moment"]["released"],
        again=numbers["counts"]["skipped"] - final_skips,
    )


def _clock(deployment: Deployment, options: DeploymentOptions, now: datetime) -> stages.Clock:
    """What is left of the canary's waits, as far as they run."""
    if deployment.status != DeploymentStatus.RUNNING or deployment.canary_state != CanaryState.COLLECTING:
        return stages.Clock()
    if reached := deployment.canary_reached_at:
        return stages.Clock(soak_left=options.canary_soak_min * 60 - (now - reached).total_seconds())
    if deployment.canary_clock_at is None:
        return stages.Clock()
    return stages.Clock(canary_left=options.canary_timeout_min * 60 - deployment.canary_elapsed_ms / 1000)


def _shut(options: DeploymentOptions, now: datetime) -> str:
    window = options.maintenance_window()
    zoned = isinstance(window, windows.Recurring) and window.zone is None
    if window is None or zoned or windows.is_open(window, now, SERVER_ZONE):
        return ""
    return windows.describe(window, now, SERVER_ZONE)


def target_words(deployment: Deployment) -> str:
    target = deployment.target
    if target.scope == "fleet":
        return "Entire fleet"
    query = target.selection_query
    if "rollback_of" in query:
        return f"Devices that got {deployment.bad_version}, or may have it"
    if "retry_of" in query:
        return f"Failed and skipped devices of deployment #{query['retry_of']}"
    filters = query.get("filters") or {}
    parts = [f"{kind.replace('_', ' ')} {_listed(value)}" for kind, value in filters.items()]
    if ids := query.get("device_ids"):
        parts.append(f"{len(ids):,} chosen by id")
    if ids := query.get("exclude_ids"):
        parts.append(f"without {len(ids):,}")
    return f"Selected devices: {'; '.join(parts)}"


def _listed(value: Any) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list) else f"“{value}”"
