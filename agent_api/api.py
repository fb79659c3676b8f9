"""The routes of agents: who asks, one domain call, the answer."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from agent_api import openapi
from agent_api.auth import bearer, device_of, itself
from agent_api.door import answer, body_of, door, read
from deployments.engine import checkin, commands, reports
from deployments.rules import report_body
from devices import enrollment, tokens
from devices.enrollment import EnrollIn
from devices.inventory import HeartbeatIn
from mdm.problems import Invalid
from mdm.wire_types import as_id


@door("POST")
def enroll(request: HttpRequest) -> HttpResponse:
    enrolled = enrollment.enroll(read(request, EnrollIn), bearer(request))
    body = {
        "device_id": enrolled.device_id,
        "device_token": enrolled.token,
        "checkin_interval_sec": settings.CHECKIN_INTERVAL_SEC,
    }
    return answer(body, 201)


@door("POST")
def rotate_token(request: HttpRequest, device_id: int) -> HttpResponse:
    device = device_of(request)
    itself(device, device_id)
    return answer({"device_id": device_id, "device_token": tokens.rotate(device)})


@door("POST")
def heartbeat(request: HttpRequest, device_id: int) -> HttpResponse:
    device = device_of(request)
    itself(device, device_id)
    device.require_active()
    found = checkin.check_in(device, read(request, HeartbeatIn))
    body = {
        "server_time": found.server_time.isoformat(),
        "checkin_interval_sec": settings.CHECKIN_INTERVAL_SEC,
        "commands": found.commands,
    }
    return answer(body)


@door("GET")
def confirm(request: HttpRequest, deployment_id: int, device_id: int) -> HttpResponse:
    device = device_of(request)
    found = commands.confirm(device, deployment_id, device_id, _attempt(request))
    return answer(found.body, found.http_status)


@door("POST")
def status(request: HttpRequest, deployment_id: int, device_id: int) -> HttpResponse:
    device = device_of(request)
    found = reports.report(device, deployment_id, device_id, report_body.parse(body_of(request)))
    return answer(found.body, found.http_status)


@door("GET")
def describe(_request: HttpRequest) -> HttpResponse:
    return JsonResponse(openapi.document())


def _attempt(request: HttpRequest) -> int | None:
    """`?attempt=`, None where it is left out. Invalid."""
    text = request.GET.get("attempt", "")
    number = as_id(text)
    if text and number is None:
        raise Invalid("attempt must be a whole number from 1.", errors={"attempt": "Must be a whole number."})
    return number
