"""One task with its latest attempt as read, and the one guarded UPDATE that changes it.

The update goes through only if the task is still what was read; losing that race is a normal return value.
Task, ledger, known version and audit row change in one statement, so they change together or not at all.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from deployments.rules import retry
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import HARD_STOPS, IN_FLIGHT, PausedReason, TaskStatus, task_state
from deployments.rules.window import Absolute
from mdm import prepared
from mdm.people import SYSTEM, Actor

_COLUMNS: Final = """t.id, t.deployment_id, t.device_id, t.status, t.phase, t.reason, t.attempt, t.failures,
    t.agent_skips, t.error_code, t.post_install, t.progress, t.next_run_at, t.recheck_until, t.in_flight_until,
    t.install_until, t.sent_at, t.acknowledged_at, COALESCE(a.outcome, ''), COALESCE(a.error_code, ''),
    p.status, p.paused_reason, p.options, k.package_name, v.version_code, v.version_name, v.signer_sha256,
    v.signature_info, v.sha256, v.size_bytes, v.withdrawn_at IS NOT NULL, s.kill_switch, t.verifying_since,
    t.shown_at, p.install_mode"""
SELECT: Final = f"""SELECT {_COLUMNS} FROM deployment_task t
    JOIN deployment p ON p.id = t.deployment_id JOIN apk_version v ON v.id = p.to_version_id
    JOIN apk k ON k.id = p.apk_id CROSS JOIN fleet_switch s
    LEFT JOIN deployment_attempt a ON a.task_id = t.id AND a.number = t.attempt"""

_GUARD: Final = """id = %(id)s AND status = %(was_status)s AND attempt = %(was_attempt)s AND phase = %(was_phase)s
    AND in_flight_until IS NOT DISTINCT FROM %(was_until)s AND next_run_at IS NOT DISTINCT FROM %(was_due)s
    AND post_install = %(was_post_install)s AND shown_at IS NOT DISTINCT FROM %(was_shown_at)s"""
# Where the device's own row changes, too: it is locked before the task, as everywhere (deployments.locking).
_DEVICE_FIRST: Final = """FROM (SELECT id AS locked FROM device WHERE id = %(device_id)s FOR NO KEY UPDATE) first
    WHERE locked = device_id AND"""


@dataclass(frozen=True, slots=True)
class Task:
    """A task as read, with what its latest attempt came to and the version that is meant to be installed."""

    id: int
    deployment_id: int
    device_id: int
    status: str
    phase: str
    reason: str
    attempt: int
    failures: int
    agent_skips: int
    error_code: str
    post_install: str
    progress: int | None
    next_run_at: datetime | None
    recheck_until: datetime | None
    in_flight_until: datetime | None
    install_until: datetime | None
    sent_at: datetime | None
    acknowledged_at: datetime | None
    outcome: str
    outcome_code: str
    deployment_status: str
    paused_reason: str
    options_json: Mapping[str, Any]
    package: str
    version_code: int
    version_name: str
    signer_sha256: str
    signature_info: Mapping[str, Any]
    sha256: str
    size_bytes: int
    withdrawn: bool
    kill_switch: bool
    verifying_since: datetime | None
    shown_at: datetime | None
    install_mode: str

    @property
    def options(self) -> DeploymentOptions:
        return DeploymentOptions.from_json(self.options_json)

    @property
    def in_flight(self) -> bool:
        return self.status in IN_FLIGHT

    @property
    def final(self) -> bool:
        return self.status in ("succeeded", "failed") or (
            self.status == "skipped" and self.next_run_at is None
        )

    @property
    def stop_reason(self) -> str:
        """Why agents are told to stop, whatever the task says; "" = they are not."""
        if self.kill_switch:
            return PausedReason.KILL_SWITCH.value
        if self.withdrawn:
            return PausedReason.VERSION_WITHDRAWN.value
        hard = self.deployment_status == "paused" and self.paused_reason in HARD_STOPS
        return self.paused_reason if hard else ""

    @property
    def state(self) -> str:
        return task_state(self.status, final=self.final)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a task: columns to set, how its latest attempt is closed, the sentence for the log."""

    columns: Mapping[str, Any]
    event: str = ""
    level: str = "info"
    attempt: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    installed: Mapping[str, Any] | None = None

    @property
    def frees_slot(self) -> bool:
        return self.columns.get("in_flight_until", 0) is None


def read(where: str, params: Sequence[Any]) -> list[Task]:
    """Tasks by a condition over `t` (task), `p` (deployment) and `a` (attempt)."""
    with prepared.cursor() as cursor:
        cursor.execute(f"{SELECT} WHERE {where}", params)
        return [_task(row) for row in cursor.fetchall()]


def _task(row: tuple[Any, ...]) -> Task:
    values = list(row)
    for index in (22, 27):  # jsonb arrives as text on a plain cursor
        if isinstance(values[index], str):
            values[index] = json.loads(values[index])
    return Task(*values)


def apply(task: Task, change: Change, now: datetime, *, actor: Actor = SYSTEM) -> bool:
    """One statement; False where the task is no longer what was read."""
    columns = {**change.columns, "updated_at": now}
    params: dict[str, Any] = {f"set_{name}": value for name, value in columns.items()}
    assignments = ", ".join(f"{name} = %(set_{name})s" for name in columns)
    where = "WHERE" if change.installed is None else _DEVICE_FIRST
    parts = [f"changed AS (UPDATE deployment_task SET {assignments} {where} {_GUARD} RETURNING id)"]
    if change.attempt:
        parts.append(_close_attempt(change.attempt, params))
    if change.installed is not None:
        parts.append(_KNOW_VERSION)
        params |= {"package": task.package, "app": json.dumps(dict(change.installed))}
    if change.event:
        parts.append(_LOG)
    after = str(columns.get("status", task.status))
    final = after == "skipped" and columns.get("next_run_at") is None and "finished_at" in columns
    meta = {"task": task.id, "attempt": task.attempt, "before": task.state, **change.meta}
    if "status" in columns:
        meta["after"] = task_state(after, final=final)
    if actor.request_id:
        meta["request_id"] = actor.request_id
    params |= {
        "id": task.id,
        "was_status": task.status,
        "was_attempt": task.attempt,
        "was_phase": task.phase,
        "was_until": task.in_flight_until,
        "was_due": task.next_run_at,
        "was_post_install": task.post_install,
        "was_shown_at": task.shown_at,
        "deployment_id": task.deployment_id,
        "device_id": task.device_id,
        "level": change.level,
        "event": change.event,
        "actor": actor.name,
        "meta": json.dumps(meta),
    }
    with prepared.cursor() as cursor:
        cursor.execute(f"WITH {', '.join(parts)} SELECT count(*) FROM changed", params)
        row = cursor.fetchone()
    return bool(row and row[0])


def after(task: Task, change: Change) -> Task:
    """The task as this change has left it."""
    return replace(task, **{name: value for name, value in change.columns.items() if name in Task.__slots__})


_KNOW_VERSION: Final = """known AS (UPDATE device
    SET current_versions = jsonb_set(current_versions, ARRAY[%(package)s], %(app)s::jsonb)
    FROM changed WHERE device.id = %(device_id)s)"""
_LOG: Final = """logged AS (INSERT INTO deployment_event (deployment_id, device_id, level, message, actor, meta)
    SELECT %(deployment_id)s, %(device_id)s, %(level)s, %(event)s, %(actor)s, %(meta)s::jsonb FROM changed)"""


def _close_attempt(columns: Mapping[str, Any], params: dict[str, Any]) -> str:
    params |= {f"attempt_{name}": value for name, value in columns.items()}
    assignments = ", ".join(f"{name} = %(attempt_{name})s" for name in columns)
    return (
        f"ledger AS (UPDATE deployment_attempt SET {assignments} FROM changed"
        " WHERE task_id = changed.id AND number = %(was_attempt)s)"
    )


LANDED: Final = {
    "phase": "",
    "progress": None,
    "in_flight_until": None,
    "install_until": None,
    "verifying_since": None,
    "shown_at": None,
}


def failed(task: Task, code: str, text: str, now: datetime, *, acknowledged: bool) -> Change:
    """The attempt failed: another try, or the end. `code` as known, `text` as the agent gave it."""
    options = task.options
    counted = 0 if code == "re_enrolled" else 1
    stands = retry.stands_at(code, before=task.error_code)
    verdict = retry.after_failure(
        code=stands,
        previous_code=task.error_code or None,
        failures=task.failures + counted,
        max_retries=options.retry.max,
        backoff_sec=options.retry.backoff_sec,
        jitter=random.random(),  # noqa: S311  spreads retries, guards nothing
        window_ends_in_sec=_window_ends_in(options, now),
    )
    columns: dict[str, Any] = {
        **LANDED,
        "error_code": stands,
        "last_error": text,
        "failures": task.failures + counted,
    }
    bad_already = retry.counts_as_bad_while_waiting(code) or isinstance(verdict, retry.GiveUp)
    if acknowledged and bad_already and code not in retry.NEVER_BAD:
        columns["acknowledged_failure_at"] = now
    label = retry.explain(code).label
    ledger = {"finished_at": now, "outcome": "failed", "error_code": code}
    meta = {"reason": code, "error": text[:200]}
    if isinstance(verdict, retry.Retry):
        due = now + timedelta(seconds=verdict.at_sec) if verdict.at_sec else None
        columns |= {"status": TaskStatus.QUEUED.value, "next_run_at": due}
        return Change(columns, f"Attempt {task.attempt} failed: {label}; tried again", "warn", ledger, meta)
    columns |= {"status": verdict.status, "next_run_at": None, "finished_at": now}
    if verdict.status == "skipped":
        return Change(columns | {"reason": verdict.reason}, f"Skipped: {label}", "warn", ledger, meta)
    return Change(columns, f"Failed: {label}", "error", ledger, meta)


def _window_ends_in(options: DeploymentOptions, now: datetime) -> float | None:
    window = options.maintenance_window()
    return (window.end - now).total_seconds() if isinstance(window, Absolute) else None


def succeeded(
    task: Task,
    now: datetime,
    *,
    event: str = "Succeeded",
    installed: Mapping[str, Any] | None = None,
    post_install: str = "",
) -> Change:
    """The version is there. `installed`: what the agent said of it beyond the version asked for (`signer_sha256`).
    `post_install`: what became of the restart, "ok", "failed" or "" where none was told."""
    app = {"version_code": task.version_code, "version_name": task.version_name} | dict(installed or {})
    columns = {
        **LANDED,
        "status": TaskStatus.SUCCEEDED.value,
        "reason": "",
        "error_code": "",
        "next_run_at": None,
        "finished_at": now,
        "installed_version_code": app["version_code"],
        "post_install": post_install,
    }
    level = "warn" if post_install == "failed" else "info"
    if post_install == "failed":
        event += "; the restart intent failed"
    ledger = {"finished_at": now, "outcome": "succeeded", "error_code": ""}
    return Change(columns, event, level, ledger, {"post_install": post_install} if post_install else {}, app)


def back_to_queue(task: Task, now: datetime, *, event: str, outcome: str, code: str) -> Change:
    """The attempt ended without failing: it was stopped as told, or its slot was given back."""
    columns = {**LANDED, "status": TaskStatus.QUEUED.value, "next_run_at": None}
    ledger = {"finished_at": now, "outcome": outcome, "error_code": code}
    return Change(columns, event, "info", ledger, {"reason": code})


def clear_device(task: Task, now: datetime, *, outcome: str, code: str, event: str) -> Change:
    """A task that was canceled in flight lets its device go."""
    ledger = {"finished_at": now, "outcome": outcome, "error_code": code}
    return Change({"in_flight_until": None, "install_until": None}, event, "info", ledger, {"reason": code})
