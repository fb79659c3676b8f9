"""Who brought a deployment into its state, as its log says."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from deployments.models import Deployment, DeploymentEvent
from deployments.rules.states import PausedReason

CANARY_STOPS: Final = (PausedReason.CANARY_FAILED, PausedReason.CANARY_UNDECIDED)


@dataclass(frozen=True, slots=True)
class Said:
    """Who did something to a deployment, when, and what that person wrote ("" = nothing)."""

    actor: str
    at: datetime
    reason: str

    @property
    def by(self) -> str:
        """The name as people know it."""
        return self.actor.removeprefix("user:")


def that_moved(deployment: Deployment) -> Said | None:
    """What brought it into its present state, with the reason that was given then or added since."""
    said = _last(deployment, meta__after=deployment.status)
    if said is None or said.reason:
        return said
    added = _last(deployment, meta__explains=deployment.status, created_at__gte=said.at)
    return replace(said, reason=added.reason) if added else said


def that_overrode_canary(deployment: Deployment) -> Said | None:
    return _last(deployment, meta__was__in=CANARY_STOPS)


def _last(deployment: Deployment, **about: Any) -> Said | None:
    events = DeploymentEvent.objects.filter(deployment=deployment, device=None, **about).order_by("-id")
    event = events.first()
    if event is None:
        return None
    return Said(event.actor, event.created_at, str(event.meta.get("operator_reason") or ""))
