"""From a target to rows: one INSERT … SELECT that classifies with the expression that everybody uses.

A dry run and a plan differ only in the table they fill. Planning happens under the deployment's lock in one
transaction: done or not done, never half.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from deployments import audit
from deployments.engine import eligibility
from deployments.engine.eligibility import NO_TASK, OBSERVED, REASON_OF_MANY, REQUIRED, Terms
from deployments.models import Deployment, DeploymentTarget, DryRunDevice
from deployments.rules import wording
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import ENDING, REASONS, CanaryState
from devices.selection import Target, resolve

_JUDGED: Final = f"""judged AS MATERIALIZED (
    SELECT d.id, ({eligibility.INSTALLED_CODE}) AS installed, {REASON_OF_MANY} AS reason
    FROM device d LEFT JOIN heartbeat h ON h.device_id = d.id CROSS JOIN {NO_TASK} t
    WHERE d.id IN ({{chosen}}))"""

_PLAN: Final = """WITH {judged},
planned AS (INSERT INTO deployment_task (deployment_id, device_id, status, reason, from_version_code,
        finished_at, phase, attempt, failures, agent_skips, last_error, error_code, post_install, is_canary)
    SELECT %(id)s, id, CASE WHEN reason = ANY(%(ending)s) THEN 'skipped' ELSE 'queued' END,
        CASE WHEN reason = ANY(%(ending)s) THEN reason ELSE '' END, installed,
        CASE WHEN reason = ANY(%(ending)s) THEN %(now)s END, '', 0, 0, 0, '', '', '', false
    FROM judged ORDER BY id
    RETURNING device_id, reason)
SELECT reason, count(*), CASE WHEN reason <> '' THEN array_agg(device_id ORDER BY device_id) END
FROM planned GROUP BY reason ORDER BY reason"""

_SENT_AND_NOT_DISPROVED: Final = f"""SELECT d.id FROM device d LEFT JOIN heartbeat h ON h.device_id = d.id
    WHERE d.id IN (SELECT device_id FROM deployment_attempt WHERE deployment_id = ANY(%(sent_by)s::bigint[])
        AND apk_version_id = %(bad_version)s) AND NOT {eligibility.DISPROVED}"""
_FAILED_OR_SKIPPED: Final = """SELECT device_id FROM deployment_task
    WHERE deployment_id = %(retry_of)s AND status IN ('failed', 'skipped')"""

_MOST_COMMON: Final = """SELECT v.id FROM deployment_task t
    JOIN apk_version v ON v.apk_id = %s AND v.version_code = t.from_version_code
    WHERE t.deployment_id = %s AND v.id <> %s
    GROUP BY v.id ORDER BY count(*) DESC, v.version_code DESC LIMIT 1"""

# A value that was never reported holds nobody back: the agent must check it.
_UNREPORTED: Final = """concat_ws(', ', CASE WHEN %(wifi_only)s AND h.network IS NULL THEN 'network' END,
    CASE WHEN %(min_battery)s > 0 AND h.battery IS NULL THEN 'battery' END,
    CASE WHEN %(charging_only)s AND h.charging IS NULL THEN 'charging' END,
    CASE WHEN h.free_storage_mb IS NULL THEN 'free storage' END,
    CASE WHEN %(require_doze_exempt)s AND h.doze_exempt IS NULL THEN 'battery saving' END)"""
_CLASSIFY: Final = f"""WITH {{judged}}
INSERT INTO dry_run_device (dry_run_id, device_id, classification, reason, observed, required)
SELECT %(id)s, d.id, CASE WHEN r.reason = ANY(%(ending)s) THEN 'excluded'
        WHEN r.reason = ANY(%(starting)s) THEN 'will_update' ELSE 'later' END,
    CASE WHEN r.reason = ANY(%(starting)s) THEN '' ELSE r.reason END,
    left(CASE WHEN r.reason <> ALL(%(starting)s) THEN COALESCE({OBSERVED}, '')
        WHEN {_UNREPORTED} <> '' THEN {_UNREPORTED} || ': not reported' ELSE '' END, 200),
    left(CASE WHEN r.reason <> ALL(%(starting)s) THEN COALESCE({REQUIRED}, '')
        WHEN {_UNREPORTED} <> '' THEN 'checked on the device' ELSE '' END, 200)
FROM judged r JOIN device d ON d.id = r.id LEFT JOIN heartbeat h ON h.device_id = d.id ORDER BY d.id"""

# These only wait for their turn.
STARTING: Final = ("awaiting_heartbeat", "rate_limit", "concurrency_limit", "group_limit", "canary_gate")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The devices of a target as SQL: a query for ids, and its parameters by name."""

    sql: str
    params: Mapping[str, Any]


def chosen_by(target: Target, package: str) -> Chosen:
    """Problem where the target is invalid (unknown ids)."""
    return _named(resolve(target, package).order_by().values("id").query)


def chosen_by_dry_run(dry_run_id: int) -> Chosen:
    """Exactly the devices of that dry run, whoever matches its target by now."""
    return _named(DryRunDevice.objects.filter(dry_run_id=dry_run_id).values("device_id").query)


def chosen_by_rollback(bad_version_id: int, package: str) -> Chosen:
    """Whom the bad version was ever sent to, by whichever deployment, and whose inventory since does not
    disprove it."""
    sent = Deployment.objects.filter(to_version_id=bad_version_id).values_list("id", flat=True)
    params = {"sent_by": list(sent), "bad_version": bad_version_id, "package": package}
    return Chosen(_SENT_AND_NOT_DISPROVED, params)


def chosen_by_retry(deployment_id: int) -> Chosen:
    """Devices of this deployment that failed or were skipped."""
    return Chosen(_FAILED_OR_SKIPPED, {"retry_of": deployment_id})


def _named(query: Any) -> Chosen:
    """Django writes positional parameters; ours have names."""
    sql, values = query.get_compiler(connection=connection).as_sql()
    names = [f"chosen_{index}" for index in range(len(values))]
    return Chosen(
        sql.replace("%%", "%%%%") % tuple(f"%({name})s" for name in names),
        dict(zip(names, values, strict=True)),
    )


def plan(deployment: Deployment, now: datetime) -> None:
    """Gives every device of the target its task. Under the lock; idempotent by `planned_at`."""
    options = DeploymentOptions.from_json(deployment.options)
    terms = Terms.of(deployment, options, now, closing=eligibility.closing(options, now))
    rows = _insert_tasks(deployment, terms)
    eligibility.keep_observed(deployment.pk, terms)
    counts = {reason or "to_update": count for reason, count, _ in rows}
    DeploymentTarget.objects.filter(deployment=deployment).update(resolved_count=sum(counts.values()))
    audit.record(
        deployment.pk, f"Planned for {wording.devices(sum(counts.values()))}", meta={"counts": counts}
    )
    for reason, count, devices in rows:
        if reason:
            text = f"{wording.devices(count)} excluded: {REASONS[reason].text}"
            meta = {"reason": reason, "before": None, "after": "ended", "devices": devices}
            audit.record(deployment.pk, text, meta=meta)
    changes = {
        "planned_at": now,
        "from_version_id": _from_version(deployment),
        "canary_state": CanaryState.COLLECTING if options.canary else CanaryState.NONE,
    }
    Deployment.objects.filter(pk=deployment.pk).update(**changes)
    for name, value in changes.items():
        setattr(deployment, name, value)


def _insert_tasks(deployment: Deployment, terms: Terms) -> list[tuple[str, int, list[int] | None]]:
    chosen = _chosen(deployment)
    sql = _PLAN.format(judged=_JUDGED.format(chosen=chosen.sql))
    params = terms.params() | {"id": deployment.pk, "ending": list(ENDING), **chosen.params}
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def _chosen(deployment: Deployment) -> Chosen:
    if deployment.retry_of_id is not None:
        return chosen_by_retry(deployment.retry_of_id)
    if deployment.bad_version_id is not None:
        return chosen_by_rollback(deployment.bad_version_id, deployment.apk.package_name)
    if deployment.dry_run_id is not None:
        return chosen_by_dry_run(deployment.dry_run_id)
    query = DeploymentTarget.objects.values_list("selection_query", flat=True).get(deployment=deployment)
    return chosen_by(Target.model_validate(query), deployment.apk.package_name)


def _from_version(deployment: Deployment) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(_MOST_COMMON, [deployment.apk_id, deployment.pk, deployment.to_version_id])
        row = cursor.fetchone()
    return int(row[0]) if row else None


def classify(dry_run_id: int, terms: Terms, chosen: Chosen) -> None:
    """Fills the dry run's devices."""
    params = terms.params() | {
        "id": dry_run_id,
        "ending": list(ENDING),
        "starting": list(STARTING),
        **chosen.params,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLASSIFY.format(judged=_JUDGED.format(chosen=chosen.sql)), params)
