"""The admin's lists: what they cost does not grow with the table, and what they say has an age."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, EnrollmentToken, Heartbeat
from mdm import audit
from mdm.admin_site import age_words
from mdm.models import ApiToken
from mdm.people import SYSTEM
from tests.deployments import scene
from tests.deployments.pages import signed_in
from tests.mdm.doors import admin_doors, rows

pytestmark = pytest.mark.django_db

LISTS = sorted(
    "/" + door.route
    for door in admin_doors()
    if door.name.endswith("_changelist") and not door.name.startswith("auth_")
)
UNBOUNDED = re.compile(r"SELECT COUNT\(\*\)(?!.*\bLIMIT \d+\b)|SELECT DISTINCT", re.DOTALL)


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(scene.admin().user or User())
    return client


def asked(client: Client, page: str) -> list[str]:
    with CaptureQueriesContext(connection) as found:
        assert client.get(page).status_code == 200
    return [query["sql"] for query in found]


@pytest.mark.parametrize("page", LISTS)
def test_no_list_counts_or_sifts_its_whole_table(page: str, root: Client) -> None:
    rows()
    assert [sql for sql in asked(root, page) if UNBOUNDED.search(sql)] == []


def test_the_pattern_finds_what_it_is_there_for() -> None:
    assert UNBOUNDED.search('SELECT COUNT(*) AS "__count" FROM "device"')
    assert UNBOUNDED.search('SELECT DISTINCT "heartbeat"."network" FROM "heartbeat"')
    assert not UNBOUNDED.search('SELECT COUNT(*) FROM (SELECT 1 AS "x" FROM "device" LIMIT 10000) subquery')


def _more(number: int) -> None:
    """More rows of everything that a fleet has many of."""
    user = User.objects.create_user(f"user-{number}")
    fleet = scene.devices(2)
    deployment = scene.start(fleet, canary=0)
    scene.install(deployment, fleet[0])
    ApiToken.objects.create(user=user, name="t", digest=f"{number:064d}")
    EnrollmentToken.objects.create(digest=f"{number:064d}", created_by=user, device=fleet[0])
    audit.record(SYSTEM, "note", "nothing", "said")


def test_a_longer_list_asks_no_more_statements(root: Client) -> None:
    _more(0)
    cache.clear()
    before = {page: len(asked(root, page)) for page in LISTS}
    for number in range(1, 5):
        _more(number)
    cache.clear()
    assert {page: len(asked(root, page)) for page in LISTS} == before


DEVICES = "/admin/devices/device/"


def test_a_device_with_many_labels_is_a_short_row(root: Client) -> None:
    (device,) = scene.devices(1, tags=["a", "b", "c", "d", "e"], groups=["shop-1"])
    assert "a, b, c and 2 more / shop-1" in root.get(DEVICES).content.decode()
    assert "a, b, c, d, e / shop-1" in root.get(f"{DEVICES}{device.pk}/change/").content.decode()


def test_a_search_says_how_many_it_found_and_how_to_see_all(root: Client) -> None:
    scene.devices(3)
    assert "result" not in _toolbar(root, DEVICES)
    assert "1 result (show all)" in _toolbar(root, f"{DEVICES}?q=till-2")
    assert "3 results (show all)" in _toolbar(root, f"{DEVICES}?status__exact=active")
    assert "0 results (show all)" in _toolbar(root, f"{DEVICES}?q=nobody")


def test_nobody_is_told_that_there_are_no_more_than_were_counted(root: Client) -> None:
    scene.devices(10_001)
    assert "10,000 or more results" in _toolbar(root, f"{DEVICES}?q=till")
    assert "10,000 or more" in root.get(DEVICES).content.decode().rpartition('class="paginator"')[2]


def _toolbar(client: Client, page: str) -> str:
    """The words above a list."""
    html = client.get(page).content.decode().partition('id="toolbar"')[2].partition("</form>")[0]
    return " ".join(re.sub("<[^>]*>", "", html).split())


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (DEVICES, "No device yet. One enrols with a token"),
        ("/admin/deployments/deployment/", "No deployment yet. Press Deploy"),
        ("/admin/apks/apk/", "No package yet."),
        ("/admin/watch/alert/", "No alert yet"),
    ],
)
def test_an_empty_list_says_what_to_do(root: Client, page: str, words: str) -> None:
    assert words in root.get(page).content.decode()
    assert words not in root.get(f"{page}?q=nobody").content.decode()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (59, "just now"), (60, "1 min ago"), (3_599, "59 min ago"), (7_200, "2 h ago"),
     (86_399, "23 h ago"), (300_000, "3 d ago"), (-5, "just now")],
)  # fmt: skip
def test_an_age_is_said_in_its_largest_unit(seconds: int, words: str) -> None:
    now = datetime(2030, 1, 31, tzinfo=UTC)
    assert age_words(now - timedelta(seconds=seconds), now) == words


def test_a_device_says_when_it_was_seen_and_how_old_its_battery_is() -> None:
    scene.devices(1, beat={"battery": 17, "received_at": timezone.now() - timedelta(days=3, minutes=1)})
    shown = signed_in("viewer").get("/admin/devices/device/").content.decode()
    assert '17 % <span class="nx-quiet">3 d ago</span>' in shown
    assert re.search(r'<time datetime="[^"]+">[^<]+\sUTC</time> <span class="nx-quiet">3 d ago</span>', shown)


def test_who_holds_a_device_back_until_when_and_why_is_in_the_list() -> None:
    scene.devices(1, hold_until=timezone.now() + timedelta(hours=2), hold_reason="<stock> taking")
    shown = signed_in("viewer").get("/admin/devices/device/").content.decode()
    assert "held until <time" in shown
    assert "&lt;stock&gt; taking" in shown
    Device.objects.update(hold_until=timezone.now() - timedelta(seconds=1))
    assert "held until" not in signed_in("operator").get("/admin/devices/device/").content.decode()


def test_readings_that_are_gone_are_not_reported() -> None:
    scene.devices(1)
    Heartbeat.objects.all().delete()
    shown = signed_in("viewer").get("/admin/devices/device/").content.decode()
    assert "not reported" in shown
    assert "never" in shown


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, "valid"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "expired"),
        ({"revoked_at": timezone.now()}, "revoked"),
    ],
)
def test_an_api_token_says_whether_it_is_still_good(columns: Any, state: str, root: Client) -> None:
    ApiToken.objects.create(user=scene.admin().user, name="t", digest="d" * 64, **columns)
    assert f'<td class="field-state">{state}' in root.get("/admin/mdm/apitoken/").content.decode()


def test_the_log_is_sifted_by_what_it_is_about(root: Client) -> None:
    for kind in ("apk", "device", "fleet_switch"):
        audit.record(SYSTEM, "note", kind, f"about {kind}")
    shown = root.get("/admin/mdm/auditevent/?subject_kind=device").content.decode()
    assert "about device" in shown
    assert "about apk" not in shown
    assert [kind in shown for kind in ("?subject_kind=apk", "?subject_kind=fleet_switch")] == [True, True]
