"""What a report means for its task: a pure decision over the task as read. The table is behaviour §8."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from deployments.engine import attempts, health
from deployments.engine.attempts import Change, Task
from deployments.engine.health import Success
from deployments.rules import retry
from deployments.rules.report_body import STOP_REASONS, Report
from deployments.rules.states import AGENT_PACKAGE, AGENT_SKIPS, ENDING, PHASE_ORDER, Phase, TaskStatus

Kind = Literal["apply", "same", "refuse", "truth"]


@dataclass(frozen=True, slots=True)
class Decision:
    """`apply` the change · `same`: known already · `refuse` (409, stored) · `truth`: a late success, which
    needs a look at later tasks first. A refusal may carry a change, too: what it says is still recorded."""

    kind: Kind
    change: Change | None = None
    why: str = ""


SAME: Final = Decision("same")


def decide(task: Task, report: Report, now: datetime) -> Decision:
    """Changes nothing; the caller applies the change, and decides again where the task is another by then."""
    if task.attempt == 0:
        return Decision("refuse", why="Nothing was sent to this device")
    attempt = task.attempt if report.attempt is None else report.attempt
    if attempt > task.attempt or attempt < 1:
        return Decision("refuse", why="There was no such attempt")
    if report.status == "succeeded":
        return _success(task, report, attempt, now)
    if attempt < task.attempt:
        return Decision("refuse", why="A later attempt was sent since")
    if task.in_flight:
        return _in_flight(task, report, now)
    return _settled(task, report, now)


def mismatch(task: Task, report: Report) -> str:
    """What differs between the version asked for and the one the agent says is there; "" = nothing."""
    expected = {task.signer_sha256, *(task.signature_info.get("lineage") or [])}
    if report.installed_version_code not in (None, task.version_code):
        return f"version code {report.installed_version_code} instead of {task.version_code}"
    if report.installed_version_name not in (None, task.version_name):
        return f"version {report.installed_version_name} instead of {task.version_name}"
    if report.installed_signer is not None and report.installed_signer.lower() not in expected:
        return f"signer {report.installed_signer[:16]} instead of {task.signer_sha256[:16]}"
    return ""


def _success(task: Task, report: Report, attempt: int, now: datetime) -> Decision:
    current = attempt == task.attempt
    if wrong := mismatch(task, report):
        if not (task.in_flight and current):
            return Decision("refuse", why=f"Reported success with {wrong}")
        change = attempts.failed(task, "result_mismatch", f"Installed {wrong}", now, acknowledged=True)
        return Decision("refuse", change, why=f"Reported success with {wrong}")
    if task.status == TaskStatus.SUCCEEDED:
        return _afterwards(task, report)
    if not (task.in_flight and current):
        return Decision("truth")
    proven = health.after(task, said(report), now)
    return SAME if proven is None else Decision("apply", _acknowledged(task, proven, now))


def _afterwards(task: Task, report: Report) -> Decision:
    """A repeated success; it may bring the outcome of the restart with it."""
    if not report.post_install or report.post_install == task.post_install:
        return SAME
    event, level = health.RESTARTS[report.post_install]
    return Decision("apply", Change({"post_install": report.post_install}, event, level))


def said(report: Report) -> Success:
    """What a report of success says is on the device."""
    installed = {"signer_sha256": report.installed_signer.lower()} if report.installed_signer else {}
    return Success(shown=False, installed=installed, post_install=report.post_install or "")


def _in_flight(task: Task, report: Report, now: datetime) -> Decision:
    if task.phase == Phase.VERIFYING:
        return _verifying(task, report, now)
    if report.status == "failed":
        text = report.error_text or ""
        change = attempts.failed(task, report.error_code or "internal", text, now, acknowledged=True)
        return Decision("apply", _acknowledged(task, change, now))
    if report.status == "skipped":
        return Decision("apply", _acknowledged(task, _skip(task, report, now), now))
    return _progress(task, report, now)


def _verifying(task: Task, report: Report, now: datetime) -> Decision:
    """It has reported its success: only that the app did not come up may follow."""
    if report.status == "failed" and report.error_code == "not_healthy":
        text = report.error_text or ""
        return Decision("apply", attempts.failed(task, "not_healthy", text, now, acknowledged=True))
    told = report.status == "skipped" and report.error_code in STOP_REASONS
    if report.status not in ("failed", "skipped") or told:
        return SAME
    return Decision("refuse", why=f"Reported {report.status} after its success")


def _progress(task: Task, report: Report, now: datetime) -> Decision:
    """A step forward, or the same step with more progress; an older step changes nothing."""
    known = PHASE_ORDER.index(task.phase) if task.phase else -1
    step = PHASE_ORDER.index(report.status)
    if step < known or (step == known and report.progress in (None, task.progress)):
        return SAME
    options = task.options
    until = task.install_until or now + timedelta(minutes=options.install_timeout_min)
    columns = {
        "status": TaskStatus.INSTALLING.value,
        "phase": report.status,
        "progress": report.progress,
        "install_until": until,
        "in_flight_until": min(until, now + timedelta(minutes=options.step_timeout_min)),
    }
    if report.status == "installing" and task.package == AGENT_PACKAGE:
        columns["in_flight_until"] = until  # it replaces itself: silence is normal
    if step == known:
        del columns["status"]
        return Decision("apply", Change(columns))
    ledger = {"installing_at": now} if report.status == "installing" else {}
    change = Change(columns, f"Agent: {report.status}", "info", ledger, {"phase": report.status})
    return Decision("apply", _acknowledged(task, change, now))


def _acknowledged(task: Task, change: Change, now: datetime) -> Change:
    """The first word of an attempt acknowledges it."""
    if task.acknowledged_at is not None:
        return change
    return replace(
        change,
        columns={**change.columns, "acknowledged_at": now},
        attempt={**change.attempt, "acknowledged_at": now},
    )


def _skip(task: Task, report: Report, now: datetime) -> Change:
    code, text = report.error_code or "device_condition", report.error_text or ""
    if code in STOP_REASONS:
        return attempts.back_to_queue(task, now, event="Stopped as told", outcome="stopped", code=code)
    if code == "outside_window":
        return _window_closed(task, now)
    if code in retry.ERROR_CODES and retry.explain(code).skips:
        return attempts.failed(task, code, text, now, acknowledged=True)
    if code in ENDING:
        return _ended_by_agent(task, code, text, now)
    return _condition_missed(task, code if code in AGENT_SKIPS else "device_condition", text, now)


def _window_closed(task: Task, now: datetime) -> Change:
    """No failure; not before the back-off, so that two clocks that disagree do not play ping-pong."""
    wait = retry.agent_skip_backoff(task.options.retry.backoff_sec, task.agent_skips + 1)
    columns = {
        **attempts.LANDED,
        "status": TaskStatus.WAITING_WINDOW.value,
        "agent_skips": task.agent_skips + 1,
        "next_run_at": now + timedelta(seconds=wait),
    }
    ledger = {"finished_at": now, "outcome": "skipped", "error_code": "outside_window"}
    return Change(columns, "The agent finds the window closed", "info", ledger, {"reason": "outside_window"})


def _ended_by_agent(task: Task, code: str, text: str, now: datetime) -> Change:
    columns = {
        **attempts.LANDED,
        "status": TaskStatus.SKIPPED.value,
        "reason": code,
        "last_error": text,
        "next_run_at": None,
        "finished_at": now,
    }
    ledger = {"finished_at": now, "outcome": "skipped", "error_code": code}
    return Change(columns, "Skipped by the agent", "info", ledger, {"reason": code})


def _condition_missed(task: Task, code: str, text: str, now: datetime) -> Change:
    """The agent's own view: checked again with the first heartbeat after the back-off, until the deadline."""
    options = task.options
    skips = task.agent_skips + 1
    until = task.recheck_until or now + timedelta(hours=options.deadline_hours)
    final = until <= now and task.error_code != "reinstall_incomplete"  # it stands without its app
    columns = {
        **attempts.LANDED,
        "status": TaskStatus.SKIPPED.value,
        "reason": code,
        "last_error": text,
        "agent_skips": skips,
        "recheck_until": until,
        "next_run_at": None
        if final
        else now + timedelta(seconds=retry.agent_skip_backoff(options.retry.backoff_sec, skips)),
        "finished_at": now if final else None,
    }
    ledger = {"finished_at": now, "outcome": "skipped", "error_code": code}
    return Change(columns, "Skipped by the agent", "info", ledger, {"reason": code, "error": text[:200]})


def _settled(task: Task, report: Report, now: datetime) -> Decision:
    """The attempt has ended. What settled it, and steps before that, are known; the rest is refused."""
    if task.status == TaskStatus.SKIPPED and task.in_flight_until is not None:
        return _after_cancel(task, report, now)
    if report.status == "skipped" and report.error_code in STOP_REASONS:
        return SAME
    if report.status in ("failed", "skipped"):
        known = _settled_by(task, report)
        return (
            SAME if known else Decision("refuse", why=f"The attempt has ended: {task.outcome or task.status}")
        )
    by_agent = task.outcome in ("succeeded", "failed", "skipped", "stopped") and task.outcome_code not in (
        "no_answer",
        "timed_out",
        "re_enrolled",
    )
    return (
        SAME if by_agent else Decision("refuse", why=f"The attempt has ended: {task.outcome or task.status}")
    )


def _settled_by(task: Task, report: Report) -> bool:
    """Whether this very report ended the attempt. What skips for good is the same, called failed or skipped."""
    code = _default_code(report)
    either = ("failed", "skipped") if retry.explain(code).skips else (report.status,)
    return task.outcome in either and task.outcome_code == code


def _default_code(report: Report) -> str:
    return report.error_code or ("internal" if report.status == "failed" else "device_condition")


def _after_cancel(task: Task, report: Report, now: datetime) -> Decision:
    """Canceled in flight: the final word frees the device; a step on the way is told to stop."""
    if report.status not in ("failed", "skipped"):
        return Decision("refuse", why="The task was canceled")
    code = _default_code(report)
    told = report.status == "skipped" and code in STOP_REASONS
    event = "Stopped as told" if told else f"After the cancel the agent reported {report.status}"
    change = attempts.clear_device(
        task, now, outcome="stopped" if told else report.status, code=code, event=event
    )
    return Decision("apply" if told else "refuse", change, why=event)
