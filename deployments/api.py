"""The routes about deployments, dry runs and the fleet switch: parse, one domain call, shape."""

import hashlib
import json
from typing import Annotated

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Header, Path, Query, Router

from deployments.operations import beginning, dry_run, fleet_switch, lifecycle, retrying, rollback
from deployments.reading import event_list, summary, task_list
from deployments.reading.export import csv_response
from deployments.rules.options import DeploymentOptions
from deployments.wire import (
    DeploymentFilter,
    DeploymentOut,
    DryRunDeviceOut,
    DryRunOut,
    EventFilter,
    EventOut,
    ListedDeploymentOut,
    MoveIn,
    PaceIn,
    StartedOut,
    StartIn,
    SwitchIn,
    SwitchOut,
    TaskFilter,
    TaskOut,
)
from deployments.wire_follow_up import RetryIn, RollbackIn
from mdm.door import actor_of, answer
from mdm.paging import Paging
from mdm.problems import NotFound
from mdm.wire_schemas import PROBLEMS, Items
from mdm.wire_types import PathId, as_id

router = Router(tags=["Deployments"])

DeploymentId = Path[PathId]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)]


def known_id(given: int | str, what: str) -> int:
    """An id out of a body. NotFound for what can be nobody's."""
    found = as_id(given)
    if found is None:
        raise NotFound(f"There is no such {what}.")
    return found


@router.post("/deployments", response={201: StartedOut, **PROBLEMS}, summary="Start a deployment")
def start(request: HttpRequest, body: StartIn, idempotency_key: IdempotencyKey = None) -> HttpResponse:
    """A repeat with the same `Idempotency-Key` within 24 h gets the first answer; with another body 422."""
    deployment_id = lifecycle.start(
        actor_of(request),
        apk_version_id=known_id(body.apk_version_id, "version"),
        target=body.target,
        options=body.options or DeploymentOptions(),
        dry_run_id=None if body.dry_run_id is None else known_id(body.dry_run_id, "dry run"),
        idempotency_key=idempotency_key or None,
        body_digest=_digest(body),
    )
    return answer({"deployment_id": deployment_id}, 201)


def _digest(body: StartIn) -> str:
    """Of what the body means, not of how it is written."""
    options = body.options or DeploymentOptions()
    meaning = json.dumps(body.model_dump(mode="json") | {"options": options.to_json()}, sort_keys=True)
    return hashlib.sha256(meaning.encode()).hexdigest()


@router.post("/deployments/dry-run", response={200: DryRunOut, **PROBLEMS}, summary="Make a dry run")
def make_dry_run(request: HttpRequest, body: StartIn) -> HttpResponse:
    """Who would be updated, who not and why, and when it is done. Sends nothing; expires after 30 minutes."""
    found = dry_run.make(
        actor_of(request),
        apk_version_id=known_id(body.apk_version_id, "version"),
        target=body.target,
        options=body.options or DeploymentOptions(),
    )
    return answer(found)


@router.get(
    "/deployments/dry-run/{dry_run_id}/devices",
    response={200: Items[DryRunDeviceOut], **PROBLEMS},
    summary="List the devices of a dry run",
)
def dry_run_devices(request: HttpRequest, dry_run_id: Path[PathId], paging: Query[Paging]) -> HttpResponse:
    return answer(dry_run.devices_page(actor_of(request), dry_run_id, paging))


@router.get(
    "/deployments", response={200: Items[ListedDeploymentOut], **PROBLEMS}, summary="List deployments"
)
def list_deployments(
    request: HttpRequest, wanted: Query[DeploymentFilter], paging: Query[Paging]
) -> HttpResponse:
    actor_of(request).require("deployments.view_deployment")
    return answer(summary.deployments_page(wanted.status, wanted.package, paging))


@router.get(
    "/deployments/{deployment_id}", response={200: DeploymentOut, **PROBLEMS}, summary="Show a deployment"
)
def get_deployment(request: HttpRequest, deployment_id: DeploymentId) -> HttpResponse:
    """With its counts, reasons, canary and failure limit, at most a second old (`as_of`)."""
    actor_of(request).require("deployments.view_deployment")
    return answer(summary.summary(deployment_id))


@router.patch(
    "/deployments/{deployment_id}", response={200: DeploymentOut, **PROBLEMS}, summary="Change the pace"
)
def change_pace(request: HttpRequest, deployment_id: DeploymentId, body: PaceIn) -> HttpResponse:
    lifecycle.change_pace(actor_of(request), deployment_id, rate=body.rate, concurrency=body.concurrency)
    return answer(summary.summary(deployment_id))


@router.get(
    "/deployments/{deployment_id}/tasks",
    response={200: Items[TaskOut], **PROBLEMS},
    summary="List the devices",
)
def list_tasks(
    request: HttpRequest, deployment_id: DeploymentId, wanted: Query[TaskFilter], paging: Query[Paging]
) -> HttpResponse:
    actor_of(request).require("deployments.view_deploymenttask")
    found = task_list.page(
        deployment_id, paging, status=wanted.status, reason=wanted.reason, query=wanted.query
    )
    return answer(found)


@router.get(
    "/deployments/{deployment_id}/events", response={200: Items[EventOut], **PROBLEMS}, summary="Show the log"
)
def list_events(
    request: HttpRequest, deployment_id: DeploymentId, wanted: Query[EventFilter], paging: Query[Paging]
) -> HttpResponse:
    actor_of(request).require("deployments.view_deploymentevent")
    device_id = (as_id(wanted.device_id) or 0) if wanted.device_id else None
    return answer(event_list.page(deployment_id, paging, device_id=device_id, level=wanted.level))


@router.get(
    "/deployments/{deployment_id}/export.csv", response={200: str, **PROBLEMS}, summary="Export as CSV"
)
def export(request: HttpRequest, deployment_id: DeploymentId, wanted: Query[TaskFilter]) -> HttpResponseBase:
    """One row per device, in the fields and order of the list; `X-Row-Count` says how many."""
    filters = task_list.Filter(wanted.status, wanted.reason, wanted.query)
    return csv_response(actor_of(request), deployment_id, filters)


@router.post(
    "/deployments/{deployment_id}/pause",
    response={200: DeploymentOut, **PROBLEMS},
    summary="Pause a deployment",
)
def pause(request: HttpRequest, deployment_id: DeploymentId, body: MoveIn | None = None) -> HttpResponse:
    """Nothing new is sent; what is in flight finishes. 200 also when it is paused already."""
    lifecycle.pause(actor_of(request), deployment_id, **(body or MoveIn()).words())
    return answer(summary.summary(deployment_id))


@router.post(
    "/deployments/{deployment_id}/resume",
    response={200: DeploymentOut, **PROBLEMS},
    summary="Resume a deployment",
)
def resume(request: HttpRequest, deployment_id: DeploymentId, body: MoveIn | None = None) -> HttpResponse:
    """After a verdict of canary or failure limit a reason is required: it overrides the verdict."""
    lifecycle.resume(actor_of(request), deployment_id, **(body or MoveIn()).words())
    return answer(summary.summary(deployment_id))


@router.post(
    "/deployments/{deployment_id}/cancel",
    response={200: DeploymentOut, **PROBLEMS},
    summary="Cancel a deployment",
)
def cancel(request: HttpRequest, deployment_id: DeploymentId, body: MoveIn | None = None) -> HttpResponse:
    """Final at once; agents at work are told to stop."""
    lifecycle.cancel(actor_of(request), deployment_id, **(body or MoveIn()).words())
    return answer(summary.summary(deployment_id))


@router.post(
    "/deployments/{deployment_id}/approve",
    response={200: DeploymentOut, **PROBLEMS},
    summary="Approve a deployment",
)
def approve(request: HttpRequest, deployment_id: DeploymentId, body: MoveIn | None = None) -> HttpResponse:
    """It starts at once. 200 also when it is approved already, 403 for who started it, 409 where none is needed."""
    beginning.approve(actor_of(request), deployment_id, **(body or MoveIn()).words())
    return answer(summary.summary(deployment_id))


@router.post(
    "/deployments/{deployment_id}/rollback",
    response={201: StartedOut, **PROBLEMS},
    summary="Roll a deployment back",
)
def roll_back(
    request: HttpRequest, deployment_id: DeploymentId, body: RollbackIn | None = None
) -> HttpResponse:
    """Cancels it, withdraws its version and starts a deployment that takes it off again. 409 with `why_not`."""
    said = body or RollbackIn()
    consent = rollback.Consent(
        reason=(said.reason or "").strip(),
        accept_data_loss=bool(said.accept_data_loss),
        confirm_version=said.confirm_version or "",
        expected_status=said.expected_status,
    )
    return answer({"deployment_id": rollback.roll_back(actor_of(request), deployment_id, consent)}, 201)


@router.post(
    "/deployments/{deployment_id}/retry",
    response={201: StartedOut, **PROBLEMS},
    summary="Try the failed and skipped devices again",
)
def retry(request: HttpRequest, deployment_id: DeploymentId, body: RetryIn | None = None) -> HttpResponse:
    """Starts a linked deployment of the same version with the same options, once the first has ended."""
    expected = body.expected_status if body else None
    made = retrying.retry(actor_of(request), deployment_id, expected_status=expected)
    return answer({"deployment_id": made}, 201)


@router.get(
    "/fleet-switch", response={200: SwitchOut, **PROBLEMS}, summary="Show the kill switch and the flag"
)
def get_switch(request: HttpRequest) -> HttpResponse:
    actor_of(request).require("deployments.view_fleetswitch")
    return answer(fleet_switch.read())


@router.put(
    "/fleet-switch", response={200: SwitchOut, **PROBLEMS}, summary="Turn the kill switch or the flag"
)
def put_switch(request: HttpRequest, body: SwitchIn) -> HttpResponse:
    """What is left out stays. Turned on, every queued or running deployment pauses; resume them one by one."""
    found = fleet_switch.change(
        actor_of(request),
        kill_switch=body.kill_switch,
        deployments_enabled=body.deployments_enabled,
        reason=body.reason or "",
        expected_changed_at=body.expected_changed_at,
    )
    return answer(found)
