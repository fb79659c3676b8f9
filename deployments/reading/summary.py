"""One deployment in numbers, from one query over its tasks, so that header, bar, reasons, table and CSV agree."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import Count
from django.utils import timezone

from apks.models import ApkVersion
from deployments.engine import eligibility, measures, spread
from deployments.engine.eligibility import REASON_OF_MANY, Terms, shown
from deployments.engine.measures import Measures
from deployments.models import Deployment, DeploymentTask, FleetSwitch
from deployments.operations import approval, rollback, way_back
from deployments.operations.way_back import WayBack
from deployments.reading import moment, shared_numbers
from deployments.reading.finding import find
from deployments.rules.headline import state_words
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import REASONS, DeploymentStatus, TaskStatus
from mdm.paging import Paging, page_at_once

_NUMBERS: Final = f"""SELECT status, ended, reason, count(*) FROM (
    SELECT t.status, t.finished_at IS NOT NULL AS ended, {shown(REASON_OF_MANY)} AS reason FROM deployment_task t
    JOIN device d ON d.id = t.device_id LEFT JOIN heartbeat h ON h.device_id = d.id
    WHERE t.deployment_id = %(id)s) tasks GROUP BY status, ended, reason"""
# What the pages show beyond the body of the API.
_OF_PAGES: Final = ("waiting", "ended", "moment", "way_back")


def summary(deployment_id: int) -> dict[str, Any]:
    """The body of `GET /v1/deployments/{id}`. The numbers are at most a second old and say so. NotFound."""
    deployment = find(deployment_id)
    counted = numbers(deployment)
    links = _links(deployment, counted["way_back"])
    return (
        header(deployment) | links | {name: value for name, value in counted.items() if name not in _OF_PAGES}
    )


def _links(deployment: Any, way: Mapping[str, Any]) -> dict[str, Any]:
    """`deployment`: as `find` has read it."""
    done_by = deployment.rolled_back_by
    why_not = rollback.why_not(deployment, way["why_not"] or "", done_by)
    return {
        "rollback": {**way, "offered": not why_not, "why_not": why_not or None},
        "rolled_back_by": done_by,
        "retried_by": deployment.retried_by,
    }


def header(deployment: Deployment) -> dict[str, Any]:
    """Everything that is no count."""
    return {
        "id": deployment.pk,
        "apk": {
            "id": deployment.apk_id,
            "package_name": deployment.apk.package_name,
            "display_name": deployment.apk.display_name,
        },
        "from_version": _version(deployment.from_version),
        "to_version": _version(deployment.to_version),
        "status": deployment.status,
        "paused_reason": deployment.paused_reason or None,
        "rollback_of": deployment.rollback_of_id,
        "created_by": deployment.created_by.get_username() if deployment.created_by else None,
        "created_at": _iso(deployment.created_at),
        "started_at": _iso(deployment.started_at),
        "finished_at": _iso(deployment.finished_at),
        "approved_by": deployment.approved_by.get_username() if deployment.approved_by else None,
        "approved_at": _iso(deployment.approved_at),
        "needs_approval": approval.is_missing(deployment),
        "killed_by": deployment.killed_by.get_username() if deployment.killed_by else None,
        "killed_reason": deployment.killed_reason or None,
        "feature_flag_snapshot": deployment.feature_flag_snapshot,
        "options": deployment.options,
        "target": {
            "scope": deployment.target.scope,
            "selection_query": deployment.target.selection_query,
            "resolved_count": deployment.target.resolved_count,
        },
        "retry_of": deployment.retry_of_id,
        "install_mode": deployment.install_mode,
    }


def state_of(deployment: Deployment) -> str:
    """The state in two or three words, as lists show it."""
    missing = deployment.status == DeploymentStatus.QUEUED and approval.is_missing(deployment)
    return state_words(deployment.status, deployment.paused_reason, needs_approval=missing)


def numbers(deployment: Deployment) -> dict[str, Any]:
    """Counts, reasons, canary and failure limit. A change of state is seen at once, the rest within a second.

    `waiting` and `ended` are the reasons again, told apart: of devices that may still be sent to (skipped ones
    that will be checked again among them), and of those that have ended. `moment`: deployments.reading.moment."""
    return shared_numbers.fresh(deployment, _count)


def keep_numbers_fresh() -> None:
    """Called several times a second: counts ahead for those who look."""
    shared_numbers.keep_fresh(_count)


def _count(deployment: Deployment) -> dict[str, Any]:
    now = timezone.now()
    options = DeploymentOptions.from_json(deployment.options)
    measured = measures.measure(deployment, options, always_ok=True)
    canary, failures = measured.canary, measured.failures
    rows = _rows(deployment, terms(deployment, options, measured, now))
    return {
        **_tally(rows),
        "canary": {
            "size": canary.size if options.canary else 0,
            "succeeded": canary.ok,
            "failed": canary.bad,
            "state": deployment.canary_state,
        },
        "failure": {
            "failed": failures.bad,
            "finished": failures.ok + failures.bad,
            "limit_pct": options.failure_pct,
        },
        "way_back": _way_back(deployment),
        "moment": moment.measure(deployment, measured.pace, now),
        "as_of": _iso(now),
    }


def _way_back(deployment: Deployment) -> Mapping[str, Any]:
    """Looks through all tasks, so it is counted with the numbers; whether it is offered is not."""
    if deployment.bad_version_id is not None:
        return way_back.shape(WayBack(), "")
    way = way_back.of_deployment(deployment)
    return way_back.shape(way, way.why_not)


def _rows(deployment: Deployment, measured: Terms) -> list[tuple[str, bool, str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_NUMBERS, measured.params() | {"id": deployment.pk})
        return list(cursor.fetchall())


def _tally(rows: Iterable[tuple[str, bool, str, int]]) -> dict[str, Any]:
    counts = dict.fromkeys(TaskStatus.values, 0)
    reasons, waiting, ended = Counter[str](), Counter[str](), Counter[str]()
    for status, final, reason, count in rows:
        counts[status] += count
        if reason:
            reasons[reason] += count
            (ended if final else waiting)[reason] += count
    return {
        "counts": counts | {"total": sum(counts.values())},
        "reasons": _in_order(reasons),
        "waiting": _in_order(waiting),
        "ended": _in_order(ended),
    }


def _in_order(counted: Counter[str]) -> list[dict[str, Any]]:
    """By precedence, error codes after the reasons."""
    known = [code for code in REASONS if code in counted]
    return [
        {"reason": reason, "count": counted[reason]}
        for reason in [*known, *sorted(set(counted) - set(known))]
    ]


def terms(deployment: Deployment, options: DeploymentOptions, measured: Measures, now: datetime) -> Terms:
    """What the tasks are measured against for people to see: with what holds the deployment as a whole."""
    running = deployment.status == DeploymentStatus.RUNNING
    return Terms.of(
        deployment,
        options,
        now,
        closing=eligibility.closing(options, now, deployment.pk),
        held=_held(deployment),
        canary_closed=measures.canary_gate_shut(deployment, measured.canary),
        pace=(measured.pace.room.limited_by or "") if running else "",
        full_groups=spread.places(options).full,
    )


def _held(deployment: Deployment) -> str:
    """The switch itself while it is on; once it is off, deployments that it stopped are merely paused."""
    if deployment.status != DeploymentStatus.PAUSED:
        return "needs_approval" if approval.is_missing(deployment) else ""
    return "kill_switch" if FleetSwitch.objects.get().kill_switch else "paused"


def terms_of(deployment: Deployment) -> Terms:
    options = DeploymentOptions.from_json(deployment.options)
    return terms(deployment, options, measures.measure(deployment, options), timezone.now())


def deployments_page(status: str, package: str, paging: Paging) -> dict[str, Any]:
    """Newest first, each with its header and its counts by status."""
    related = ("apk", "to_version__apk", "from_version", "created_by", "killed_by", "approved_by", "target")
    found = Deployment.objects.select_related(*related).order_by("-id")
    if status:
        found = found.filter(status=status)
    if package:
        found = found.filter(apk__package_name=package)
    return page_at_once(found, paging, _listed, newest_first=True)


def _listed(deployments: list[Deployment]) -> list[dict[str, Any]]:
    counts = counts_by_status([deployment.pk for deployment in deployments])
    return [
        header(deployment) | {"rollback": _listed_rollback(deployment), "counts": counts[deployment.pk]}
        for deployment in deployments
    ]


def _listed_rollback(deployment: Deployment) -> Mapping[str, Any]:
    """Looked for only where a gate has tripped, which is rare: a list of fifty must stay cheap."""
    if deployment.gate_tripped_at is None:
        return way_back.shape(WayBack(), rollback.NOT_TRIPPED)
    found = rollback.offer(deployment)
    return way_back.shape(found.way, found.why_not)


def counts_by_status(deployment_ids: list[int]) -> dict[int, dict[str, int]]:
    counts = {pk: dict.fromkeys(TaskStatus.values, 0) for pk in deployment_ids}
    rows = DeploymentTask.objects.filter(deployment_id__in=deployment_ids).values_list(
        "deployment_id", "status"
    )
    for pk, status, count in rows.annotate(count=Count("id")).order_by():
        counts[pk][status] = count
    return {pk: of | {"total": sum(of.values())} for pk, of in counts.items()}


def _version(version: ApkVersion | None) -> Mapping[str, Any] | None:
    if version is None:
        return None
    return {
        "id": version.pk,
        "version_name": version.version_name,
        "version_code": version.version_code,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
