"""What the page of one deployment shows, gathered from the one source of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from deployments import gate, measures, summary, task_list
from deployments import window as windows
from deployments.eligibility import OBSERVED, REQUIRED, SERVER_ZONE
from deployments.headline import Headline, Situation, headline
from deployments.models import Deployment, DeploymentEvent
from deployments.options import DeploymentOptions
from deployments.retry import ERROR_CODES
from deployments.states import (
    GATE_STOPS,
    IN_FLIGHT,
    PEOPLE_GROUPS,
    REASONS,
    TERMINAL,
    DeploymentStatus,
    TaskStatus,
)

ROWS: Final = 50
EVENTS: Final = 20
GROUP_LABELS: Final = {
    "succeeded": "Succeeded",
    "in_progress": "In progress",
    "queued": "Queued",
    "failed": "Failed",
    "skipped": "Skipped",
}

# A final skip shows what was seen when it was decided, everything else what is known now.
_SEEN: Final = f"""SELECT t.id, d.serial, d.model,
    CASE WHEN t.status = 'skipped' AND t.finished_at IS NOT NULL THEN t.observed_at ELSE h.received_at END,
    CASE WHEN t.status = 'skipped' AND t.finished_at IS NOT NULL THEN t.observed ELSE {OBSERVED} END,
    CASE WHEN t.status = 'skipped' AND t.finished_at IS NOT NULL THEN t.required ELSE {REQUIRED} END
    FROM unnest(%(ids)s::bigint[], %(reasons)s::text[]) AS r(id, reason)
    JOIN deployment_task t ON t.id = r.id JOIN device d ON d.id = t.device_id
    LEFT JOIN heartbeat h ON h.device_id = d.id"""


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
    numbers = summary.numbers(deployment)
    options = DeploymentOptions.from_json(deployment.options)
    return {
        "deployment": deployment,
        "counts": numbers["counts"],
        "groups": groups(numbers["counts"]),
        "reasons": [row | words_of(row["reason"]) for row in numbers["reasons"]],
        "canary": numbers["canary"] | {"label": deployment.get_canary_state_display()},
        "failure": numbers["failure"] | {"sentence": _failure_sentence(options, numbers["failure"])},
        "options": options,
        "pace": _pace(deployment, options, numbers["counts"]),
        "target_words": target_words(deployment),
        "headline": said(deployment, numbers, options),
        "terminal": deployment.status in TERMINAL,
        "needs_reason": deployment.paused_reason in GATE_STOPS,
    }


def groups(counts: Mapping[str, int]) -> list[Group]:
    """The five groups in the order in which they are drawn; their sum is the total."""
    return [_group(name, statuses, counts) for name, statuses in PEOPLE_GROUPS.items()]


def _group(name: str, statuses: tuple[TaskStatus, ...], counts: Mapping[str, int]) -> Group:
    parts = [f"{counts[status]:,} {status.label.lower()}" for status in statuses if counts[status]]
    return Group(
        name=name,
        label=GROUP_LABELS[name],
        count=sum(counts[status] for status in statuses),
        statuses=",".join(statuses),
        parts=" · ".join(parts) if len(statuses) > 1 else "",
    )


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


def _pace(
    deployment: Deployment, options: DeploymentOptions, counts: Mapping[str, int]
) -> dict[str, int] | None:
    if deployment.status != DeploymentStatus.RUNNING:
        return None
    at_work = sum(counts[status] for status in IN_FLIGHT)  # not measured anew: one page, one number
    return {"sent": measures.measure_pace(deployment, options).sent_last_minute, "in_flight": at_work}


def said(deployment: Deployment, numbers: Mapping[str, Any], options: DeploymentOptions) -> Headline:
    by, because = _mover(deployment)
    return headline(
        Situation(
            status=deployment.status,
            paused_reason=deployment.paused_reason,
            planned=deployment.planned_at is not None,
            counts=numbers["counts"],
            canary=numbers["canary"],
            canary_pct=options.canary_success_pct,
            failure_sentence=_failure_sentence(options, numbers["failure"]),
            window=_shut(options, timezone.now()),
            by=by,
            because=because,
        )
    )


def _mover(deployment: Deployment) -> tuple[str, str]:
    """Who paused or canceled it, and what that person wrote."""
    if deployment.status not in (DeploymentStatus.PAUSED, DeploymentStatus.CANCELED):
        return "", ""
    moved = DeploymentEvent.objects.filter(
        deployment=deployment, device=None, meta__after=deployment.status
    ).order_by("-id")
    event = moved.first()
    if event is None:
        return "", ""
    return event.actor, str(event.meta.get("operator_reason") or deployment.killed_reason)


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
    filters = query.get("filters") or {}
    parts = [f"{kind.replace('_', ' ')} {_listed(value)}" for kind, value in filters.items()]
    if ids := query.get("device_ids"):
        parts.append(f"{len(ids):,} chosen by id")
    if ids := query.get("exclude_ids"):
        parts.append(f"without {len(ids):,}")
    return f"Selected devices: {'; '.join(parts)}"


def _listed(value: Any) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list) else f"“{value}”"


def devices(deployment: Deployment, wanted: task_list.Filter, page: int) -> dict[str, Any]:
    """One page of the device table: the rows of the task list, with the words and readings of each. Invalid."""
    found = task_list.page(
        deployment.pk,
        status=wanted.status,
        reason=wanted.reason,
        query=wanted.query,
        page=page,
        page_size=ROWS,
    )
    seen = _seen(deployment, found["items"])
    rows = [_row(item, seen[item["id"]]) for item in found["items"] if item["id"] in seen]
    pages = max(1, -(-found["count"] // ROWS))
    return {"rows": rows, "count": found["count"], "page": page, "pages": pages}


def _seen(deployment: Deployment, items: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Serial, model, last heartbeat, and what was observed and is required for each row's reason."""
    if not items:
        return {}
    params = summary.terms_of(deployment).params() | {
        "ids": [item["id"] for item in items],
        "reasons": [item["reason"] or "" for item in items],
    }
    names = ("serial", "model", "seen_at", "observed", "required")
    with connection.cursor() as cursor:
        cursor.execute(_SEEN, params)
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}


def _row(item: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    moments = ("next_run_at", "sent_at", "finished_at", "updated_at")
    read = {name: datetime.fromisoformat(item[name]) if item[name] else None for name in moments}
    return (
        item
        | seen
        | read
        | words_of(item["reason"])
        | {
            "label": TaskStatus(item["status"]).label,
            "group": next(name for name, of in PEOPLE_GROUPS.items() if item["status"] in of),
            "will_recheck": item["status"] == TaskStatus.SKIPPED and item["next_run_at"] is not None,
        }
    )


def timeline(deployment_id: int, *, everything: bool) -> list[DeploymentEvent]:
    """The latest events, newest first: of the deployment itself, or of its devices as well."""
    about = Q() if everything else Q(device=None)
    events = DeploymentEvent.objects.filter(about, deployment_id=deployment_id).select_related("device")
    return list(events.order_by("-id")[:EVENTS])
