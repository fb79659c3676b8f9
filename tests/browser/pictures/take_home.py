"""The first page: for an empty installation, with everything well, and when something wants a person."""

from typing import Any

import pytest
from playwright.sync_api import Page

from deployments.models import FleetSwitch
from deployments.operations import fleet_switch
from tests.browser.pictures.conftest import Take
from tests.browser.test_alerts import some
from tests.browser.test_details import held
from tests.browser.test_story import sign_in
from tests.deployments import scene
from tests.deployments.pages import someone

pytestmark = pytest.mark.django_db(transaction=True)


def test_home(page: Page, live_server: Any, take: Take) -> None:
    page.goto("/admin/")
    take("login")
    sign_in(page, live_server)
    page.goto("/admin/")
    take("home-empty")
    held()
    FleetSwitch.objects.update(deployments_enabled=True)
    scene.start(scene.devices(5), to=scene.version(122))
    page.goto("/admin/")
    take("home")
    page.goto("/admin/deployments/deployment/")
    take("deployments")
    some()
    fleet_switch.change(scene.admin(), kill_switch=True, reason="Tills show a black screen")
    page.goto("/admin/")
    take("home-stopped")


def test_what_a_viewer_sees(page: Page, live_server: Any, take: Take) -> None:
    sign_in(page, live_server, someone("viewer"))
    page.goto("/admin/")
    take("home-viewer")
    page.goto("/admin/mdm/auditevent/")
    take("not-allowed")
    page.goto("/admin/nowhere/")
    take("not-there")
