"""What a heartbeat sets in motion: it stores the beat, settles what its inventory shows, hands out the command
in flight or claims the device's turn. A heartbeat with nothing to do takes no lock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from deployments import loading
from deployments.engine import attempts, commands, dispatch, eligibility, measures, reports, spread, turns
from deployments.engine.attempts import Task
from deployments.engine.eligibility import Terms
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import ENDING, MISSES, DeploymentStatus, Phase, TaskStatus
from devices import heartbeat
from devices.inventory import HeartbeatIn
from devices.tokens import DeviceCredential

_OPEN = """t.device_id = %s AND (t.status IN ('queued', 'throttled', 'waiting_window', 'sending', 'installing')
    OR t.status = 'skipped' AND (t.next_run_at IS NOT NULL OR t.in_flight_until IS NOT NULL))
    ORDER BY t.deployment_id"""


# What this heartbeat decides: a start, a miss or an end. Who was skipped already has no more to miss.
_DECIDED = {False: {turns.READY, *MISSES, *ENDING}, True: {turns.READY, *ENDING}}


@dataclass(frozen=True, slots=True)
class CheckIn:
    """The answer to a heartbeat: at most one command, as the wire contract shows it."""

    server_time: datetime
    commands: list[dict[str, Any]]


def check_in(device: DeviceCredential, beat: HeartbeatIn) -> CheckIn:
    """Stores the heartbeat, settles what its inventory shows, and hands out the command that is the device's now."""
    now = timezone.now()
    versions = heartbeat.store(device, beat, now)
    if versions is not None:
        reports.settle_by_inventory(device.device_id, versions, now)
    return CheckIn(now, _commands(device, _open(device, now, inventory_told=versions is not None), now))


def _open(device: DeviceCredential, now: datetime, *, inventory_told: bool) -> list[Task]:
    """The device's tasks that have not ended. An inventory left out is unchanged, so it proves once more what it
    has shown since the send."""
    tasks = attempts.read(_OPEN, [device.device_id])
    proven = [task for task in tasks if task.phase == Phase.VERIFYING and task.shown_at is not None]
    if inventory_told or not proven:
        return tasks
    for task in proven:
        reports.settle_shown(task, {"version_code": task.version_code}, now)
    return attempts.read(_OPEN, [device.device_id])


def _commands(device: DeviceCredential, tasks: list[Task], now: datetime) -> list[dict[str, Any]]:
    taken = [task for task in tasks if task.in_flight_until is not None]
    if taken:
        return [commands.command(task) for task in taken if _still_to_hand_out(task)]
    for task in tasks:
        if task.deployment_status == DeploymentStatus.RUNNING and not task.stop_reason:
            claimed = _claim(task, now)
            if claimed is not None:
                return [claimed]
    return []


def _still_to_hand_out(task: Task) -> bool:
    return task.status == TaskStatus.SENDING and not task.stop_reason


def _claim(task: Task, now: datetime) -> dict[str, Any] | None:
    """A look without the lock first: most heartbeats of a waiting device end here."""
    if task.status == TaskStatus.SKIPPED and task.next_run_at is not None and task.next_run_at > now:
        return None
    deployment, _ = loading.load(task.deployment_id)
    options = DeploymentOptions.from_json(deployment.options)
    terms = Terms.of(
        deployment,
        options,
        now,
        closing=eligibility.closing(options, now, deployment.pk),
        canary_closed=measures.canary_gate_stays_shut(deployment, options, now),
        full_groups=spread.places(options).full,
    )
    reason = eligibility.reason_of(task.id, terms)
    skipped = task.status == TaskStatus.SKIPPED
    if skipped and reason not in (*MISSES, *ENDING):
        turns.requeue([task.id], terms)
    if reason not in _DECIDED[skipped]:
        return None
    if not measures.measure_pace(deployment, options).room.free:
        return None
    claim = dispatch.claim_for_heartbeat(task.deployment_id, task.id, task.device_id)
    if claim is None:
        return None
    fresh = attempts.read("t.id = %s AND t.status = 'sending'", [task.id])
    return commands.command(fresh[0]) if fresh else None
