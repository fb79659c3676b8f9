"""Who may enter /v1, and what each group may do there."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from apks.models import Apk
from mdm import api_tokens
from mdm.groups import ensure_groups
from mdm.models import ApiToken, AuditEvent
from mdm.people import FLEET_ADMIN, GROUPS, OPERATOR, SYSTEM, VIEWER, Actor
from mdm.problems import Forbidden, Invalid
from tests.calls import Caller, as_user
from tests.factories import (
    PASSWORD,
    AdminFactory,
    ApkVersionFactory,
    DeploymentFactory,
    DeviceFactory,
    api_token,
    member,
)

pytestmark = pytest.mark.django_db


def test_the_three_groups_exist_after_migrating_with_their_permissions() -> None:
    found = {
        group.name: {
            f"{label}.{code}"
            for label, code in group.permissions.values_list("content_type__app_label", "codename")
        }
        for group in Group.objects.all()
    }
    assert found == {"viewer": set(VIEWER), "operator": set(OPERATOR), "fleet admin": set(FLEET_ADMIN)}


def test_making_the_groups_again_keeps_what_an_admin_added() -> None:
    viewer = Group.objects.get(name="viewer")
    extra = Group.objects.get(name="fleet admin").permissions.exclude(group=viewer)[0]
    viewer.permissions.add(extra)
    ensure_groups(using="default")
    assert extra in viewer.permissions.all()
    assert Group.objects.count() == len(GROUPS)


# --- tokens ----------------------------------------------------------------------------------------------
def test_without_credentials_the_answer_is_401_and_says_how_to_sign_in() -> None:
    reply = Caller()("GET", "/v1/devices")
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_post_without_credentials_is_401_not_a_csrf_failure() -> None:
    assert Caller()("POST", "/v1/deployments", {}).status == 401


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"revoked_at": timezone.now()}, id="revoked"),
        pytest.param({"expires_at": timezone.now() - timedelta(seconds=1)}, id="expired"),
    ],
)
def test_a_token_that_is_no_longer_valid_is_401(columns: dict[str, Any]) -> None:
    assert as_user(member("viewer"), **columns)("GET", "/v1/devices").status == 401


def test_the_token_of_an_inactive_user_is_401() -> None:
    user = member("viewer")
    call = as_user(user)
    assert call("GET", "/v1/devices").status == 200
    user.is_active = False
    user.save()
    assert call("GET", "/v1/devices").status == 401


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer nxa_wrong", "Basic YTpi", "Bearer ä", "nxa_", "Bearer " + "x" * 9000],
)
def test_a_header_that_holds_no_token_is_401(header: str) -> None:
    assert Caller()("GET", "/v1/devices", Authorization=header).status == 401


def test_a_wrong_token_does_not_fall_back_to_the_session() -> None:
    call = Caller("nxa_wrong")
    call.client.force_login(AdminFactory())
    assert call("GET", "/v1/devices").status == 401


def test_a_device_token_opens_nothing_for_operators() -> None:
    from tests.factories import device_token

    assert Caller(device_token(DeviceFactory()))("GET", "/v1/devices").status == 401


def test_the_last_use_is_noted_at_most_once_a_minute() -> None:
    user = member("viewer")
    call = as_user(user)
    call("GET", "/v1/devices")
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    call("GET", "/v1/devices")
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    call("GET", "/v1/devices")
    assert ApiToken.objects.get().last_used_at > first - timedelta(minutes=1)


def test_a_read_only_token_of_an_admin_may_look_and_export_but_change_nothing() -> None:
    deployment = DeploymentFactory()
    call = as_user(AdminFactory(), read_only=True)
    assert call("GET", f"/v1/deployments/{deployment.pk}").status == 200
    assert call("GET", f"/v1/deployments/{deployment.pk}/export.csv").status == 200
    reply = call("POST", f"/v1/deployments/{deployment.pk}/pause")
    assert (reply.status, reply.body["detail"]) == (403, "This API token may only read.")


def test_the_command_prints_a_token_that_works_as_its_only_line() -> None:
    user = member("viewer")
    out = StringIO()
    call_command("api_token", user.username, "--name", "nightly", stdout=out)
    assert out.getvalue().count("\n") == 1
    assert Caller(out.getvalue().strip())("GET", "/v1/devices").status == 200
    token = ApiToken.objects.get()
    assert (token.name, token.read_only) == ("nightly", False)
    assert token.expires_at is not None
    assert out.getvalue().strip() not in str(AuditEvent.objects.values_list())


@pytest.mark.parametrize("active", [True, False])
def test_the_command_makes_no_token_for_nobody(active: bool) -> None:
    if not active:
        member("viewer", username="gone", is_active=False)
    with pytest.raises(CommandError, match="no active user"):
        call_command("api_token", "gone")


def test_people_issue_tokens_for_themselves_only() -> None:
    user, other = member("viewer"), member("viewer")
    with pytest.raises(Forbidden):
        api_tokens.issue(Actor.person(user), other, name="x")
    with pytest.raises(Forbidden):
        api_tokens.issue(Actor.person(user, read_only=True), user, name="x")
    with pytest.raises(Invalid):
        api_tokens.issue(Actor.person(user), user, name="x", expires_at=timezone.now())
    _, text = api_tokens.issue(Actor.person(user), user, name="x")
    assert api_tokens.authenticate(text) is not None


def test_a_token_for_which_no_end_was_named_ends_after_a_year() -> None:
    token, _ = api_tokens.issue(SYSTEM, member("viewer"), name="x")
    assert token.expires_at is not None
    assert timedelta(days=364) < token.expires_at - timezone.now() <= timedelta(days=365)


def test_a_revoked_token_is_void_at_once_and_nobody_revokes_anothers() -> None:
    user = member("viewer")
    token, text = api_tokens.issue(SYSTEM, user, name="x")
    with pytest.raises(Forbidden):
        api_tokens.revoke(Actor.person(member("operator")), token.pk)
    api_tokens.revoke(Actor.person(user), token.pk)
    assert api_tokens.authenticate(text) is None


# --- sessions --------------------------------------------------------------------------------------------
def test_a_session_reads_without_a_csrf_token_and_changes_nothing_without_one() -> None:
    user = member("viewer", "operator")
    deployment = DeploymentFactory()
    client = Client(enforce_csrf_checks=True)
    assert client.login(username=user.username, password=PASSWORD)
    assert client.get("/v1/devices").status_code == 200
    refused = client.post(f"/v1/deployments/{deployment.pk}/pause")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    client.cookies["csrftoken"] = "a" * 32
    path, token = f"/v1/deployments/{deployment.pk}/pause", {"X-CSRFToken": "a" * 32}
    assert client.post(path, {}, content_type="application/json", headers=token).status_code == 200
    as_form = client.post(path, {"reason": "x"}, headers=token)
    assert (as_form.status_code, as_form["Content-Type"]) == (415, "application/problem+json")


# --- permissions -----------------------------------------------------------------------------------------
ROUTES: list[tuple[str, str, Any, str]] = [
    ("GET", "/v1/apks", None, "viewer"),
    ("GET", "/v1/apks/{apk}/versions", None, "viewer"),
    ("PUT", "/v1/apks/managed/com.nexmdm", {"display_name": "N"}, "fleet admin"),
    ("DELETE", "/v1/apks/managed/com.nexmdm", None, "fleet admin"),
    ("POST", "/v1/apks/versions/{version}/withdraw", {"reason": "bad"}, "fleet admin"),
    ("GET", "/v1/deployments", None, "viewer"),
    ("GET", "/v1/deployments/{deployment}", None, "viewer"),
    ("GET", "/v1/deployments/{deployment}/tasks", None, "viewer"),
    ("GET", "/v1/deployments/{deployment}/events", None, "viewer"),
    ("GET", "/v1/deployments/{deployment}/export.csv", None, "viewer"),
    (
        "POST",
        "/v1/deployments/dry-run",
        {"apk_version_id": "{version}", "target": {"type": "fleet"}},
        "viewer",
    ),
    ("POST", "/v1/deployments", {"apk_version_id": "{version}", "target": {"type": "fleet"}}, "operator"),
    ("POST", "/v1/deployments/{deployment}/pause", None, "operator"),
    ("POST", "/v1/deployments/{deployment}/resume", None, "operator"),
    ("POST", "/v1/deployments/{deployment}/approve", None, "fleet admin"),
    ("POST", "/v1/deployments/{deployment}/cancel", None, "operator"),
    ("PATCH", "/v1/deployments/{deployment}", {"rate": 5}, "operator"),
    ("GET", "/v1/fleet-switch", None, "viewer"),
    ("PUT", "/v1/fleet-switch", {"kill_switch": True, "reason": "stop"}, "operator"),
    ("PUT", "/v1/fleet-switch", {"kill_switch": False, "reason": "go"}, "fleet admin"),
    ("PUT", "/v1/fleet-switch", {"deployments_enabled": True, "reason": "go"}, "fleet admin"),
    ("GET", "/v1/devices", None, "viewer"),
    ("GET", "/v1/devices/{device}", None, "viewer"),
    ("PATCH", "/v1/devices/{device}", {"alias": "x"}, "fleet admin"),
    ("POST", "/v1/enrollment-tokens", {}, "fleet admin"),
]
LADDER = [(), ("viewer",), ("operator",), ("fleet admin",)]
RANK = {"viewer": 1, "operator": 2, "fleet admin": 3}


@pytest.mark.parametrize("groups", LADDER, ids=lambda groups: (groups or ("no group",))[0])
def test_every_route_asks_for_its_permission(groups: tuple[str, ...]) -> None:
    call = as_user(member(*groups))
    rank = RANK[groups[0]] if groups else 0
    wrong = []
    for method, path, body, needed in ROUTES:
        version = ApkVersionFactory()
        Apk.objects.update(managed=True)
        ids = {
            "apk": version.apk_id,
            "version": version.pk,
            "deployment": DeploymentFactory(to_version=version).pk,
            "device": DeviceFactory().pk,
        }
        filled = {**body, "apk_version_id": version.pk} if body and "apk_version_id" in body else body
        reply = call(method, path.format(**ids), filled)
        # Starting is refused with 403 while the flag is off: that is no matter of permission.
        refused = reply.status == 403 and reply.type != "flag_off"
        if refused == (rank >= RANK[needed]):
            wrong.append((method, path, body, reply.status, reply.body))
    assert wrong == []


def test_an_upload_needs_the_fleet_admin() -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    for group, status in (("operator", 403), ("fleet admin", 422)):
        call = Caller(api_token(member(group)))
        file = SimpleUploadedFile("a.apk", b"no apk")
        response = call.client.post("/v1/apks/versions", {"file": file}, headers=call.headers)
        assert call.reply(response).status == status
