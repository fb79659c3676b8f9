"""The routes about alerts."""

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Path, Query, Router
from pydantic import BaseModel, ConfigDict, Field

from mdm.door import actor_of, answer
from mdm.paging import Paging, page
from mdm.watch import alerts, audit_export
from mdm.watch.models import Alert
from mdm.wire_schemas import PROBLEMS, Item, Items
from mdm.wire_types import MAX_ID, PathId, Strict, examples

router = Router(tags=["Alerts"])

State = Literal["open", "acknowledged", "resolved"]
EXAMPLE: dict[str, Any] = {
    "id": 3,
    "kind": "canary_failed",
    "state": "open",
    "deployment_id": 7,
    "message": "Deployment 7 (NexMDM 1.0.121) has paused itself: its canary failed.",
    "opened_at": "2030-01-31T18:00:00Z",
    "acknowledged_by": None,
    "acknowledged_at": None,
    "resolved_at": None,
}


class AlertOut(Item):
    """Raised once; `resolved_at` is set when the cause is gone."""

    model_config = ConfigDict(json_schema_extra=examples(EXAMPLE))

    id: int
    kind: str
    state: State
    deployment_id: int | None
    message: str
    opened_at: str
    acknowledged_by: str | None
    acknowledged_at: str | None
    resolved_at: str | None


class NothingIn(Strict):
    """There is nothing to say."""

    model_config = ConfigDict(json_schema_extra=examples({}))


class AlertFilter(BaseModel):
    state: State | Literal[""] = Field(default="", description="Empty: all.")


@router.get("/alerts", response={200: Items[AlertOut], **PROBLEMS}, summary="List alerts")
def list_alerts(request: HttpRequest, wanted: Query[AlertFilter], paging: Query[Paging]) -> HttpResponse:
    """Newest first."""
    states = [wanted.state] if wanted.state else []
    return answer(page(alerts.listed(actor_of(request), states), paging, Alert.facts, newest_first=True))


@router.post(
    "/alerts/{alert_id}/acknowledge",
    response={200: AlertOut, **PROBLEMS},
    summary="Acknowledge an alert",
)
def acknowledge(request: HttpRequest, alert_id: Path[PathId], body: NothingIn | None = None) -> HttpResponse:
    """Somebody has seen it. 200 also when somebody had before; 409 when it is resolved."""
    return answer(alerts.acknowledge(actor_of(request), alert_id).facts())


class ExportFilter(BaseModel):
    since: int = Field(default=0, ge=0, le=MAX_ID, description="Only rows with a greater id.")
    deployment_id: int | None = Field(default=None, ge=1, le=MAX_ID, description="Only the log of this one.")


@router.get("/audit/export.jsonl", response={200: str, **PROBLEMS}, summary="Export the audit logs")
def export_audit(request: HttpRequest, wanted: Query[ExportFilter]) -> HttpResponseBase:
    """One JSON object per line and row, as stored, with `log` and the number of the `seal` that covers it."""
    lines = audit_export.export(actor_of(request), since=wanted.since, deployment_id=wanted.deployment_id)
    answer = StreamingHttpResponse(lines, content_type="application/jsonl")
    answer["Content-Disposition"] = 'attachment; filename="audit.jsonl"'
    return answer
