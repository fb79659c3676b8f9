"""Reports from agents: read, decide, one guarded UPDATE, and an answer that always tells the state now.

No report takes the deployment's lock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from deployments import audit
from deployments.engine import attempts, bell, health, report_rules
from deployments.engine.attempts import Task
from deployments.engine.health import Success
from deployments.engine.report_rules import Decision
from deployments.rules.report_body import Report
from deployments.rules.states import Phase, TaskStatus
from devices.tokens import RETIRED_MAY_REPORT, DeviceCredential
from mdm.people import Actor
from mdm.problems import Forbidden, NotFound

# An inventory proves a success this long after the send.
INVENTORY_PROVES: Final = timedelta(hours=24)
RACES: Final = 5

_UNSETTLED: Final = """t.device_id = %s AND t.status <> 'succeeded'
    AND (t.sent_at > %s OR t.phase = 'verifying')"""
_OF_DEVICE: Final = "t.deployment_id = %s AND t.device_id = %s"
_LATER_SEND: Final = """SELECT EXISTS (SELECT 1 FROM deployment_attempt a
    JOIN deployment p ON p.id = a.deployment_id JOIN deployment mine ON mine.id = %s
    WHERE a.device_id = %s AND p.apk_id = mine.apk_id AND a.task_id <> %s
        AND a.sent_at > (SELECT max(sent_at) FROM deployment_attempt WHERE task_id = %s))"""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` as JSON with this HTTP status (200, 409 or 410)."""

    http_status: int
    body: dict[str, Any]


def report(device: DeviceCredential, deployment_id: int, device_id: int, body: Report) -> Answer:
    """Forbidden for another device, NotFound without such a task."""
    now = timezone.now()
    task = find(device, deployment_id, device_id, now)
    actor = Actor.device(device.device_id)
    decision = None
    for _ in range(RACES):
        decision = _carry_out(task, report_rules.decide(task, body, now), body, now, actor)
        if decision is not None:
            break
        task = _again(task)
    decision = decision or Decision("refuse", why="The task keeps changing")
    if decision.change is not None and decision.change.frees_slot:
        bell.ring(deployment_id)
    if decision.kind == "refuse":
        _log_refusal(task, body, decision.why, actor)
    return _answer(_left(task, decision), refused=decision.kind == "refuse")


def _left(task: Task, decision: Decision) -> Task:
    """The task as the decision has left it. Only a late success, which looks further, has to be read again."""
    if decision.change is None:
        return task
    return _again(task) if decision.kind == "same" else attempts.after(task, decision.change)


def _carry_out(task: Task, decision: Decision, body: Report, now: datetime, actor: Actor) -> Decision | None:
    """What was decided, done; None where the task is no longer what was read."""
    if decision.kind == "truth":
        return _truth(task, report_rules.said(body), now, actor)
    if decision.change is not None and not attempts.apply(task, decision.change, now, actor=actor):
        return None
    return decision


def find(device: DeviceCredential, deployment_id: int, device_id: int, now: datetime) -> Task:
    """Forbidden for another device's task or one that was retired too long ago; NotFound."""
    if device_id != device.device_id:
        raise Forbidden("This is another device's task.")
    if device.retired_at is not None and device.retired_at < now - RETIRED_MAY_REPORT:
        raise Forbidden("The device is retired.")
    found = attempts.read(_OF_DEVICE, [deployment_id, device_id])
    if not found:
        raise NotFound("There is no such deployment for this device.")
    return found[0]


def _again(task: Task) -> Task:
    return attempts.read("t.id = %s", [task.id])[0]


def _answer(task: Task, *, refused: bool) -> Answer:
    stop = bool(task.stop_reason) or (not task.in_flight and task.status != TaskStatus.SUCCEEDED)
    if task.phase == Phase.VERIFYING:
        stop = False  # nothing is left to stop
    body = {"status": task.status, "attempt": task.attempt, "final": task.final, "cancel": stop}
    return Answer(409 if refused else 200, body)


def _truth(task: Task, said: Success, now: datetime, actor: Actor) -> Decision | None:
    """A late success turns any other state, unless a later task has touched this device and package. None
    where the task changed meanwhile."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM device WHERE id = %s FOR NO KEY UPDATE", [task.device_id])
        fresh = _again(task)
        if fresh.status == TaskStatus.SUCCEEDED:
            return Decision("same", attempts.Change({}))  # meanwhile: the answer looks again
        if _touched_later(fresh):
            return Decision("refuse", why="A later deployment has touched this package since")
        change = health.after(fresh, replace(said, event=f"Succeeded after all (was {fresh.status})"), now)
        if change is None:
            return Decision("same", attempts.Change({}))
        return Decision("same", change) if attempts.apply(fresh, change, now, actor=actor) else None


def _touched_later(task: Task) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_LATER_SEND, [task.deployment_id, task.device_id, task.id, task.id])
        row = cursor.fetchone()
    return bool(row and row[0])


def _log_refusal(task: Task, body: Report, why: str, actor: Actor) -> None:
    meta = {
        "refused": body.status,
        "error_code": body.error_code,
        "error": (body.error_text or "")[:200],
        "attempt": body.attempt,
        "installed_version_code": body.installed_version_code,
        "status": task.status,
    }
    audit.record(
        task.deployment_id,
        f"Report refused: {why}",
        actor=actor,
        level="warn",
        device_id=task.device_id,
        meta=meta,
    )


def settle_by_inventory(device_id: int, versions: Mapping[str, Any], now: datetime) -> None:
    """The whole inventory is here: it closes what it shows to be installed."""
    tasks = attempts.read(_UNSETTLED, [device_id, now - INVENTORY_PROVES])
    for task in tasks:
        app = versions.get(task.package) or {}
        if app.get("version_code") == task.version_code:
            settle_shown(task, app, now)
        elif (change := health.not_shown(task)) is not None:
            attempts.apply(task, change, now)


def settle_shown(task: Task, app: Mapping[str, Any], now: datetime) -> None:
    """A heartbeat carries the version; where the task changes meanwhile, it is looked at again."""
    proof = Report(
        status="succeeded",
        installed_version_code=app["version_code"],
        installed_signer=app.get("signer_sha256"),
    )
    if report_rules.mismatch(task, proof):
        return
    for _ in range(RACES):
        decision = _shown(task, app, now)
        if decision is not None:
            break
        task = _again(task)
    if decision is not None and decision.change is not None and decision.change.frees_slot:
        bell.ring(task.deployment_id)


def _shown(task: Task, app: Mapping[str, Any], now: datetime) -> Decision | None:
    actor = Actor.device(task.device_id)
    if not task.in_flight:
        return _truth(task, Success(shown=True), now, actor)
    said = Success(shown=True, event="Succeeded: the inventory shows the version", installed=app)
    change = health.after(task, said, now)
    if change is None:
        return report_rules.SAME
    return Decision("same", change) if attempts.apply(task, change, now, actor=actor) else None


def end_re_enrolled(device_id: int) -> None:
    """The device was enrolled anew: an attempt in flight is over, and that is no failure."""
    now = timezone.now()
    for task in attempts.read("t.device_id = %s AND t.in_flight_until IS NOT NULL", [device_id]):
        if task.in_flight:
            change = attempts.failed(task, "re_enrolled", "", now, acknowledged=False)
        else:
            change = attempts.clear_device(
                task, now, outcome="failed", code="re_enrolled", event="The device was enrolled anew"
            )
        attempts.apply(task, change, now)
