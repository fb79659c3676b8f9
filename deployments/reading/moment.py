"""What a deployment's page shows beside the counts, measured together with them."""

from datetime import datetime
from typing import Any

from deployments.engine.measures import Pace
from deployments.models import Deployment
from deployments.operations import dry_run, movers
from deployments.reading import throughput
from deployments.rules.states import CanaryState, DeploymentStatus


def measure(deployment: Deployment, pace: Pace, now: datetime) -> dict[str, Any]:
    """As JSON. sent: in the last 60 s. per_minute, lately: successes (deployments.reading.throughput). by, because: who
    brought it into its state and what that person wrote. overrode: the same of an overridden canary.
    median_install_sec: of this package, None = none measured."""
    running = deployment.status == DeploymentStatus.RUNNING
    overridden = deployment.canary_state == CanaryState.OVERRIDDEN
    moved = movers.that_moved(deployment)
    overrode = movers.that_overrode_canary(deployment) if overridden else None
    per_minute, lately = throughput.measure(deployment, now)
    return {
        "sent": pace.sent_last_minute if running else 0,
        "per_minute": per_minute,
        "peak": max(per_minute),
        "lately": lately,
        "by": moved.actor if moved else "",
        "because": moved.reason or deployment.killed_reason if moved else "",
        "overrode": {"by": overrode.by, "reason": overrode.reason} if overrode else None,
        "median_install_sec": dry_run.median_install_sec(deployment.apk_id) if running else None,
    }
