"""The one claim function and its two callers: the push and the device's own heartbeat.

A claim happens under the deployment's lock, on limits read from rows, and is committed before anything is
pushed. `sent_at` is stamped after the lock was taken.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from deployments import audit
from deployments.engine import canary, eligibility, gates, measures, spread, turns
from deployments.engine.eligibility import Terms
from deployments.locking import Locked, locked
from deployments.models import Deployment
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import CanaryState, DeploymentStatus
from mdm import prepared
from mdm.people import SYSTEM

# Waits for nobody: a device that another deployment is just claiming is passed over this time.
LOCK_DEVICES = "SELECT id FROM device WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"

_CLAIM: Final = f"""WITH claimed AS (
    UPDATE deployment_task t SET status = 'sending', phase = '', reason = '', attempt = t.attempt + 1,
        progress = NULL, sent_at = %(at)s, acknowledged_at = NULL, install_until = NULL,
        in_flight_until = %(until)s, next_run_at = NULL, is_canary = t.is_canary OR %(canary)s,
        post_install = '', verifying_since = NULL, shown_at = NULL,
        from_version_code = COALESCE(t.from_version_code,
            (d.current_versions -> %(package)s ->> 'version_code')::bigint), updated_at = %(at)s
    FROM device d WHERE d.id = t.device_id AND d.id = ANY(%(devices)s) AND t.id = ANY(%(tasks)s)
        AND t.status IN ('queued', 'throttled', 'waiting_window') AND d.status = 'active'
        AND (d.hold_until IS NULL OR d.hold_until <= %(at)s) AND NOT EXISTS (SELECT 1 FROM deployment_task o
            WHERE o.device_id = t.device_id AND o.in_flight_until IS NOT NULL)
    RETURNING t.id, t.deployment_id, t.device_id, t.attempt, d.fcm_token, t.is_canary),
ledger AS (INSERT INTO deployment_attempt
        (task_id, deployment_id, device_id, apk_version_id, number, transport, sent_at, outcome, error_code)
    SELECT id, deployment_id, device_id, %(version_id)s, attempt, %(transport)s, %(at)s, '', '' FROM claimed),
changed AS (SELECT deployment_id, device_id, jsonb_build_object('task', id, 'before', 'waiting',
    'after', 'sending', 'attempt', attempt, 'canary', is_canary) AS meta FROM claimed),
logged AS ({audit.LOG_CHANGED})
SELECT id, device_id, attempt, fcm_token FROM claimed ORDER BY id"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A send that was claimed and committed: what is pushed, or handed out with the heartbeat's answer."""

    deployment_id: int
    task_id: int
    device_id: int
    attempt: int
    fcm_token: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """A moment under the lock at which a running deployment may send `pace.room.free` more."""

    deployment: Deployment
    options: DeploymentOptions
    pace: measures.Pace
    canary: measures.Canary | None
    terms: Terms

    @property
    def room(self) -> int:
        return self.pace.room.free


def turn(held: Locked) -> Turn | None:
    """Reads limits, gates and window; None where nothing may be sent. May pause the deployment by its gates."""
    deployment = held.deployment
    if deployment.status != DeploymentStatus.RUNNING or held.stopped:
        return None
    options = DeploymentOptions.from_json(deployment.options)
    pace = measures.measure_pace(deployment, options)
    counts = gates.apply(held, options, pace.at)
    if deployment.status != DeploymentStatus.RUNNING:
        return None
    terms = Terms.of(
        deployment,
        options,
        pace.at,
        closing=eligibility.closing(options, pace.at, deployment.pk),
        canary_closed=measures.canary_gate_shut(deployment, counts),
        full_groups=spread.places(options).full,
    )
    return Turn(deployment, options, pace, counts, terms)


def claim_for_heartbeat(deployment_id: int, task_id: int, device_id: int) -> Claim | None:
    """Claims this task if it is its turn, on the values of the heartbeat that was just stored; skips it where
    its turn came and it misses a condition. While all canary places are taken that is nobody's turn."""
    with locked(deployment_id) as held:
        now = turn(held)
        if now is None or not now.room:
            return None
        if eligibility.reason_of(task_id, now.terms) != turns.READY:
            turns.settle_tasks(now.deployment, now.terms, [task_id])
            return None
        if now.canary is not None and not canary.admits(now.deployment, device_id, now.canary, now.terms):
            return None
        claims = claim(now, [(task_id, device_id)], "heartbeat")
        return claims[0] if claims else None


def claim_for_push(now: Turn, candidates: list[turns.Candidate]) -> list[Claim]:
    """Sends to as many of these as there is room for; those without a push token come by heartbeat."""
    pushable = [(each.task_id, each.device_id) for each in candidates if each.can_push]
    return claim(now, pushable[: now.room], "push")


def claim(now: Turn, tasks: list[tuple[int, int]], transport: str) -> list[Claim]:
    """Marks these (task, device) pairs as sent, at most as many as were given: the caller counted the places of
    the deployment, those of the devices' groups are counted here."""
    tasks = spread.with_a_place(now.options, tasks)
    if not tasks:
        return []
    deployment, at = now.deployment, now.pace.at
    with prepared.cursor() as cursor:
        cursor.execute(LOCK_DEVICES, [[device_id for _, device_id in tasks]])
        devices = [row[0] for row in cursor.fetchall()]
        cursor.execute(_CLAIM, _claim_params(now, [task for task, _ in tasks], devices, transport))
        rows = cursor.fetchall()
    if rows:
        _note_send(deployment, at)
    return [Claim(deployment.pk, task, device, attempt, token, at) for task, device, attempt, token in rows]


def _claim_params(now: Turn, tasks: list[int], devices: list[int], transport: str) -> dict[str, Any]:
    return {
        "at": now.pace.at,
        "until": now.pace.at + timedelta(minutes=now.options.ack_timeout_min),
        "canary": now.deployment.canary_state == CanaryState.COLLECTING,
        "package": now.deployment.apk.package_name,
        "version_id": now.deployment.to_version_id,
        "tasks": tasks,
        "devices": devices,
        "transport": transport,
        "event": "Sent",
        **audit.signed(SYSTEM),
    }


def _note_send(deployment: Deployment, at: datetime) -> None:
    """The ledger's clock, and with the first send the canary's stopwatch."""
    changes = {"last_sent_at": at}
    if deployment.canary_state == CanaryState.COLLECTING and deployment.canary_clock_at is None:
        changes["canary_clock_at"] = at
    Deployment.objects.filter(pk=deployment.pk).update(**changes)
    for name, value in changes.items():
        setattr(deployment, name, value)
