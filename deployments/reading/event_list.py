"""The audit log of one deployment: paged, oldest first, so that a page stays what it was while the log grows;
and the latest for its page."""

from typing import Any, Final

from django.db.models import Q

from deployments.models import DeploymentEvent
from deployments.reading.finding import find
from mdm import paging
from mdm.paging import Paging

LATEST: Final = 15


def page(
    deployment_id: int, wanted: Paging, *, device_id: int | None = None, level: str = ""
) -> dict[str, Any]:
    """NotFound."""
    find(deployment_id)
    events = DeploymentEvent.objects.filter(deployment_id=deployment_id).order_by("id")
    if device_id is not None:
        events = events.filter(device_id=device_id)
    if level:
        events = events.filter(level=level)
    return paging.page(events, wanted, _shape)


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
    """The latest events, newest first: of the deployment itself, or all. Limits that bite and let go several times a
    minute would hide what people did."""
    about = Q() if everything else Q(device=None) & ~Q(meta__has_key="throttle")
    events = DeploymentEvent.objects.filter(about, deployment_id=deployment_id).select_related("device")
    return list(events.order_by("-id")[:LATEST])
