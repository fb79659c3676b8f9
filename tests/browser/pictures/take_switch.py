"""Kill switch and feature flag."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from deployments.operations import fleet_switch
from tests.browser.pictures.conftest import Take
from tests.browser.test_story import mixed, sign_in
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)

SWITCH = "/admin/deployments/fleetswitch/"


def test_switch(page: Page, live_server: Any, take: Take) -> None:
    sign_in(page, live_server)
    page.goto(SWITCH)
    take("switch-off-empty")
    mixed()
    page.goto(SWITCH)
    take("switch-off")
    page.get_by_role("link", name="Stop all rollouts…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    take("switch-stop")
    fleet_switch.change(scene.admin(), kill_switch=True, reason="Tills show a black screen")
    page.goto(SWITCH)
    take("switch-on")
