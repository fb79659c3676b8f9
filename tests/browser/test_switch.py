"""Kill switch and flag in a real browser: what each turn says before it is done, and the banner afterwards."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from deployments.models import Deployment, FleetSwitch
from tests.browser.conftest import sideways, violations
from tests.browser.test_story import mixed, sign_in
from tests.deployments import scene
from tests.deployments.pages import address, someone

pytestmark = pytest.mark.django_db(transaction=True)

SWITCH = "/admin/deployments/fleetswitch/"


def test_stopping_everything_takes_a_reason_and_nothing_typed(page: Page, live_server: Any) -> None:
    deployment, _ = mixed()
    sign_in(page, live_server)
    page.goto(SWITCH)
    page.get_by_role("link", name="Stop all rollouts…").click()
    dialog = page.get_by_role("dialog", name="Stop all rollouts")
    expect(dialog).to_contain_text("Pauses every queued or running deployment: 1.")
    expect(dialog).to_contain_text("Told to stop before they install: 1 device at work")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    assert violations(page) == []
    page.keyboard.type("Tills show a black screen")
    page.keyboard.press("Enter")
    expect(page.locator(".nx-banner")).to_contain_text("“Tills show a black screen”")
    assert scene.state(deployment) == ("paused", "kill_switch")
    page.goto(address(deployment))
    expect(page.locator(".nx-banner")).to_contain_text("All rollouts are stopped")


def test_turning_it_off_wants_the_words_and_begins_on_the_safe_side(page: Page, live_server: Any) -> None:
    deployment, _ = mixed()
    FleetSwitch.objects.update(kill_switch=True, reason="bad build")
    Deployment.objects.update(status="paused", paused_reason="kill_switch", paused_at=deployment.created_at)
    sign_in(page, live_server)
    page.goto("/admin/")
    page.locator(".nx-banner").get_by_role("link", name="Turn off…").click()
    expect(page.get_by_role("heading", name="Turn the kill switch off")).to_be_visible()
    page.get_by_role("link", name="Go back").click()
    page.get_by_role("link", name="Turn the kill switch off…").click()
    dialog = page.get_by_role("dialog", name="Turn the kill switch off")
    expect(dialog.get_by_role("button", name="Go back")).to_be_focused()
    dialog.get_by_label("Reason").fill("False alarm")
    dialog.get_by_label("Type RESUME ALL").fill("resume")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Keep editing").click()
    dialog.get_by_role("button", name="Turn the kill switch off").click()
    expect(page.get_by_role("alert")).to_contain_text("Type RESUME ALL, in capitals.")
    page.get_by_label("Type RESUME ALL").fill("RESUME ALL")
    page.get_by_role("button", name="Turn the kill switch off").click()
    expect(page.locator(".nx-banner")).to_have_count(0)
    assert scene.state(deployment) == ("paused", "kill_switch")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_and_dialogs_have_no_fault_at_320_pixels(page: Page, live_server: Any, scheme: Any) -> None:
    mixed()
    sign_in(page, live_server)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 700})
    page.goto(SWITCH)
    found = {"page": (violations(page), sideways(page))}
    for name in ("Stop all rollouts", "Switch deployments off"):
        page.get_by_role("link", name=f"{name}…").click()
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        found[name] = (violations(page), sideways(page))
        page.keyboard.press("Escape")
        expect(page.get_by_role("link", name=f"{name}…")).to_be_focused()
    assert {what: of for what, of in found.items() if of != ([], 0)} == {}


def test_a_viewer_sees_where_both_stand_and_nothing_to_turn(page: Page, live_server: Any) -> None:
    sign_in(page, live_server, someone("viewer"))
    page.goto(SWITCH)
    expect(page.get_by_text("Can a deployment be started?")).to_be_visible()
    expect(page.locator("a[data-dialog]")).to_have_count(0)
