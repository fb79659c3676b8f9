"""Doors and permissions: every address there is, each kind of person, device and token before it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from agent_api.openapi import document
from apks import allowlist
from apks.dummy_apk import SigningKey, dummy_apk
from apks.models import Apk
from deployments import tick
from deployments.models import Deployment, DeploymentEvent, DryRun, FleetSwitch
from deployments.operations import lifecycle
from devices.models import Device
from mdm.api import api
from mdm.models import ApiToken, AuditEvent
from mdm.people import SYSTEM
from mdm.throttle import BAD_TOKENS
from tests.calls import Caller, Reply, check_form
from tests.deployments import scene
from tests.deployments import test_pages_deploy as deploy_page
from tests.deployments.going_back import rebuilt, tripped
from tests.factories import api_token, device_token, enrollment_token, member
from tests.mdm.door_table import ACTS, AGENTS, OPEN, PAGES, RECORDS, V1, V1_ACTS, Records
from tests.mdm.doors import (
    NOBODY,
    OPERATOR,
    ROLES,
    Door,
    address,
    admin_doors,
    knock,
    other_routes,
    rows,
    session_of,
)

pytestmark = pytest.mark.django_db

DOORS = {door.name: door for door in admin_doors() if door.name != "login"}
APPS = ("", "auth", "mdm", "apks", "devices", "deployments", "watch")
STOCK = ("changelist", "add", "history", "delete", "change")
OUTSIDE = ("anonymous", "not staff", "inactive")
REFUSED = {401, 403, 404, 405}
WRITTEN = re.compile(r"<(?:str:)?(\w+)>")


# --- the tables are whole --------------------------------------------------------------------------------
def _records_of(door: Door) -> str:
    return "/".join(door.route.split("/")[1:3])


def _app(door: Door) -> str:
    name = door.route.split("/")[1]
    return name if name in APPS else ""


def _is_stock(door: Door) -> bool:
    own = door.name == door.route and door.route.endswith("<path:object_id>/")
    return own or (door.name not in PAGES and door.name.rpartition("_")[2] in STOCK)


def test_every_page_of_the_admin_has_its_row_and_every_row_its_page() -> None:
    assert {_records_of(door) for door in DOORS.values() if _is_stock(door)} == set(RECORDS)
    assert {door.name for door in DOORS.values() if not _is_stock(door)} == set(PAGES)
    assert {name for name, _, _ in ACTS} <= set(DOORS)


def _documented(openapi: Any) -> set[str]:
    return {f"{method.upper()} {path}" for path, methods in openapi["paths"].items() for method in methods}


def test_every_route_has_its_row_and_every_row_its_route() -> None:
    assert _documented(api.get_openapi_schema(path_prefix="/v1/")) == set(V1)
    assert _documented(document()) == set(AGENTS)
    told = {name.split(" /")[1] for name in (*V1, *AGENTS)} | OPEN
    assert {WRITTEN.sub(r"{\1}", route) for route in other_routes()} == {
        WRITTEN.sub(r"{\1}", r) for r in told
    }


# --- pages -----------------------------------------------------------------------------------------------
def _least(door: Door) -> tuple[int, int]:
    """Who may GET it and who may POST to it."""
    if door.name in PAGES:
        return PAGES[door.name]
    records: Records = RECORDS[_records_of(door)]
    match door.name.rpartition("_")[2]:
        case "changelist" | "history":
            return records.see, records.see
        case "add":
            return records.add, records.add
        case "delete":
            return records.delete, records.delete
        case "change":
            return records.see, records.change
        case _:
            return NOBODY, NOBODY  # Django's short address of a row: leads to its page


def _turned_away(answer: HttpResponse) -> bool:
    """To the sign-in, or to the index as for a row that is not there."""
    where = answer.headers.get("Location", "")
    return answer.status_code in REFUSED or "/login/" in where or where == "/admin/"


def _entered(door: Door, where: str, sessions: dict[str, str]) -> tuple[list[str], list[str]]:
    """Whom it lets in with a GET, and whom with a POST."""
    found: tuple[list[str], list[str]] = ([], [])
    for role, session in sessions.items():
        for method, roles in zip(("GET", "POST"), found, strict=True):
            answer = knock(method, where, session)
            assert answer.status_code < 500, (door.name, role, method)
            if not _turned_away(answer):
                roles.append(role)
    return found


@pytest.mark.parametrize("app", APPS)
def test_a_page_opens_to_whom_it_may_and_to_nobody_else(app: str) -> None:
    found = rows()
    sessions = {role: session_of(role) for role in ROLES}
    doors = [door for door in DOORS.values() if _app(door) == app]
    entered = {door.name: _entered(door, address(door, found), sessions) for door in doors}
    assert entered == {door.name: tuple(list(ROLES[least:]) for least in _least(door)) for door in doors}


@pytest.mark.parametrize("app", APPS)
def test_who_is_not_signed_in_or_no_member_of_staff_stays_outside(app: str) -> None:
    found = rows()
    sessions = {who: session_of(who) for who in OUTSIDE}
    inside = []
    for door in (door for door in DOORS.values() if _app(door) == app and door.name != "logout"):
        for who, session in sessions.items():
            for method in ("GET", "POST") if who == "anonymous" else ("GET",):
                answer = knock(method, address(door, found), session)
                if answer.status_code not in (401, 403) and "/login/" not in answer.headers.get(
                    "Location", ""
                ):
                    inside.append((door.name, who, method, answer.status_code))
    assert inside == []


def _lines() -> int:
    return AuditEvent.objects.count() + DeploymentEvent.objects.count()


def _ready(turn: str | None) -> str:
    """The switch stands so that the turn changes something; when it was last turned."""
    FleetSwitch.objects.update(kill_switch=turn == "release", deployments_enabled=turn != "enable")
    return str(FleetSwitch.objects.get().changed_at.isoformat())


def _paused(found: dict[str, Any], settings: Any) -> None:
    lifecycle.pause(SYSTEM, found["deployment"].pk)


def _waits_for_approval(found: dict[str, Any], settings: Any) -> None:
    settings.APPROVAL_ABOVE = 1
    found["deployment"] = scene.start(scene.devices(2))


def _ended_with_a_failure(found: dict[str, Any], settings: Any) -> None:
    (device,) = scene.devices(1)
    found["deployment"] = deployment = scene.start([device])
    assert scene.beat(device)
    scene.report(deployment, device, "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)


def _may_be_rolled_back(found: dict[str, Any], settings: Any) -> None:
    rebuilt()
    found["deployment"] = tripped(scene.devices(4), installed=2)


def _retired(found: dict[str, Any], settings: Any) -> None:
    Device.objects.filter(pk=found["device"].pk).update(status="retired", retired_at=timezone.now())


def _unpinned(found: dict[str, Any], settings: Any) -> None:
    Apk.objects.update(signer_sha256="")


def _unmanaged(found: dict[str, Any], settings: Any) -> None:
    allowlist.unmanage_package(SYSTEM, found["apk"].package_name)


# What makes an act possible, where the rows as they are do not.
POSSIBLE: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "deployments_deployment_explain": _paused,
    "deployments_deployment_resume": _paused,
    "deployments_deployment_approve": _waits_for_approval,
    "deployments_deployment_retry": _ended_with_a_failure,
    "deployments_deployment_rollback": _may_be_rolled_back,
    "devices_device_activate": _retired,
    "apks_apk_manage": _unmanaged,
    "apks_apkversion_add": _unpinned,
}


@pytest.mark.parametrize(
    ("name", "body", "least"), ACTS, ids=[f"{name}-{body.get('turn', '')}" for name, body, _ in ACTS]
)
def test_an_act_is_done_for_whom_it_may_and_for_nobody_else(
    name: str, body: dict[str, str], least: int, found: dict[str, Any], settings: Any
) -> None:
    if name in POSSIBLE:
        POSSIBLE[name](found, settings)
    where = address(DOORS[name], found)
    changed_at = _ready(body.get("turn"))
    did = []
    for rank, role in enumerate(ROLES):
        client = Client()
        client.cookies["sessionid"] = session_of(role)
        with transaction.atomic():
            before = _lines()
            client.post(where, {key: _filled(text, changed_at) for key, text in body.items()})
            if _lines() > before:
                did.append(rank)
            transaction.set_rollback(True)
    assert did == [rank for rank in range(len(ROLES)) if rank >= least]


def _filled(text: str, changed_at: str) -> Any:
    if text == "$upload":
        return SimpleUploadedFile("new.apk", APK)
    return text.replace("$changed_at", changed_at)


def test_the_page_starts_for_whom_it_may_and_for_nobody_else(found: dict[str, Any]) -> None:
    """The dry run before it is everybody's who may look."""
    version = scene.version(900)
    started = []
    for role in ROLES:
        client = Client()
        client.cookies["sessionid"] = session_of(role)
        with transaction.atomic():
            before = Deployment.objects.count()
            deploy_page.ask(client, version)
            run = DryRun.objects.order_by("pk").last()
            assert run is not None
            deploy_page.ask(client, version, "start", dry_run_id=run.pk)
            if Deployment.objects.count() > before:
                started.append(role)
            transaction.set_rollback(True)
    assert started == list(ROLES[OPERATOR:])


# --- /v1, operators --------------------------------------------------------------------------------------
@pytest.fixture
def found(settings: Any, tmp_path: Any) -> dict[str, Any]:
    settings.MEDIA_ROOT = tmp_path
    return rows()


def _path(name: str, found: dict[str, Any]) -> str:
    values = {
        "version_id": found["apkversion"].pk,
        "apk_id": found["apk"].pk,
        "deployment_id": found["deployment"].pk,
        "device_id": found["device"].pk,
        "dry_run_id": found["dryrun"].pk,
        "alert_id": found["alert"].pk,
        "package_name": found["apk"].package_name,
    }
    return name.partition(" ")[2].format(**values)


def _ask(name: str, body: Any, call: Caller, found: dict[str, Any]) -> Reply:
    """The route as that caller finds it; whatever it did is undone."""
    method, path = name.partition(" ")[0], _path(name, found)
    with transaction.atomic():
        if body == "$upload":
            reply = _upload(call, path)
        else:
            target = {"type": "selection", "device_ids": [found["device"].pk]}
            deploy = {"apk_version_id": found["apkversion"].pk, "target": target}
            reply = call(method, path, deploy if body == "$deploy" else body)
        transaction.set_rollback(True)
    check_form(reply)
    return reply


APK = dummy_apk("com.nexmdm", 900, "9.0", key=SigningKey.generate("Doors"))


def _upload(call: Caller, path: str) -> Reply:
    file = SimpleUploadedFile("new.apk", APK)
    return call.reply(call.client.post(path, {"file": file}, headers=call.headers))


def _role(role: str, **token: Any) -> Caller:
    if role == "superuser":
        return Caller(api_token(member(is_superuser=True), **token))
    return Caller(api_token(member(*([] if role == "nobody" else [role])), **token))


ROUTES = [(name, route.body, route.least) for name, route in V1.items()] + V1_ACTS


def test_a_route_serves_whom_it_may_and_nobody_else(found: dict[str, Any]) -> None:
    callers = {role: _role(role) for role in ROLES}
    for name, body, least in ROUTES:
        told = {role: _ask(name, body, call, found).status for role, call in callers.items()}
        assert {role for role, status in told.items() if status not in (401, 403)} == set(ROLES[least:]), name
        assert {told[role] for role in ROLES[:least]} <= {403}, name


def test_a_route_serves_no_token_that_is_none(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdm.throttle.BAD_TOKENS", replace(BAD_TOKENS, burst=10_000))
    past, boss = timezone.now() - timedelta(seconds=1), member("fleet admin")
    callers = {
        "none": Caller(),
        "made up": Caller("nxa_" + "x" * 43),
        "revoked": Caller(api_token(boss, revoked_at=past)),
        "expired": Caller(api_token(boss, expires_at=past)),
        "of an inactive user": Caller(api_token(member("fleet admin", is_active=False))),
        "a device's": Caller(device_token(found["device"])),
        "an enrolment token": Caller(enrollment_token()[1]),
    }
    for name, route in V1.items():
        told = {who: _ask(name, route.body, call, found).status for who, call in callers.items()}
        assert told == dict.fromkeys(callers, 401), name


def test_a_read_only_token_reads_whatever_its_user_may(found: dict[str, Any]) -> None:
    call = _role("superuser", read_only=True)
    told = {name: _ask(name, route.body, call, found).status for name, route in V1.items()}
    assert {name for name, status in told.items() if status != 403} == {n for n, r in V1.items() if r.reads}
    assert 401 not in told.values()


def test_a_session_opens_the_api_as_the_token_of_its_user_would(found: dict[str, Any]) -> None:
    for rank, role in enumerate(ROLES):
        call = Caller()
        call.client.cookies["sessionid"] = session_of(role)
        for name, route in V1.items():
            if name.startswith("GET"):
                assert (_ask(name, None, call, found).status not in (401, 403)) == (rank >= route.least)


# --- /v1, agents -----------------------------------------------------------------------------------------
def _agents(found: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """What the device is at work on, and the body of each route."""
    enroll = {
        "enrollment_token": enrollment_token()[1], "serial": "R58M77", "model": "Joy", "sdk_int": 33,
    }  # fmt: skip
    for name, (_, _, body) in AGENTS.items():
        yield name, "", enroll if body == "$enroll" else body


def _at_work() -> tuple[Device, Device, dict[str, Any]]:
    """A device with a command in flight, another one, and the rows about them."""
    device, other = scene.devices(2)
    deployment = scene.start([device], canary=0)
    scene.beat(device)
    found = rows()
    return device, other, found | {"device": device, "deployment": deployment}


@pytest.mark.parametrize("name", AGENTS)
def test_a_device_speaks_for_itself_alone(name: str) -> None:
    device, other, found = _at_work()
    body = {route: body for route, _, body in _agents(found)}[name]
    own, foreign, _ = AGENTS[name]
    assert _ask(name, body, Caller(device_token(device)), found).status == own
    assert _ask(name, body, Caller(device_token(other)), found).status == foreign


@pytest.mark.parametrize("name", [name for name in AGENTS if "enroll" not in name])
def test_an_agents_route_serves_no_token_that_is_none(name: str) -> None:
    device, _, found = _at_work()
    body = {route: body for route, _, body in _agents(found)}[name]
    past = timezone.now() - timedelta(seconds=1)
    callers = {
        "none": Caller(),
        "made up": Caller("nxd_" + "x" * 43),
        "revoked": Caller(device_token(device, revoked_at=past)),
        "a fleet admin's": Caller(api_token(member("fleet admin"))),
        "an enrolment token": Caller(enrollment_token()[1]),
    }
    assert {who: _ask(name, body, call, found).status for who, call in callers.items()} == dict.fromkeys(
        callers, 401
    )


@pytest.mark.parametrize(
    "token", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}]
)
def test_enrolment_takes_no_void_token(token: dict[str, Any]) -> None:
    body = {
        "enrollment_token": enrollment_token(**token)[1], "serial": "R58M77", "model": "J", "sdk_int": 33,
    }  # fmt: skip
    assert Caller()("POST", "/v1/agent/enroll", body).status == 401
    assert not Device.objects.exists()


# --- at once ---------------------------------------------------------------------------------------------
def test_a_token_is_void_with_the_answer_that_says_so() -> None:
    """Revoked on the page and by the device's own rotation; the next request of the old one is refused."""
    user = member("viewer", is_staff=True)
    call = Caller(api_token(user))
    assert call("GET", "/v1/devices").status == 200
    page = Client()
    page.force_login(user)
    assert page.post(f"/admin/mdm/apitoken/{ApiToken.objects.get().pk}/revoke/").status_code == 302
    assert call("GET", "/v1/devices").status == 401

    (device,) = scene.devices(1)
    beat = f"/v1/agent/devices/{device.pk}/heartbeat"
    old = Caller(device_token(device))
    new = Caller(old("POST", f"/v1/agent/devices/{device.pk}/token").body["device_token"])
    assert old("POST", beat, {}).status == 200, "until the new one is used: its answer may have been lost"
    assert (new("POST", beat, {}).status, old("POST", beat, {}).status) == (200, 401)
    boss = Client()
    boss.force_login(member("fleet admin", is_staff=True))
    assert boss.post(f"/admin/devices/device/{device.pk}/lock_out/").status_code == 302
    assert new("POST", beat, {}).status == 401


def test_a_permission_taken_away_is_gone_with_the_next_request() -> None:
    user = member("operator")
    call, deployment = Caller(api_token(user)), scene.start(scene.devices(1))
    assert call("POST", f"/v1/deployments/{deployment.pk}/pause").status == 200
    user.groups.clear()
    assert call("POST", f"/v1/deployments/{deployment.pk}/resume").status == 403
