"""The list of versions, and the dialog behind Deploy."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Page, expect

from apks.models import ApkVersion
from deployments.operations import fleet_switch
from tests.browser.pictures.conftest import Take
from tests.browser.test_story import sign_in
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)

VERSIONS = "/admin/apks/apkversion/"


def fleet() -> ApkVersion:
    """Devices of every kind, four versions, and a deployment that is live."""
    scene.enable()
    for code in (118, 119, 120):
        scene.version(code)
    for city, count in (("Berlin", 60), ("Madrid", 40), ("Porto", 20)):
        scene.devices(count, groups=[city, f"shop-{city.lower()}-1"], tags=["kiosk"])
    scene.devices(9, installed=119, tags=["lobby"], beat={"battery": 12}, model="Orbic Joy 2")
    scene.devices(7, installed=121, tags=["pilot"], model="SM-T225")
    scene.devices(4, tags=["pilot"], sdk_int=24)
    scene.devices(6, beat={"network": "cellular"}, groups=["Porto"])
    scene.devices(3, hold_until=timezone.now() + timedelta(days=1), hold_reason="Inventory night")
    cache.clear()
    return scene.version(121)


def opened(page: Page, version: ApkVersion) -> None:
    page.goto(VERSIONS)
    page.get_by_role("link", name=f"Deploy {version}").click()
    expect(page.locator("#nx-answer .nx-big")).to_be_visible()


def test_versions(page: Page, live_server: Any, take: Take) -> None:
    sign_in(page, live_server)
    page.goto(VERSIONS)
    take("versions-empty")
    version = fleet()
    ApkVersion.objects.filter(version_code=118).update(
        withdrawn_at=timezone.now(), withdrawn_reason="Crashes on start"
    )
    scene.version(120, debuggable=True)
    assert version
    page.goto(VERSIONS)
    take("versions")


def test_dialog(page: Page, live_server: Any, take: Take) -> None:
    version = fleet()
    sign_in(page, live_server)
    opened(page, version)
    take("deploy-fleet")
    page.get_by_label("Selected devices: all that match").check()
    page.get_by_role("group", name="Groups").get_by_label("Berlin", exact=True).check()
    page.get_by_role("group", name="Maintenance window").get_by_label("Every week").check()
    for day in ("Mon", "Tue", "Wed"):
        page.get_by_label(day).check()
    page.get_by_label("Opens").fill("22:00")
    page.get_by_label("Closes").fill("05:00")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(page.locator("#nx-opening")).to_contain_text("Europe/Berlin")
    expect(page.locator("#nx-start")).not_to_have_attribute("aria-disabled", "true")
    take("deploy-selection")


def test_dialog_in_trouble(page: Page, live_server: Any, take: Take) -> None:
    version = fleet()
    scene.start(scene.devices(2), to=version)
    sign_in(page, live_server)
    opened(page, version)
    page.get_by_label("Canary", exact=True).fill("0")
    page.get_by_label("Rate").fill("0")
    expect(page.locator("#nx-wrong-rate")).not_to_be_empty()
    page.locator("#nx-start").click(force=True)
    take("deploy-invalid")
    page.keyboard.press("Escape")
    take("deploy-discard")


def test_devices_of_the_dry_run(page: Page, live_server: Any, take: Take) -> None:
    version = fleet()
    sign_in(page, live_server)
    opened(page, version)
    page.locator("#nx-answer .nx-big a").click()
    expect(page.locator("#nx-who table")).to_be_visible()
    page.locator("#nx-who-title").scroll_into_view_if_needed()
    take("deploy-devices")


def test_stopped(page: Page, live_server: Any, take: Take) -> None:
    version = fleet()
    fleet_switch.change(scene.admin(), kill_switch=True, reason="Tills show a black screen")
    sign_in(page, live_server)
    opened(page, version)
    take("deploy-stopped")


def test_page(page: Page, live_server: Any, take: Take) -> None:
    version = fleet()
    sign_in(page, live_server)
    page.goto(f"{VERSIONS}{version.pk}/deploy/")
    expect(page.locator("#nx-answer .nx-big")).to_be_visible()
    take("deploy-page")
