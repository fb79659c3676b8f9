"""The admin: every model is there, nobody sees or does more than his group may, records cannot be edited."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deployments.models import Deployment, DeploymentEvent, DryRun
from devices.models import Device, DeviceToken, EnrollmentToken
from mdm import api_tokens, audit
from mdm.admin_site import COUNTED_TO, BoundedPaginator, RecordAdmin
from mdm.models import ApiToken, AuditEvent
from mdm.people import SYSTEM
from mdm.watch import alerts
from mdm.watch.alerts import Cause
from tests.deployments import scene
from tests.deployments.pages import signed_in, someone

pytestmark = pytest.mark.django_db

OURS = [
    model
    for label in ("mdm", "apks", "devices", "deployments", "watch")
    for model in apps.get_app_config(label).get_models()
]
VIEWED = {
    "apk", "apkversion", "device", "heartbeat", "deployment", "deploymenttarget", "deploymenttask",
    "deploymentevent", "deploymentattempt", "fleetswitch", "apitoken", "alert",
}  # fmt: skip
SEEN = {
    "": {"apitoken"},
    "viewer": VIEWED,
    "operator": VIEWED,
    "fleet admin": VIEWED
    | {"enrollmenttoken", "devicetoken", "auditevent", "auditseal", "auditcut", "alertdelivery"},
}
ADDED = {
    "": {"apitoken"},
    "viewer": {"apitoken"},
    "operator": {"apitoken"},
    "fleet admin": {"apitoken", "apk", "apkversion", "enrollmenttoken"},
}


def url(model: Any, page: str, *of: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=of)


def one_of_each() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    scene.install(deployment, device)
    DeviceToken.objects.create(device=device, digest="d" * 64)
    EnrollmentToken.objects.create(digest="e" * 64)
    alerts.raise_once(Cause("worker_silent", "worker-1", "It is <b>said</b> to be silent."))
    api_tokens.issue(SYSTEM, scene.admin().user or User(), name="script")
    audit.record(SYSTEM, "note", "nothing", "<b>said</b>", {"key": "<i>value</i>"})
    DryRun.objects.create(apk_version=deployment.to_version, target={}, options={}, expires_at=timezone.now())


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
def test_every_model_is_to_be_seen(model: Any) -> None:
    one_of_each()
    client = Client()
    client.force_login(scene.admin().user or User())
    page = client.get(url(model, "changelist"))
    assert page.status_code == 200
    assert "<b>said" not in page.content.decode()
    row = model.objects.first()
    if row is not None:
        shown = client.get(url(model, "change", row.pk), follow=True)
        assert shown.status_code == 200
        assert "<i>value" not in shown.content.decode()
        assert 'name="_save"' not in shown.content.decode()


@pytest.mark.parametrize("group", SEEN)
def test_a_group_sees_its_models_and_no_other(group: str) -> None:
    one_of_each()
    client = signed_in(group)
    names = {model._meta.model_name for model in OURS}
    seen = {m._meta.model_name for m in OURS if client.get(url(m, "changelist")).status_code == 200}
    assert seen == SEEN[group]
    refused = {m._meta.model_name for m in OURS if client.get(url(m, "changelist")).status_code == 403}
    assert refused == names - SEEN[group]


@pytest.mark.parametrize("group", ADDED)
def test_a_group_adds_only_what_it_may(group: str) -> None:
    client = signed_in(group)
    added = {m._meta.model_name for m in OURS if client.get(url(m, "add")).status_code == 200}
    assert added == ADDED[group]


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
def test_nothing_is_changed_or_deleted_past_the_domain_not_even_by_a_superuser(model: Any) -> None:
    one_of_each()
    client = Client()
    client.force_login(scene.admin().user or User())
    row = model.objects.first()
    if row is None:
        return
    before = model.objects.filter(pk=row.pk).values().get()
    assert client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code in (403, 404)
    assert client.post(url(model, "change", row.pk), {"name": "x", "status": "x"}).status_code in (302, 403)
    assert model.objects.filter(pk=row.pk).values().get() == before
    body = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    client.post(url(model, "changelist"), body)
    assert model.objects.filter(pk=row.pk).exists()


def test_lists_never_count_without_bound() -> None:
    for model in OURS:
        registered = admin.site.get_model_admin(model)
        assert isinstance(registered, RecordAdmin)
        assert not registered.show_full_result_count
        assert registered.paginator is BoundedPaginator


def test_a_bounded_paginator_stops_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    scene.devices(7)
    assert BoundedPaginator(Device.objects.order_by("id"), 3).count == 7
    monkeypatch.setattr("mdm.admin_site.COUNTED_TO", 5)
    bounded = BoundedPaginator(Device.objects.order_by("id"), 3)
    assert (bounded.count, bounded.num_pages) == (5, 2)
    assert Paginator(Device.objects.order_by("id"), 3).num_pages == 3
    assert COUNTED_TO == 10_000


@pytest.mark.parametrize(
    "query", ["q=%00", "q=" + "9" * 300, "p=99999", "p=x", "o=99", "status__exact=x", "e=1"]
)
@pytest.mark.parametrize(
    "model", [Device, Deployment, DeploymentEvent, AuditEvent], ids=lambda m: m._meta.label
)
def test_lists_answer_whatever_stands_in_the_address(model: Any, query: str) -> None:
    one_of_each()
    client = Client()
    client.force_login(scene.admin().user or User())
    assert client.get(f"{url(model, 'changelist')}?{query}", follow=True).status_code == 200


def test_the_pages_of_the_worker_queue_are_not_linked() -> None:
    client = Client()
    client.force_login(scene.admin().user or User())
    assert "django_q" not in client.get("/admin/").content.decode()
    assert client.get("/admin/django_q/ormq/").status_code == 404


def test_every_page_says_which_installation_it_is_of(settings: Any, client: Client) -> None:
    settings.SITE_LABEL = "Produc<b>tion"
    for page in (client.get("/admin/login/"), signed_in("viewer").get("/admin/")):
        assert '<span class="nx-site-label">Produc&lt;b&gt;tion</span>' in page.content.decode()
        assert "NexMDM Deployments (Produc&lt;b&gt;tion)</title>" in page.content.decode()
    settings.SITE_LABEL = ""
    assert "nx-site-label" not in client.get("/admin/login/").content.decode()


def test_the_menu_has_what_people_look_for_and_the_rest_is_one_press_further() -> None:
    client = Client()
    client.force_login(scene.admin().user or User())
    page = client.get("/admin/")
    menu = [entry["object_name"] for part in page.context["available_apps"] for entry in part["models"]]
    assert menu[:4] == ["Deployment", "FleetSwitch", "DeploymentEvent", "ApkVersion"]
    assert "DeploymentBell" not in menu
    assert 'href="/admin/deployments/"' in page.content.decode()
    assert "/admin/deployments/deploymentbell/" in client.get("/admin/deployments/").content.decode()
    of_viewer = signed_in("viewer").get("/admin/").context["available_apps"]
    seen = {entry["object_name"] for part in of_viewer for entry in part["models"]}
    assert "Deployment" in seen
    assert "EnrollmentToken" not in seen, "what he may not see"


def issue(client: Client, **given: Any) -> Any:
    return client.post("/admin/mdm/apitoken/add/", {"name": "nightly", **given})


def test_an_api_token_is_shown_once_and_works() -> None:
    client = signed_in("viewer")
    page = issue(client, read_only="on").content.decode()
    text = page.partition('<code class="nx-secret">')[2].partition("<")[0]
    token = api_tokens.authenticate(text)
    assert token is not None
    assert (token.name, token.read_only, token.user.username) == ("nightly", True, "viewer")
    assert text not in client.get("/admin/mdm/apitoken/").content.decode()
    assert token.digest not in client.get(url(ApiToken, "change", token.pk)).content.decode()


def test_a_token_that_would_have_expired_is_refused_beside_its_input() -> None:
    answer = issue(signed_in("viewer"), expires_at="2001-01-01T00:00:00")
    assert answer.status_code == 422
    assert "Must be in the future." in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_everybody_sees_and_revokes_his_own_tokens_only() -> None:
    mine, theirs = signed_in("viewer"), signed_in("operator")
    issue(mine)
    token = ApiToken.objects.get()
    assert "nightly" not in theirs.get("/admin/mdm/apitoken/").content.decode()
    assert theirs.post(url(ApiToken, "revoke", token.pk)).status_code == 403
    assert theirs.get(url(ApiToken, "change", token.pk)).status_code == 302
    assert mine.get(url(ApiToken, "revoke", token.pk)).status_code == 200
    assert ApiToken.objects.filter(revoked_at=None).exists()
    assert mine.post(url(ApiToken, "revoke", token.pk)).status_code == 302
    assert not ApiToken.objects.filter(revoked_at=None).exists()


def test_people_who_are_no_staff_are_not_let_in() -> None:
    user = someone("viewer")
    User.objects.filter(pk=user.pk).update(is_staff=False)
    client = Client()
    client.force_login(user)
    assert client.get("/admin/deployments/deployment/").status_code == 302


def test_users_and_groups_stay_djangos_own_without_its_inputs_for_dates() -> None:
    client = Client()
    user = scene.admin().user or User()
    client.force_login(user)
    page = client.get(url(User, "change", user.pk)).content.decode()
    assert "vDateField" not in page
    assert 'name="_save"' in page
    assert client.get("/admin/auth/group/").status_code == 200


def test_pages_that_are_not_there_or_not_allowed_look_like_ours(client: Client) -> None:
    missing = signed_in("viewer").get("/admin/nowhere/")
    assert missing.status_code == 404
    assert "There is nothing at this address." in missing.content.decode()
    assert client.get("/nowhere").status_code == 404


def test_every_page_carries_the_strict_policy() -> None:
    answer = signed_in("viewer").get("/admin/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    page = answer.content.decode()
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
