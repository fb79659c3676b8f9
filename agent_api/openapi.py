"""OpenAPI of the agents' door, from the schemas that read and check it."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent_api.schemas import CheckedIn, EnrolledOut, Gone, NewToken, StandingCommand, TaskState
from deployments.rules.report_body import StatusIn
from devices.enrollment import EnrollIn
from devices.inventory import HeartbeatIn
from mdm.wire_schemas import ProblemOut

REF: Final = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Route:
    """`refusals` are problem+json; `answers` are plain JSON by status."""

    method: str
    path: str
    summary: str
    answers: dict[int, type[BaseModel]]
    refusals: tuple[int, ...]
    body: type[BaseModel] | None = None
    query: tuple[str, ...] = ()
    open_to_all: bool = False

    @property
    def models(self) -> list[type[BaseModel]]:
        return [*self.answers.values(), *([self.body] if self.body else [])]


_TASK: Final = "/v1/agent/deployments/{deployment_id}/devices/{device_id}"
ROUTES: Final = (
    Route(
        "post", "/v1/agent/enroll", "Enrol: exchange an enrolment token for a device token",
        {201: EnrolledOut}, (401, 409, 413, 422), EnrollIn, open_to_all=True,
    ),
    Route(
        "post", "/v1/agent/devices/{device_id}/token", "Get a new device token",
        {200: NewToken}, (401, 403, 404),
    ),
    Route(
        "post", "/v1/agent/devices/{device_id}/heartbeat", "Say how the device is, get what there is to do",
        {200: CheckedIn}, (401, 403, 404, 413, 422), HeartbeatIn,
    ),
    Route(
        "get", _TASK, "Ask whether a command still stands",
        {200: StandingCommand, 410: Gone}, (401, 403, 404, 422), query=("attempt",),
    ),
    Route(
        "post", f"{_TASK}/status", "Report what became of a command",
        {200: TaskState, 409: TaskState}, (401, 403, 404, 413, 422), StatusIn,
    ),
)  # fmt: skip


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "NexMDM Deployments: agents",
            "version": "1",
            "description": "Unknown fields are ignored. Jitter the check-in interval by 10 %, honour Retry-After.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"DeviceToken": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method}_{route.path.strip('/').replace('/', '_')}".translate(_NO_BRACES),
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *(_parameter(name, "query") for name in route.query)],
        "responses": {
            **{str(code): _answer(model, "application/json") for code, model in route.answers.items()},
            **{
                str(code): _answer(ProblemOut, "application/problem+json")
                for code in (*route.refusals, 429, 503)
            },
        },
        "security": [{}, {"DeviceToken": []}] if route.open_to_all else [{"DeviceToken": []}],
    }
    if route.body:
        operation["requestBody"] = {"required": True, "content": _content(route.body, "application/json")}
    return operation


_NO_BRACES: Final = {ord("{"): None, ord("}"): None}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    return [_parameter(name, "path") for name in names]


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": {"type": "integer", "minimum": 1},
    }


def _answer(model: type[BaseModel], content_type: str) -> dict[str, Any]:
    described = (model.__doc__ or model.__name__).partition("\n")[0]
    return {"description": described, "content": _content(model, content_type)}


def _content(model: type[BaseModel], content_type: str) -> dict[str, Any]:
    return {content_type: {"schema": {"$ref": REF.format(model=model.__name__)}}}


def _schemas() -> dict[str, Any]:
    models = {model for route in ROUTES for model in route.models} | {ProblemOut}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schema = models_json_schema([(model, "validation") for model in ordered], ref_template=REF)
    found: dict[str, Any] = schema["$defs"]
    return found
