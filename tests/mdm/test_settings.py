import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from mdm.environment import checked_public_url, in_url, is_loopback, yes_or_no
from mdm.secret_key import stored_secret_key
from tests.mdm.instance import CHECKOUT


def test_every_name_that_the_settings_read_is_documented() -> None:
    source = (CHECKOUT / "mdm" / "settings.py").read_text()
    read = set(re.findall(r'(?:env\.\w+|number|decimal|yes_or_no|read_url)\(\s*"([A-Z_]+)"', source))
    documented = set(re.findall(r"^#([A-Z_]+)=", (CHECKOUT / ".env.example").read_text(), re.MULTILINE))
    assert read == documented
    assert {"HOST", "FLEET", "ONLINE_WITHIN_MIN", "EMAIL_URL"} <= read


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("localhost.evil.com", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "url",
    ["mdm.example.com", "ftp://mdm.example.com", "https://mdm.example.com/app", "https://", "http://x?y=1"],
)
def test_a_public_url_is_a_scheme_and_a_host(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="must look like"):
        checked_public_url(url, production=False)


def test_plain_http_is_for_this_machine_or_the_embedded_database() -> None:
    assert checked_public_url("http://localhost:8000/", production=True) == "http://localhost:8000"
    assert checked_public_url("http://mdm.example.com", production=False) == "http://mdm.example.com"
    with pytest.raises(ImproperlyConfigured, match="must be https"):
        checked_public_url("http://mdm.example.com", production=True)


def test_a_secret_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    key = stored_secret_key(tmp_path / "var")
    assert len(key) >= 50
    assert stored_secret_key(tmp_path / "var") == key
    assert (tmp_path / "var" / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["secret_key"]


@pytest.mark.django_db
def test_pages_may_load_nothing_from_elsewhere_and_run_nothing_inline(client: Client) -> None:
    policy = client.get("/admin/login/")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.django_db
def test_an_oversized_body_is_refused(client: Client) -> None:
    answer = client.post("/admin/login/", "x" * 3_000_000, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400


@pytest.mark.django_db
def test_a_host_that_is_not_ours_is_refused(client: Client) -> None:
    assert client.get("/admin/login/", headers={"host": "evil.example.com"}).status_code == 400


@pytest.mark.parametrize(
    ("text", "meant"), [("1", True), ("on", True), ("TRUE", True), ("0", False), ("No", False)]
)
def test_yes_and_no_are_taken_in_the_usual_ways(text: str, meant: bool) -> None:
    assert yes_or_no("DEMO", text) is meant


def test_an_address_of_version_six_stands_in_brackets() -> None:
    assert [in_url("::1"), in_url("127.0.0.1")] == ["[::1]", "127.0.0.1"]
    assert checked_public_url(f"http://{in_url('::')}:8000", production=False) == "http://[::]:8000"
