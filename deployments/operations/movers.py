"""Who brought a deployment into its state, as its log says."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from deployments.models import Deployment
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


def _last(about: str, reason: str) -> str:
    return f"""SELECT e.actor, e.created_at AS at, {reason} AS reason FROM deployment_event e
        WHERE e.deployment_id = %(id)s AND e.device_id IS NULL AND {about} ORDER BY e.id DESC LIMIT 1"""


_GIVEN: Final = "COALESCE(e.meta ->> 'operator_reason', '')"
_ADDED: Final = """(SELECT a.meta ->> 'operator_reason' FROM deployment_event a
    WHERE a.deployment_id = e.deployment_id AND a.device_id IS NULL AND a.created_at >= e.created_at
        AND a.meta -> 'explains' = to_jsonb(%(status)s::text) ORDER BY a.id DESC LIMIT 1)"""
# Subqueries of one row at most, of the columns of Said. What moved it into its present state, with the reason that
# was given then or added since; and what overrode its canary.
MOVED: Final = _last(
    "e.meta -> 'after' = to_jsonb(%(status)s::text)", f"COALESCE(NULLIF({_GIVEN}, ''), {_ADDED}, '')"
)
OVERRODE_CANARY: Final = _last("e.meta ->> 'was' = ANY(%(canary_stops)s)", _GIVEN)


def that_moved(deployment: Deployment) -> Said | None:
    """None where its log does not say: it was cut, or nothing has moved it yet."""
    with connection.cursor() as cursor:
        cursor.execute(MOVED, {"id": deployment.pk, "status": deployment.status})
        row = cursor.fetchone()
    return Said(*row) if row else None
