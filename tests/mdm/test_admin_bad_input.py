"""Bad input to every page of the admin: a page of ours, never a 5xx, nothing half-done."""

from urllib.parse import quote

import pytest
from django.db import transaction
from django.test import Client

from tests.mdm.doors import address, admin_doors, rows, session_of

pytestmark = pytest.mark.django_db

JUNK = {"NUL": "a\0b", "a number without end": "-" + "9" * 30, "a long text": "x" * 3000}
PARAMETERS = (
    "q", "p", "o", "id", "page", "status__exact", "reason", "query", "class", "ids", "events", "version", "shown",
)  # fmt: skip
FIELDS = (
    "reason", "alias", "name", "package_name", "display_name", "page", "rate", "concurrency", "canary", "max_uses",
    "expires_at", "tags", "groups", "models", "hold_until", "expected_status", "expected_version_id", "dry_run_id",
    "form_name", "list_mode", "shown", "pick", "turn", "engage-reason", "engage-changed_at", "file", "rebuild_of",
    "notes", "device_ids", "target_type", "window_kind", "window_tz", "window_start", "confirm_version",
    "spread_groups", "post_install.restart_intent.action", "post_install.restart_intent.extras",
)  # fmt: skip
# So that what is typed elsewhere is looked at, too.
CHOSEN = ({}, {"turn": "engage"}, {"target_type": "matching", "window_kind": "none", "window_tz": "UTC"})


@pytest.fixture
def root() -> Client:
    found = Client(raise_request_exception=False)
    found.cookies["sessionid"] = session_of("superuser")
    return found


def addresses() -> dict[str, str]:
    found = rows()
    return {door.name: address(door, found) for door in admin_doors() if door.name not in ("login", "logout")}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_whatever_stands_in_an_address_no_page_falls_over(junk: str, root: Client) -> None:
    queries = (f"q={quote(junk)}", "&".join(f"{name}={quote(junk)}" for name in PARAMETERS))
    told = {
        (name, query[:20]): root.get(f"{where}?{query}").status_code
        for name, where in addresses().items()
        for query in queries
    }
    assert {asked: status for asked, status in told.items() if status >= 500} == {}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_whatever_is_typed_into_a_form_no_page_falls_over(junk: str, root: Client) -> None:
    fallen = []
    for name, where in addresses().items():
        for chosen in CHOSEN:
            with transaction.atomic():
                if root.post(where, dict.fromkeys(FIELDS, junk) | chosen).status_code >= 500:
                    fallen.append(name)
                transaction.set_rollback(True)
    assert fallen == []
