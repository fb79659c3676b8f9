"""The page of a deployment at its extremes: many rows, no scripts, 320 pixels, and axe in each state and dialog."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from apks.models import Apk
from deployments import tick
from deployments.models import Deployment
from deployments.operations import lifecycle
from tests.browser.conftest import in_both_schemes, sideways
from tests.browser.test_details import headline, held, shown
from tests.browser.test_story import mixed, sign_in
from tests.deployments import scene
from tests.deployments.pages import address

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_window_over_many_rows_keeps_few_of_them(page: Page, live_server: Any) -> None:
    fleet = scene.devices(3_000)
    deployment = scene.start(rate=1, canary=1)
    shown(page, live_server, deployment)
    table = page.locator("#nx-table")
    expect(table).to_have_attribute("aria-rowcount", "3001")
    expect(table.locator("tbody tr[id]").first).to_have_attribute("aria-rowindex", "2")
    page.locator("#nx-window").focus()
    for key, device, index in (("End", fleet[-1], 3001), ("Home", fleet[0], 2), ("PageDown", fleet[20], 22)):
        page.keyboard.press(key)
        row = table.get_by_role("row").filter(has=page.get_by_role("link", name=device.alias, exact=True))
        expect(row).to_have_attribute("aria-rowindex", str(index))
        assert page.evaluate("document.querySelectorAll('*').length") <= 800
        assert table.locator("tbody tr[id]").count() <= 40


def test_without_scripts_the_table_comes_in_pages_and_acts_on_pages_of_their_own(
    browser: Any, live_server: Any
) -> None:
    scene.devices(60)
    deployment = scene.start(rate=1, canary=1)
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, live_server)
    page.goto(address(deployment))
    expect(page.locator("#nx-table tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next 50").click()
    expect(page.locator("#nx-table tbody tr")).to_have_count(10)
    page.locator("#nx-query").fill("till-7")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#nx-table tbody tr")).to_have_count(1)
    page.get_by_role("link", name="till-7").click()
    expect(page.get_by_role("heading", name="till-7")).to_be_visible()
    page.goto(address(deployment))
    page.get_by_role("button", name="Pause").click()
    headline(page).to_contain_text("Paused by root")
    page.get_by_role("link", name="Cancel…").click()
    page.get_by_role("link", name="Keep it as it is").click()
    page.get_by_role("link", name="Cancel…").click()
    page.get_by_role("button", name="Cancel deployment for 60 devices").click()
    headline(page).to_contain_text("Canceled for good by root")
    context.close()


def test_at_twice_the_size_nothing_is_beyond_the_edge(browser: Any, live_server: Any) -> None:
    deployment, _ = mixed()
    version = deployment.to_version_id
    half = {"width": 640, "height": 450}  # of 1280 by 900
    context = browser.new_context(base_url=live_server.url, viewport=half, device_scale_factor=2)
    page = context.new_page()
    sign_in(page, live_server)
    lists = ("deployments/deployment", "apks/apkversion", "devices/device", "watch/alert", "mdm/auditevent")
    pages = ["/admin/", "/admin/deployments/fleetswitch/", f"/admin/apks/apkversion/{version}/deploy/"]
    pages += [address(deployment), *(f"/admin/{name}/" for name in lists)]
    wide = {}
    for where in pages:
        page.goto(where)
        wide[where] = sideways(page)
    page.goto(address(deployment))
    page.get_by_role("link", name="Cancel…").click()
    dialog = page.get_by_role("dialog", name="Cancel deployment")
    expect(dialog.get_by_role("button", name="Cancel deployment for")).to_be_in_viewport()
    context.close()
    assert {where: pixels for where, pixels in wide.items() if pixels > 0} == {}


DIALOGS = {"nx-cancel": "will not start", "nx-pace": "Nothing else", "nx-resume": "within window, rate"}


@pytest.mark.parametrize("state", ["empty", "running", "held", "complete", "canceled"])
def test_no_state_and_no_dialog_has_a_fault_that_axe_finds(page: Page, live_server: Any, state: str) -> None:
    deployment = _in_state(state)
    shown(page, live_server, deployment)
    expect(page.locator(".nx-awaited")).to_have_count(0)
    found = {"page": _looks(page)}
    for opener, words in DIALOGS.items():
        link = page.locator(f"#{opener}[href]")
        if link.count():
            link.click()
            expect(page.get_by_role("dialog")).to_contain_text(words)
            found[opener] = _looks(page)
            page.keyboard.press("Escape")
    if state != "empty":
        page.locator("#nx-table tbody a").last.click()
        expect(page.get_by_role("dialog")).to_contain_text("Sends")
        found["drawer"] = _looks(page)
    assert found == dict.fromkeys(found, ([], [], 0))


def _looks(page: Page) -> tuple[list[str], list[str], int]:
    """Faults by light and dark, and pixels too wide at 320."""
    page.set_viewport_size({"width": 320, "height": 700})
    looks = *in_both_schemes(page), max(0, sideways(page))
    page.set_viewport_size({"width": 1280, "height": 900})
    return looks


def test_the_longest_names_make_no_page_wider_than_a_phone(page: Page, live_server: Any) -> None:
    name = "Kundendienstaußenstellenmitarbeiterhandgerätehülle"
    version = scene.version(version_name=f"1.0-{name}")
    Apk.objects.update(display_name=f"{name} {name[::-1]}"[:100])
    fleet = scene.devices(1, alias=name, tags=[f"{name} {number}" for number in range(9)])
    deployment = scene.start(fleet, to=version)
    sign_in(page, live_server)
    page.set_viewport_size({"width": 320, "height": 700})
    device = f"/admin/devices/device/{fleet[0].pk}/change/"
    deploy = f"/admin/apks/apkversion/{version.pk}/deploy/"
    wide = {}
    for where in ("/admin/", address(deployment), "/admin/devices/device/", device, deploy):
        page.goto(where)
        wide[where] = max(0, sideways(page))
    expect(page.locator("#nx-answer .nx-big")).to_be_visible()
    assert wide == dict.fromkeys(wide, 0)


def _in_state(state: str) -> Deployment:
    if state == "held":
        return held()
    if state == "empty":
        scene.enable()
        scene.devices(2)
        deployment = scene.start()
        Deployment.objects.filter(pk=deployment.pk).update(planned_at=None, status="queued", started_at=None)
        deployment.tasks.all().delete()
        return deployment
    if state == "complete":
        fleet = scene.devices(3)
        deployment = scene.start(fleet)
        for device in fleet:
            scene.install(deployment, device)
        tick.advance(deployment.pk)
        assert scene.state(deployment)[0] == "complete"
        return deployment
    deployment, _ = mixed()
    if state == "canceled":
        lifecycle.cancel(scene.admin(), deployment.pk, reason="wrong build", expected_status="running")
    return deployment
