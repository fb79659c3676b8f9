"""The published contract: complete, with examples that the routes themselves would take."""

import re
from typing import Any

import pytest
from django.test import Client

from agent_api import api as agent_views
from agent_api.openapi import ROUTES
from agent_api.urls import urlpatterns
from mdm.api import api
from tests.calls import Caller

pytestmark = pytest.mark.django_db

OPERATOR_ROUTES = {
    "GET /v1/alerts",
    "GET /v1/audit/export.jsonl",
    "POST /v1/alerts/{alert_id}/acknowledge",
    "POST /v1/apks/versions",
    "GET /v1/apks",
    "GET /v1/apks/{apk_id}/versions",
    "PUT /v1/apks/managed/{package_name}",
    "DELETE /v1/apks/managed/{package_name}",
    "POST /v1/apks/versions/{version_id}/withdraw",
    "POST /v1/deployments",
    "POST /v1/deployments/dry-run",
    "GET /v1/deployments/dry-run/{dry_run_id}/devices",
    "GET /v1/deployments",
    "GET /v1/deployments/{deployment_id}",
    "PATCH /v1/deployments/{deployment_id}",
    "GET /v1/deployments/{deployment_id}/tasks",
    "GET /v1/deployments/{deployment_id}/events",
    "GET /v1/deployments/{deployment_id}/export.csv",
    "POST /v1/deployments/{deployment_id}/pause",
    "POST /v1/deployments/{deployment_id}/resume",
    "POST /v1/deployments/{deployment_id}/approve",
    "POST /v1/deployments/{deployment_id}/rollback",
    "POST /v1/deployments/{deployment_id}/retry",
    "POST /v1/deployments/{deployment_id}/cancel",
    "GET /v1/fleet-switch",
    "PUT /v1/fleet-switch",
    "GET /v1/devices",
    "GET /v1/devices/{device_id}",
    "PATCH /v1/devices/{device_id}",
    "POST /v1/enrollment-tokens",
}
AGENT_ROUTES = {
    "POST /v1/agent/enroll",
    "POST /v1/agent/devices/{device_id}/token",
    "POST /v1/agent/devices/{device_id}/heartbeat",
    "GET /v1/agent/deployments/{deployment_id}/devices/{device_id}",
    "POST /v1/agent/deployments/{deployment_id}/devices/{device_id}/status",
}


def document(path: str) -> dict[str, Any]:
    reply = Caller()("GET", path)
    assert reply.status == 200
    return dict(reply.body)


@pytest.mark.parametrize(
    ("path", "routes"), [("/v1/openapi.json", OPERATOR_ROUTES), ("/v1/agent/openapi.json", AGENT_ROUTES)]
)
def test_the_document_names_exactly_these_routes(path: str, routes: set[str]) -> None:
    found = document(path)
    assert {
        f"{method.upper()} {at}" for at, methods in found["paths"].items() for method in methods
    } == routes


@pytest.mark.parametrize("path", ["/v1/openapi.json", "/v1/agent/openapi.json"])
def test_every_reference_leads_somewhere_and_every_body_has_an_example(path: str) -> None:
    found = document(path)
    schemas = found["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', str(found).replace("'", '"'))) <= set(schemas)
    for at, methods in found["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                assert schemas[_model(content["schema"])].get("examples"), f"{method} {at}"


def _model(schema: dict[str, Any]) -> str:
    named = schema.get("$ref") or next(part["$ref"] for part in schema["anyOf"] if "$ref" in part)
    return str(named).rpartition("/")[2]


def test_every_operation_of_operators_says_what_it_refuses() -> None:
    for methods in document("/v1/openapi.json")["paths"].values():
        for operation in methods.values():
            assert {"401", "403", "404", "409", "422"} <= set(operation["responses"])
            assert operation["summary"]


def test_the_agents_document_and_addresses_are_of_one_mind() -> None:
    described = {re.sub(r"{(\w+)}", r"<str:\1>", route.path.lstrip("/")) for route in ROUTES}
    served = {str(pattern.pattern) for pattern in urlpatterns if pattern.callback is not agent_views.describe}
    assert described == served


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.summary)
def test_the_examples_of_agents_are_what_the_schemas_take(route: Any) -> None:
    for model in route.models:
        for example in model.model_json_schema()["examples"]:
            filled = {**example, "serial": "R58M12ABCDE"} if "serial" in example else example
            model.model_validate_json(__import__("json").dumps(filled))


def test_the_examples_of_operators_are_what_the_schemas_take() -> None:
    from apks.api import PackageIn, PackageOut, VersionOut, WithdrawIn
    from deployments import wire
    from devices.api import DeviceOut, EnrollmentTokenOut
    from devices.changes import DeviceChanges
    from devices.enrollment_tokens import EnrollmentTokenIn
    from devices.selection import Target

    models = [PackageIn, PackageOut, VersionOut, WithdrawIn, DeviceOut, EnrollmentTokenOut, DeviceChanges]
    models += [EnrollmentTokenIn, Target, wire.StartIn, wire.MoveIn, wire.PaceIn, wire.SwitchIn]
    models += [wire.DeploymentOut, wire.ListedDeploymentOut, wire.TaskOut, wire.EventOut, wire.DryRunOut]
    for model in [*models, wire.SwitchOut, wire.StartedOut]:
        for example in model.model_config["json_schema_extra"]["examples"]:  # type: ignore[index, call-overload]
            model.model_validate(example)


def test_the_docs_page_brings_its_own_scripts() -> None:
    response = Client().get("/v1/docs")
    page = response.content.decode()
    assert response.status_code == 200
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) == {
        found for found in re.findall(r'(?:src|href)="([^"]+)"', page) if found.startswith("/static/ninja/")
    }
    assert (
        "'unsafe-inline'" in response["Content-Security-Policy"].partition("style-src")[2].partition(";")[0]
    )
    assert "'unsafe-inline'" not in response["Content-Security-Policy"].partition("style-src")[0]


def test_no_two_operations_share_an_id() -> None:
    ids = [
        operation["operationId"]
        for methods in api.get_openapi_schema(path_prefix="/v1/")["paths"].values()
        for operation in methods.values()
    ]
    assert len(ids) == len(set(ids))
