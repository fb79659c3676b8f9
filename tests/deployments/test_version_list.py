"""On how many devices each version is: one count for the whole list."""

from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.installed import installed
from devices.models import DeviceStatus
from tests.deployments import scene
from tests.deployments.pages import signed_in

pytestmark = pytest.mark.django_db

VERSIONS = "/admin/apks/apkversion/"


@pytest.fixture(autouse=True)
def _nothing_kept() -> Any:
    cache.clear()
    yield
    cache.clear()


def test_active_devices_are_counted_by_package_and_version() -> None:
    scene.devices(3, installed=120)
    scene.devices(2, installed=121)
    scene.devices(1, installed=None)
    scene.devices(
        1, current_versions={"com.other": {"version_code": 7}, scene.PACKAGE: {"version_code": 120}}
    )
    retired = {"status": DeviceStatus.RETIRED, "retired_at": "2026-01-01T00:00:00Z"}
    scene.devices(4, installed=121, **retired)
    found = installed()
    assert found.devices == 7
    assert found.counts == {scene.PACKAGE: {120: 4, 121: 2}, "com.other": {7: 1}}
    assert (found.having(scene.PACKAGE, 120), found.newer(scene.PACKAGE, 120)) == (4, 2)
    assert (found.having("com.nobody", 1), found.newer("com.nobody", 1)) == (0, 0)


def test_the_list_writes_the_share_and_warns_of_devices_that_would_be_excluded() -> None:
    for code in (119, 120, 121):
        scene.version(code)
    scene.devices(150, installed=121)
    scene.devices(1, installed=120)
    page = signed_in("viewer").get(VERSIONS).content.decode()
    assert '<span>150 <span class="nx-quiet">99 %</span></span>' in page
    assert '<span>1 <span class="nx-quiet">&lt; 1 %</span></span>' in page
    assert "150 have a newer one: excluded" in page
    assert "151 have a newer one: excluded" in page


def test_one_query_counts_for_all_rows() -> None:
    client, asked = signed_in("operator"), []
    for more in (1, 30):
        for code in range(more):
            scene.version(200 + code)
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            client.get(VERSIONS)
        asked.append(len(queries))
    assert asked[0] == asked[1]


def test_an_empty_list_says_what_to_do() -> None:
    assert "No APK yet. Upload one" in signed_in("fleet admin").get(VERSIONS).content.decode()
