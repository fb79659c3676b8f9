"""The audit log of everything that concerns no single deployment. Written in the transaction of the act."""

from collections.abc import Mapping
from typing import Any

from mdm.models import AuditEvent
from mdm.people import Actor


def record(
    actor: Actor,
    action: str,
    subject: object,
    message: str,
    meta: Mapping[str, Any] | None = None,
    *,
    level: str = "info",
) -> AuditEvent:
    """Adds one row. `subject` is the row acted on (kind and id are kept) or a text such as `enrollment`."""
    kind, subject_id = (subject, "") if isinstance(subject, str) else _identify(subject)
    full_meta = dict(meta or {})
    if actor.request_id:
        full_meta["request_id"] = actor.request_id
    return AuditEvent.objects.create(
        actor=actor.name,
        action=action,
        subject_kind=kind,
        subject_id=subject_id,
        level=level,
        message=message[:1000],
        meta=full_meta,
    )


def _identify(subject: object) -> tuple[str, str]:
    return type(subject).__name__.lower(), str(getattr(subject, "pk", ""))
