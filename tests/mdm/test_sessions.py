"""How long a person stays signed in, and what ends it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from tests.factories import PASSWORD, AdminFactory
from tests.mdm.instance import CHECKOUT

pytestmark = pytest.mark.django_db

NEW = "pack my box with 9 jugs"


def entered(user: User) -> Client:
    """Signed in as people do it."""
    client = Client()
    body = {"username": user.username, "password": PASSWORD}
    assert client.post("/admin/login/", body | {"next": "/admin/"}).status_code == 302
    return client


def is_in(client: Client) -> bool:
    """At both doors a session opens."""
    found = {client.get("/admin/").status_code == 200, client.get("/v1/devices").status_code == 200}
    assert len(found) == 1
    return found.pop()


def test_a_new_password_ends_the_other_sessions_and_keeps_this_one() -> None:
    user = AdminFactory()
    here, elsewhere = entered(user), entered(user)
    body = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert here.post("/admin/password_change/", body).status_code == 302
    assert (is_in(here), is_in(elsewhere)) == (True, False)


def test_a_password_that_an_admin_resets_ends_every_session() -> None:
    user, admin = AdminFactory(), AdminFactory()
    theirs, root = entered(user), entered(admin)
    body = {"usable_password": "true", "password1": NEW, "password2": NEW}
    assert root.post(f"/admin/auth/user/{user.pk}/password/", body).status_code == 302
    assert (is_in(theirs), is_in(root)) == (False, True)


def test_who_is_made_inactive_is_out_with_the_next_request() -> None:
    user = AdminFactory()
    client = entered(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert not is_in(client)


def test_a_session_ends_after_its_hours_and_not_in_the_browser_alone() -> None:
    client = entered(AdminFactory())
    cookie = client.cookies["sessionid"]
    assert (cookie["max-age"], cookie["httponly"], cookie["samesite"]) == (12 * 3600, True, "Lax")
    assert is_in(client)
    Session.objects.update(expire_date=timezone.now())
    assert not is_in(client)


def test_signing_in_makes_a_new_session_and_signing_out_ends_it_at_the_server() -> None:
    user = AdminFactory()
    client = Client()
    client.get("/admin/login/")
    client.cookies["sessionid"] = planted = "p" * 32
    body = {"username": user.username, "password": PASSWORD, "next": "/admin/"}
    client.post("/admin/login/", body)
    stolen = client.cookies["sessionid"].value
    assert stolen != planted
    client.post("/admin/logout/")
    thief = Client()
    thief.cookies["sessionid"] = stolen
    assert not is_in(thief)


def test_signing_out_takes_a_form_of_ours() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(AdminFactory())
    assert (client.get("/admin/logout/").status_code, client.post("/admin/logout/").status_code) == (405, 403)
    assert is_in(client)


def test_what_a_signed_in_person_sees_is_kept_by_no_cache() -> None:
    client = entered(AdminFactory())
    for page in ("/admin/", "/admin/devices/device/", "/admin/mdm/apitoken/add/"):
        assert "no-store" in client.get(page)["Cache-Control"]


def _production_settings(tmp_path: Path) -> dict[str, Any]:
    names = (
        "SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE",
        "SESSION_COOKIE_HTTPONLY", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SESSION_COOKIE_PATH",
        "SESSION_COOKIE_DOMAIN", "DEBUG",
    )  # fmt: skip
    shown = f"print(json.dumps({{name: getattr(settings, name) for name in {names}}}))"
    code = f"import json; from django.conf import settings; {shown}"
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "mdm.settings", "ENV_FILE": "", "DATA_DIR": str(tmp_path), "SECRET_KEY": "k" * 60,
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "PUBLIC_URL": "https://mdm.example.com",
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, env=environment, capture_output=True, check=True
    )
    return dict(json.loads(ran.stdout))


def test_over_https_cookies_belong_to_this_host_alone(tmp_path: Path) -> None:
    """`__Host-` wants Secure, the path / and no domain; a browser refuses the cookie otherwise."""
    assert _production_settings(tmp_path) == {
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "CSRF_COOKIE_NAME": "__Host-csrftoken",
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SESSION_COOKIE_PATH": "/",
        "SESSION_COOKIE_DOMAIN": None,
        "DEBUG": False,
    }
