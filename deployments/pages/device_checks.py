"""Everything that is asked of one device of a deployment, passed or failed, as its drawer shows it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from django.db import connection

from deployments.engine.eligibility import BUDGET_OF_ONE, CONDITIONS, OBSERVED, OTHER_OF_ONE, REQUIRED, Terms
from deployments.models import DeploymentTask
from deployments.reading import summary
from deployments.rules.states import REASONS

Verdict: TypeAlias = Literal["passed", "failed", "not reported", "not asked"]

# What is checked, as a person would ask it, and whose word it is: a reading of the last heartbeat has an age.
QUESTIONS: Final[dict[str, tuple[str, bool]]] = {
    "device_retired": ("Device in use by the fleet", False),
    "not_affected": ("Has the version that is taken back", True),
    "already_installed": ("Not on this version yet", True),
    "newer_installed": ("No newer version installed", True),
    "sdk_too_old": ("Android new enough", False),
    "abi_unsupported": ("Processor supported", False),
    "agent_too_old": ("Agent new enough", False),
    "signer_mismatch": ("Same signer", True),
    "window_over": ("Maintenance window not over", False),
    "retry_budget_spent": ("Attempts left", False),
    "held": ("Deployment not held", False),
    "device_hold": ("Device not held by a person", False),
    "canary_gate": ("Canary gate", False),
    "in_other_deployment": ("Not at work for another deployment", False),
    "outside_window": ("Maintenance window open", False),
    "backoff": ("No retry to wait for", False),
    "offline": ("Seen lately", True),
    "no_wifi": ("Wi-Fi or Ethernet", True),
    "metered_network": ("Unmetered network", True),
    "battery_low": ("Battery", True),
    "not_charging": ("Charging", True),
    "low_storage": ("Free storage", True),
    "doze_restricted": ("Exempt from battery saving", True),
    "in_call": ("Not in a call", True),
    "in_use": ("Not in use", True),
    "said_by_agent": ("Heard of since it was skipped", False),
    "pace": ("Room within rate and concurrency", False),
    "group_limit": ("Room in its groups", False),
}
_YES_OR_NO: Final = "CASE {} WHEN true THEN '{}' WHEN false THEN '{}' END"
# Beyond what a missed condition shows: what was seen where it is met.
_MORE_OBSERVED: Final = f"""CASE r.reason
    WHEN 'not_charging' THEN {_YES_OR_NO.format("h.charging", "charging", "not charging")}
    WHEN 'metered_network' THEN {_YES_OR_NO.format("h.metered", "metered", "unmetered")}
    WHEN 'doze_restricted' THEN {_YES_OR_NO.format("h.doze_exempt", "exempt", "not exempt")}
    WHEN 'in_call' THEN {_YES_OR_NO.format("h.in_call", "in a call", "no call")}
    WHEN 'in_use' THEN {_YES_OR_NO.format("h.in_use", "in use", "not in use")}
    WHEN 'abi_unsupported' THEN NULLIF(array_to_string(d.abis, ', '), '')
    ELSE {OBSERVED} END"""
_FAILED: Final = " ".join(
    f"WHEN '{name}' THEN {when.format(budget=BUDGET_OF_ONE, other=OTHER_OF_ONE)}"
    for name, when in CONDITIONS.items()
)
_CHECKS: Final = f"""SELECT r.reason, CASE r.reason {_FAILED} END, {_MORE_OBSERVED}, {REQUIRED}, h.received_at
    FROM unnest(%(names)s::text[]) WITH ORDINALITY AS r(reason, place)
    CROSS JOIN deployment_task t JOIN device d ON d.id = t.device_id
    LEFT JOIN heartbeat h ON h.device_id = d.id WHERE t.id = %(task_id)s ORDER BY r.place"""


@dataclass(frozen=True, slots=True)
class Check:
    """One question. `as_of`: when the device said what was observed; None where the server knows it itself.
    `is_old`: longer ago than a device may be silent."""

    question: str
    verdict: Verdict
    observed: str
    required: str
    as_of: datetime | None
    is_old: bool


def checks(task: DeploymentTask) -> list[Check]:
    """In the order in which they decide; nothing is asked of a device at work or done."""
    if task.finished_at is not None or task.in_flight_until is not None:
        return []
    terms = summary.terms_of(task.deployment)
    with connection.cursor() as cursor:
        cursor.execute(_CHECKS, terms.params() | {"names": list(CONDITIONS), "task_id": task.pk})
        return [_check(row, task, terms) for row in cursor.fetchall()]


def _check(row: tuple[Any, ...], task: DeploymentTask, terms: Terms) -> Check:
    name, failed, observed, required, received_at = row
    question, of_device = QUESTIONS[name]
    if failed and (given := _given(name, task, terms)):
        observed = REASONS[given].text if given in REASONS else given
    as_of = received_at if of_device else None
    return Check(
        question=question,
        verdict=_verdict(name in _unasked(terms), bool(failed), of_device and observed is None),
        observed=observed or "",
        required=required or "",
        as_of=as_of,
        is_old=as_of is not None and as_of < terms.online_since,
    )


def _verdict(unasked: bool, failed: bool, unknown: bool) -> Verdict:
    if unasked:
        return "not asked"
    return "failed" if failed else "not reported" if unknown else "passed"


def _unasked(terms: Terms) -> set[str]:
    options = terms.options
    wanted = {
        "no_wifi": options.wifi_only,
        "metered_network": options.wifi_only,
        "battery_low": options.min_battery > 0,
        "not_charging": options.charging_only,
        "doze_restricted": options.require_doze_exempt,
        "window_over": options.window is not None,
        "outside_window": options.window is not None,
        "canary_gate": options.canary > 0,
        "not_affected": terms.bad_version_id is not None,
        "newer_installed": not terms.reinstall,
    }
    return {name for name, asked in wanted.items() if not asked}


def _given(name: str, task: DeploymentTask, terms: Terms) -> str:
    """Of a check that stands for several reasons, the one that applies."""
    return {"held": terms.held, "pace": terms.pace, "said_by_agent": task.reason}.get(name, "")
