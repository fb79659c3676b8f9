"""The audit log of one deployment: paged, oldest first, so that a page stays what it was while the log grows;
and the latest for its page."""

from typing import Any, Final

from django.db.models import Q

from deployments.models import DeploymentEvent
from deployments.reading.summary import find

LATEST: Final = 15


def page(
    deployment_id: int, *, device_id: int | None = None, level: str = "", page: int = 1, page_size: int = 50
) -> dict[str, Any]:
    """NotFound."""
    find(deployment_id)
    events = DeploymentEvent.objects.filter(deployment_id=deployment_id).order_by("id")
    if device_id is not None:
        events = events.filter(device_id=device_id)
    if level:
        events = events.filter(level=level)
    start = (page - 1) * page_size
    return {
        "items": [_shape(event) for event in events[start : start + page_size]],
        "count": events.count(),
        "page": page,
        "page_size": page_size,
    }


def _shape(event: DeploymentEvent) -> dict[str, Any]:
    return {
        "id": event.pk,
        "device_id": event.device_id,
        "level": event.level,
        "message": event.message,
        "actor": event.actor,
        "meta": event.meta,
        "created_at": event.created_at.isoformat(),
    }


def latest(deployment_id: int, *, everything: bool) -> list[DeploymentEvent]:
    """The latest events, newest first: of the deployment itself, or of its devices as well."""
    about = Q() if everything else Q(device=None)
    events = DeploymentEvent.objects.filter(about, deployment_id=deployment_id).select_related("device")
    return list(events.order_by("-id")[:LATEST])
