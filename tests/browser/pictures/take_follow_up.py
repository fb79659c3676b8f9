"""Going back, trying again, withdrawing."""

from typing import Any

import pytest
from playwright.sync_api import Page

from deployments.operations import lifecycle
from tests.browser.pictures.conftest import Take
from tests.browser.test_follow_up import by_reinstall
from tests.browser.test_story import sign_in
from tests.deployments import scene
from tests.deployments.going_back import go_back, rebuilt, tripped
from tests.deployments.pages import address

pytestmark = pytest.mark.django_db(transaction=True)


def test_rollback_by_rebuild(page: Page, live_server: Any, take: Take) -> None:
    rebuilt()
    bad = tripped(scene.devices(8), installed=3)
    sign_in(page, live_server)
    page.goto(address(bad))
    take("rollback-offered-rebuild")
    page.goto(address(bad, "rollback/"))
    take("rollback-confirm-rebuild")
    made = go_back(bad, reason="Tills freeze")
    page.goto(address(made))
    take("rollback-running")
    page.goto(f"/admin/apks/apkversion/{made.to_version_id}/withdraw/")
    take("withdraw")


def test_rollback_by_reinstall(page: Page, live_server: Any, take: Take) -> None:
    bad = by_reinstall()
    sign_in(page, live_server)
    page.goto(address(bad))
    take("rollback-offered-reinstall")
    page.goto(address(bad, "rollback/"))
    take("rollback-confirm-reinstall")


def test_retry(page: Page, live_server: Any, take: Take) -> None:
    deployment = scene.start(scene.devices(4))
    lifecycle.cancel(scene.admin(), deployment.pk, reason="Wrong group")
    sign_in(page, live_server)
    page.goto(address(deployment))
    take("retry-offered")
    page.goto(address(deployment, "retry/"))
    take("retry-confirm")
