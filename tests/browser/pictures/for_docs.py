"""The pictures of README and docs, made anew: `make pictures`. As large as a window, not as the page."""

from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from deployments.operations import way_back
from tests.browser.pictures import shops
from tests.browser.pictures.conftest import FOLDER
from tests.browser.test_story import sign_in
from tests.deployments import scene
from tests.deployments.pages import address

pytestmark = pytest.mark.django_db(transaction=True)

LARGEST: Final = 200_000  # bytes


def keep(page: Page, name: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    page.emulate_media(reduced_motion="reduce")
    size = len(page.screenshot(path=FOLDER / f"{name}.png"))
    assert size < LARGEST, f"{name} has {size:,} bytes"


def settled(page: Page) -> None:
    expect(page.locator("#nx-window.nx-windowed")).to_be_visible()
    expect(page.locator(".nx-awaited")).to_have_count(0)


def test_a_rollout_from_the_list_to_the_hold(page: Page, live_server: Any) -> None:
    version, devices = shops.versions(), shops.fleet()
    sign_in(page, live_server)
    page.goto("/admin/apks/apkversion/")
    keep(page, "versions")
    page.get_by_role("link", name=f"Deploy {version}").click()
    expect(page.locator("#nx-answer .nx-big")).to_be_visible()
    keep(page, "deploy")
    deployment = shops.rollout(version, devices)
    page.goto(address(deployment))
    settled(page)
    keep(page, "details")
    page.emulate_media(color_scheme="dark")
    keep(page, "details-dark")
    page.emulate_media(color_scheme="light")
    assert way_back.of_deployment(deployment).kind == "reinstall"
    shops.fail(deployment, devices)
    page.goto(address(deployment))
    settled(page)
    keep(page, "details-held")
    page.set_viewport_size({"width": 360, "height": 740})
    page.reload()
    keep(page, "phone")
    page.set_viewport_size({"width": 1280, "height": 900})
    scene.start(devices[:4], to=scene.version(121, package="com.nexmdm"))
    page.goto("/admin/")
    keep(page, "home")
