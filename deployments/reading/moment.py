"""What a deployment's page shows beside the counts, measured together with them."""

from datetime import datetime
from typing import Any, Final

from deployments.engine import install_times
from deployments.engine.measures import Pace
from deployments.models import Deployment
from deployments.operations import movers
from deployments.operations.movers import Said
from deployments.reading import throughput
from deployments.rules.states import CanaryState, DeploymentStatus, PausedReason
from mdm import prepared

_MOMENT: Final = f"""SELECT moved.actor, moved.at, moved.reason, overrode.actor, overrode.at, overrode.reason,
        ({throughput.PER_MINUTE}), CASE WHEN %(running)s THEN ({install_times.MEDIAN_SEC}) END,
        %(switched_off)s AND (SELECT deployments_enabled AND NOT kill_switch FROM fleet_switch)
    FROM (SELECT) deployment LEFT JOIN ({movers.MOVED}) moved ON true
    LEFT JOIN ({movers.OVERRODE_CANARY}) overrode ON %(overridden)s"""


def measure(deployment: Deployment, pace: Pace, now: datetime) -> dict[str, Any]:
    """As JSON. sent: in the last 60 s. per_minute, lately: successes (deployments.reading.throughput). by, because: who
    brought it into its state and what that person wrote. overrode: the same of an overridden canary.
    released: the switch or flag that stopped it stands as before again. median_install_sec: of this package, None =
    none measured."""
    running = deployment.status == DeploymentStatus.RUNNING
    moved, overrode, minutes, median, released = _read(deployment, running, now)
    per_minute, lately = throughput.drawn(minutes)
    return {
        "sent": pace.sent_last_minute if running else 0,
        "per_minute": per_minute,
        "peak": max(per_minute),
        "lately": lately,
        "by": moved.actor if moved else "",
        "because": moved.reason or deployment.killed_reason if moved else "",
        "overrode": {"by": overrode.by, "reason": overrode.reason} if overrode else None,
        "released": released,
        "median_install_sec": median,
    }


def _read(
    deployment: Deployment, running: bool, now: datetime
) -> tuple[Said | None, Said | None, Any, float | None, bool]:
    """Who moved it, who overrode its canary, the minutes, the median of an install in seconds, whether released."""
    params = throughput.span(deployment, now) | {
        "apk_id": deployment.apk_id,
        "status": deployment.status,
        "running": running,
        "overridden": deployment.canary_state == CanaryState.OVERRIDDEN,
        "canary_stops": list(movers.CANARY_STOPS),
        "switched_off": deployment.paused_reason in (PausedReason.KILL_SWITCH, PausedReason.FLAG_OFF),
    }
    with prepared.cursor() as cursor:
        cursor.execute(_MOMENT, params)
        *said, minutes, median, released = cursor.fetchone()
    moved, overrode = (Said(*part) if part[0] is not None else None for part in (said[:3], said[3:]))
    return moved, overrode, minutes, median, released
