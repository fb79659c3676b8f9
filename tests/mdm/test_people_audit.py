"""Who changes what people may do is in the audit log."""

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from mdm.models import AuditEvent
from tests.deployments import scene

pytestmark = pytest.mark.django_db


def _root() -> Client:
    client = Client()
    client.force_login(scene.admin().user or User())
    return client


def _told() -> list[tuple[str, str, str]]:
    return list(AuditEvent.objects.order_by("id").values_list("actor", "action", "subject_id"))


def test_a_person_who_is_made_changed_and_deleted_is_in_the_log() -> None:
    client = _root()
    secret = "correct horse battery"
    given = {"username": "eve", "usable_password": "true", "password1": secret, "password2": secret}
    assert client.post("/admin/auth/user/add/", given).status_code == 302
    eve = User.objects.get(username="eve")
    admins = Group.objects.get(name="fleet admin")
    changed = {"username": "eve", "is_active": "on", "is_staff": "on", "groups": [admins.pk]}
    assert client.post(f"/admin/auth/user/{eve.pk}/change/", changed).status_code == 302
    assert client.post(f"/admin/auth/user/{eve.pk}/delete/", {"post": "yes"}).status_code == 302
    acts = ("user.add", "user.change", "user.delete")
    assert _told() == [("user:ada", act, str(eve.pk)) for act in acts]
    change = AuditEvent.objects.get(action="user.change")
    assert "Groups" in str(change.meta["change"])
    assert not AuditEvent.objects.filter(meta__icontains=secret).exists()


def test_a_password_and_a_groups_permissions_are_told_without_the_password() -> None:
    client = _root()
    user = User.objects.create_user("eve", is_staff=True)
    secret = "another horse battery"
    given = {"usable_password": "true", "password1": secret, "password2": secret}
    assert client.post(f"/admin/auth/user/{user.pk}/password/", given).status_code == 302
    viewer = Group.objects.get(name="viewer")
    assert client.post(f"/admin/auth/group/{viewer.pk}/change/", {"name": "viewer"}).status_code == 302
    assert [act for _, act, _ in _told()] == ["user.change", "group.change"]
    assert not AuditEvent.objects.filter(meta__icontains=secret).exists()
