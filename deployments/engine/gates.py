"""Canary gate and failure limit, applied: in the transaction that claims, under the deployment's lock."""

from datetime import datetime
from typing import Any

from deployments import audit
from deployments.engine import measures, moves
from deployments.engine.eligibility import SERVER_ZONE, zones
from deployments.locking import Locked
from deployments.models import Deployment
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import CANARY_OPEN, CanaryState, DeploymentStatus, PausedReason
from deployments.rules.window import Recurring, device_zone, open_seconds


def apply(held: Locked, options: DeploymentOptions, now: datetime) -> measures.Canary | None:
    """Decides what can be decided now; pauses the deployment where a gate says so.

    Returns the canary's counts while it is collecting, None once it is open (or there is none).
    """
    deployment = held.deployment
    counts = None
    if deployment.canary_state == CanaryState.COLLECTING:
        run_stopwatch(deployment, options, now)
        counts = measures.measure_canary(deployment, options)
        _judge_canary(deployment, options, counts, now)
    if deployment.status == DeploymentStatus.RUNNING and deployment.canary_state in CANARY_OPEN:
        counts = None
        _judge_failures(deployment, options, now)
    return counts


def run_stopwatch(deployment: Deployment, options: DeploymentOptions, now: datetime) -> None:
    """Adds the time since the last reading, as far as the window was open; starts with the first send."""
    last = deployment.canary_clock_at
    if last is None or now <= last:
        return
    elapsed = deployment.canary_elapsed_ms + round(_open_seconds(deployment, options, last, now) * 1000)
    _set(deployment, canary_elapsed_ms=elapsed, canary_clock_at=now)


def _open_seconds(
    deployment: Deployment, options: DeploymentOptions, start: datetime, end: datetime
) -> float:
    """With a window in each device's own zone it counts as open while it is open for any of them."""
    window = options.maintenance_window()
    if not (isinstance(window, Recurring) and window.zone is None):
        return open_seconds(window, start, end, SERVER_ZONE)
    return max(
        open_seconds(window, start, end, device_zone(zone, SERVER_ZONE)) for zone in zones(deployment.pk)
    )


def _judge_canary(
    deployment: Deployment, options: DeploymentOptions, counts: measures.Canary, now: datetime
) -> None:
    verdict = measures.canary_verdict(deployment, options, counts, now)
    if verdict.state in ("soaking", "passed") and deployment.canary_reached_at is None:
        _set(deployment, canary_reached_at=now)
        verdict = measures.canary_verdict(deployment, options, counts, now)
    meta = {"gate": "canary", "state": verdict.state, "ok": counts.ok, "bad": counts.bad, "size": counts.size}
    if verdict.state == "passed":
        _set(deployment, canary_state=CanaryState.PASSED, canary_decided_at=now)
        audit.record(deployment.pk, verdict.sentence, meta=meta)
    elif verdict.state in ("failed", "undecided"):
        reason = PausedReason(f"canary_{verdict.state}")
        moves.pause(
            deployment,
            reason,
            verdict.sentence,
            now,
            meta=meta,
            canary_state=CanaryState(verdict.state),
            canary_decided_at=now,
        )


def _judge_failures(deployment: Deployment, options: DeploymentOptions, now: datetime) -> None:
    failures = measures.measure_failures(deployment)
    verdict = measures.failure_verdict(options, failures)
    if verdict.tripped:
        meta = {"gate": "failure_rate", "ok": failures.ok, "bad": failures.bad}
        moves.pause(deployment, PausedReason.FAILURE_RATE, verdict.sentence, now, meta=meta)


def _set(deployment: Deployment, **columns: Any) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(**columns)
    for name, value in columns.items():
        setattr(deployment, name, value)
