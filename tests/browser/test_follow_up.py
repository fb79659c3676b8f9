"""Going back by mouse: one click and one confirmation, or the words and the typing that lost data are worth."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from deployments.models import Deployment
from tests.browser.conftest import sideways, violations
from tests.browser.test_story import sign_in
from tests.deployments import scene
from tests.deployments.going_back import SHOP, on, rebuilt, tripped, version
from tests.deployments.pages import address

pytestmark = pytest.mark.django_db(transaction=True)


def by_reinstall() -> Deployment:
    version(120, SHOP)
    return tripped(scene.devices(4, current_versions=on(SHOP, 120)), package=SHOP, installed=2)


def test_a_rebuild_is_one_click_and_one_confirmation(page: Page, live_server: Any) -> None:
    rebuilt()
    bad = tripped(scene.devices(4), installed=2)
    sign_in(page, live_server)
    page.goto(address(bad))
    page.get_by_role("link", name="Roll back…").click()
    page.get_by_role("button", name="Roll back 3 devices to 1.0.122").click()
    expect(page.get_by_role("heading", level=1)).not_to_contain_text(f"deployment #{bad.pk}")
    made = Deployment.objects.get(rollback_of=bad)
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"deployment #{made.pk}")
    page.get_by_role("link", name=f"deployment #{bad.pk}", exact=True).click()
    expect(page.get_by_text(f"Rolled back by deployment #{made.pk}.", exact=True)).to_be_visible()


def test_a_reinstall_is_accepted_and_typed(page: Page, live_server: Any) -> None:
    bad = by_reinstall()
    sign_in(page, live_server)
    page.goto(address(bad))
    expect(page.get_by_text("All data of the app on these devices is lost.")).to_be_visible()
    page.get_by_role("link", name="Roll back…").click()
    page.get_by_label("The app's data on these devices is deleted").check()
    typed = page.get_by_label("Type the version that will be installed")
    typed.fill("1.0.121")
    page.get_by_role("button", name="Reinstall 3 devices to 1.0.120").click()
    expect(page.get_by_role("alert")).to_contain_text("Type the version that will be installed: 1.0.120")
    assert not Deployment.objects.filter(rollback_of=bad).exists()
    page.get_by_label("The app's data on these devices is deleted").check()
    typed.fill("1.0.120")
    page.get_by_role("button", name="Reinstall 3 devices to 1.0.120").click()
    expect(page.get_by_text(f"Deployment #{bad.pk} is being rolled back.")).to_be_visible()
    assert Deployment.objects.get(rollback_of=bad).install_mode == "reinstall"


@pytest.mark.parametrize("width", [1280, 320])
def test_the_pages_are_accessible_and_fit(page: Page, live_server: Any, width: int) -> None:
    bad = by_reinstall()
    sign_in(page, live_server)
    page.set_viewport_size({"width": width, "height": 900})
    for where in (address(bad), address(bad, "rollback/"), address(bad, "retry/")):
        page.goto(where)
        assert violations(page) == []
        assert sideways(page) <= 0
