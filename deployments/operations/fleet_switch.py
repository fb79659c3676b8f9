"""Kill switch and feature flag: one row, turned under the exclusive lock, so that nothing is claimed from the
moment the request returns."""

from datetime import datetime
from typing import Any

from django.utils import timezone

from deployments import audit
from deployments.engine import moves
from deployments.locking import switch_taken
from deployments.models import Deployment, FleetSwitch
from deployments.operations import lifecycle
from deployments.rules.states import HARD_STOPS, DeploymentStatus, PausedReason
from mdm import audit as audit_log
from mdm.people import Actor
from mdm.problems import Conflict, Invalid

STOPPABLE = (DeploymentStatus.QUEUED, DeploymentStatus.RUNNING)


def read() -> dict[str, Any]:
    """The switch as the wire contract shows it."""
    return _shape(FleetSwitch.objects.select_related("changed_by").get())


def change(
    actor: Actor,
    *,
    kill_switch: bool | None = None,
    deployments_enabled: bool | None = None,
    reason: str,
    expected_changed_at: datetime | None = None,
) -> dict[str, Any]:
    """What is None stays as it is. Conflict where `expected_changed_at` is stale; Invalid without a reason."""
    _check_permission(actor, kill_switch, deployments_enabled)
    if not reason.strip():
        raise Invalid("Say why.", errors={"reason": "A reason is required."})
    with switch_taken() as switch:
        if expected_changed_at is not None and expected_changed_at != switch.changed_at:
            raise Conflict("Somebody changed the switch meanwhile; look at it again.", extra=_stale(switch))
        before = (switch.kill_switch, switch.deployments_enabled)
        after = (
            switch.kill_switch if kill_switch is None else kill_switch,
            switch.deployments_enabled if deployments_enabled is None else deployments_enabled,
        )
        now = timezone.now()
        FleetSwitch.objects.update(
            kill_switch=after[0],
            kill_switch_since=(switch.kill_switch_since if before[0] else now) if after[0] else None,
            deployments_enabled=after[1],
            reason=reason,
            changed_by=actor.user,
            changed_at=now,
        )
        _log(actor, before, after, reason)
        if after[0] and not before[0]:
            _stop_all(actor, PausedReason.KILL_SWITCH, reason, now)
        if before[1] and not after[1]:
            _stop_all(actor, PausedReason.FLAG_OFF, reason, now)
        if before[0] and not after[0]:
            _give_time_back(switch.kill_switch_since or now, now)
            _log_release(actor, reason)
    return read()


def _check_permission(actor: Actor, kill_switch: bool | None, deployments_enabled: bool | None) -> None:
    if kill_switch is not None:
        actor.require("deployments.engage_kill_switch" if kill_switch else "deployments.release_kill_switch")
    if deployments_enabled is not None:
        actor.require("deployments.change_flag")
    if kill_switch is None and deployments_enabled is None:
        actor.require("deployments.engage_kill_switch")


def _stop_all(actor: Actor, why: PausedReason, reason: str, now: datetime) -> None:
    live = Deployment.objects.select_for_update(no_key=True).filter(status__in=STOPPABLE).order_by("id")
    for deployment in live:
        killed: dict[str, Any] = {}
        if why == PausedReason.KILL_SWITCH:
            killed = {"killed_by": actor.user, "killed_reason": reason}
        moves.pause(deployment, why, f"{why.label}: {reason}", now, actor=actor, **killed)


def _give_time_back(since: datetime, now: datetime) -> None:
    """Whoever had paused a deployment before, its agents were told to stop as well. What the switch itself has paused
    gets its time back when it is resumed."""
    paused = Deployment.objects.filter(status=DeploymentStatus.PAUSED).exclude(paused_reason__in=HARD_STOPS)
    for deployment_id in paused.order_by("id").values_list("id", flat=True):
        lifecycle.shift_deadlines(deployment_id, since, now)


def _log_release(actor: Actor, reason: str) -> None:
    """Deployments that the switch stopped stay paused and are resumed one by one; each log says so."""
    stopped = Deployment.objects.filter(
        status=DeploymentStatus.PAUSED, paused_reason=PausedReason.KILL_SWITCH
    )
    for deployment_id in stopped.order_by("id").values_list("id", flat=True):
        text = f"The kill switch is off again ({reason}); the deployment stays paused until it is resumed"
        audit.record(deployment_id, text, actor=actor)


def _log(actor: Actor, before: tuple[bool, bool], after: tuple[bool, bool], reason: str) -> None:
    words = {
        0: ("Kill switch turned on", "Kill switch turned off"),
        1: ("Deployments enabled", "Deployments disabled"),
    }
    for index, (on, off) in words.items():
        if before[index] != after[index]:
            meta = {"before": before[index], "after": after[index], "reason": reason}
            audit_log.record(
                actor,
                "fleet_switch",
                "fleet_switch",
                f"{on if after[index] else off}: {reason}",
                meta,
                level="warn",
            )


def _stale(switch: FleetSwitch) -> dict[str, Any]:
    return {"changed_at": switch.changed_at.isoformat()}


def _shape(switch: FleetSwitch) -> dict[str, Any]:
    return {
        "kill_switch": switch.kill_switch,
        "deployments_enabled": switch.deployments_enabled,
        "reason": switch.reason,
        "changed_by": switch.changed_by.get_username() if switch.changed_by else None,
        "changed_at": switch.changed_at.isoformat(),
    }
