"""Every list of /v1 alike: by number, by cursor, and with parameters that were left empty."""

from typing import Any

import pytest

from apks.models import ApkVersion
from deployments import tick
from devices.models import Device
from mdm.api import api
from mdm.watch.models import Alert
from tests.calls import Caller, as_user
from tests.deployments import scene
from tests.factories import AdminFactory, ApkFactory, ApkVersionFactory, DeploymentFactory

pytestmark = pytest.mark.django_db

ROWS = 4


def lists() -> list[str]:
    """The addresses whose answer is documented as a page."""
    paths = api.get_openapi_schema(path_prefix="/v1/")["paths"]
    return [path for path, found in paths.items() if "Items" in str(found.get("get", {}).get("responses"))]


@pytest.fixture
def call() -> Caller:
    return as_user(AdminFactory())


@pytest.fixture
def ids(call: Caller) -> dict[str, int]:
    """At least four rows in every list."""
    scene.enable()
    version = scene.version()
    for code in range(1, ROWS):
        ApkVersionFactory(apk=version.apk, version_code=code)
        ApkFactory(package_name=f"com.example.app{code}")
    fleet = scene.devices(ROWS)
    for number in range(ROWS):
        Alert.objects.create(kind="worker_silent", subject=f"worker-{number}", message="Silent.")
        DeploymentFactory(to_version=version)
    return {"apk_id": version.apk_id} | _watched(call, version, fleet)


def _watched(call: Caller, version: ApkVersion, fleet: list[Device]) -> dict[str, int]:
    body = {
        "apk_version_id": version.pk,
        "target": {"type": "selection", "device_ids": [device.pk for device in fleet]},
        "options": {"canary": 0},
    }
    dry_run_id = call("POST", "/v1/deployments/dry-run", body).body["dry_run_id"]
    deployment_id = call("POST", "/v1/deployments", body).body["deployment_id"]
    tick.advance(deployment_id)
    for step in ("pause", "resume"):
        call("POST", f"/v1/deployments/{deployment_id}/{step}")
    return {"dry_run_id": dry_run_id, "deployment_id": deployment_id}


def by_cursor(call: Caller, path: str, page_size: int) -> list[list[Any]]:
    pages, after = [], ""
    while after is not None:
        page = call("GET", f"{path}?page_size={page_size}&after={after}").body
        pages.append(page["items"])
        after = page["next_after"]
        assert after is None or isinstance(after, str)
    return pages


def in_any_order(rows: list[Any]) -> list[str]:
    return sorted(str(row.get("id", row.get("device_id"))) for row in rows)


def test_every_list_is_known_here() -> None:
    assert len(lists()) == 8


@pytest.mark.parametrize("path", lists())
def test_a_list_is_walked_through_by_number_and_by_cursor(
    path: str, call: Caller, ids: dict[str, int]
) -> None:
    path = path.format(**ids)
    every = call("GET", path).body
    assert set(every) == {"items", "count", "page", "page_size"}
    assert (every["page"], every["page_size"]) == (1, 50)
    assert len(every["items"]) == every["count"] >= ROWS
    numbered = [call("GET", f"{path}?page_size=1&page={n + 1}").body["items"] for n in range(every["count"])]
    assert [item for page in numbered for item in page] == every["items"]
    assert call("GET", f"{path}?page={every['count'] + 1}&page_size=1").body["items"] == []
    for page_size in (1, 3, every["count"]):
        pages = by_cursor(call, path, page_size)
        assert in_any_order([item for page in pages for item in page]) == in_any_order(every["items"])
        assert all(pages), "a cursor leads to a row, and null stands at the very end"


@pytest.mark.parametrize("path", lists())
def test_what_is_left_empty_has_its_default_and_what_is_no_cursor_is_named(
    path: str, call: Caller, ids: dict[str, int]
) -> None:
    path = path.format(**ids)
    assert call("GET", f"{path}?page=&page_size=").body["page_size"] == 50
    for no_cursor in ("abc", "-1", "9" * 30):
        reply = call("GET", f"{path}?after={no_cursor}")
        assert (reply.status, list(reply.body["errors"])) == (422, ["after"])


@pytest.mark.parametrize("path", ["/v1/alerts", "/v1/deployments"])
def test_what_shows_the_newest_first_does_so_by_cursor_too(
    path: str, call: Caller, ids: dict[str, int]
) -> None:
    numbered = [item["id"] for item in call("GET", path).body["items"]]
    assert [item["id"] for page in by_cursor(call, path, 2) for item in page] == numbered
