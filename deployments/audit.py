"""The audit log of one deployment, written in the transaction of the act. `meta` carries before, after, reason."""

import json
from collections.abc import Mapping
from typing import Any, Final

from deployments.models import DeploymentEvent
from mdm.people import SYSTEM, Actor

# The tail of a statement that changes tasks: one event for each row of the CTE `changed`
# (deployment_id, device_id, meta jsonb). %(event)s is the sentence, %(actor)s and %(level)s its signature.
LOG_CHANGED: Final = """INSERT INTO deployment_event (deployment_id, device_id, level, message, actor, meta)
    SELECT deployment_id, device_id, %(level)s, %(event)s, %(actor)s, meta || %(meta)s::jsonb FROM changed"""


def signed(actor: Actor, level: str = "info") -> dict[str, str]:
    """Whose change it is: the parameters of LOG_CHANGED but for its sentence."""
    meta = {"request_id": actor.request_id} if actor.request_id else {}
    return {"actor": actor.name, "level": level, "meta": json.dumps(meta)}


def record(
    deployment_id: int,
    message: str,
    *,
    actor: Actor = SYSTEM,
    level: str = "info",
    device_id: int | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    full_meta = dict(meta or {})
    if actor.request_id:
        full_meta["request_id"] = actor.request_id
    DeploymentEvent.objects.create(
        deployment_id=deployment_id,
        device_id=device_id,
        level=level,
        message=message,
        actor=actor.name,
        meta=full_meta,
    )
