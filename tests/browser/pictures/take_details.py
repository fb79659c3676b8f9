"""The page of one deployment in its states, its dialogs and its drawer."""

from typing import Any

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from deployments import tick
from deployments.models import Deployment
from deployments.operations import fleet_switch, lifecycle
from tests.browser.pictures.conftest import Take
from tests.browser.test_story import mixed, sign_in
from tests.deployments import scene
from tests.deployments.pages import address

pytestmark = pytest.mark.django_db(transaction=True)


def shown(page: Page, deployment: Deployment, end: str = "details/") -> None:
    page.goto(address(deployment, end))
    expect(page.locator("#nx-window.nx-windowed")).to_be_visible()


def test_running(page: Page, live_server: Any, take: Take) -> None:
    deployment, _ = mixed()
    sign_in(page, live_server)
    shown(page, deployment)
    take("details-running")
    page.get_by_role("link", name="Cancel…").click()
    expect(page.get_by_role("dialog")).to_contain_text("will not start")
    take("details-cancel")
    page.get_by_role("link", name="Keep it as it is").click()
    page.get_by_role("link", name="Change pace…").click()
    expect(page.get_by_role("dialog")).to_contain_text("Nothing else")
    take("details-pace")
    page.keyboard.press("Escape")
    page.get_by_label("Reason").select_option("waiting:battery_low")
    expect(page.locator("#nx-counted")).to_have_text("4 devices under these filters")
    take("details-filtered")
    page.locator("#nx-table tbody a").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("Every check")
    take("details-drawer")


def test_held(page: Page, live_server: Any, take: Take) -> None:
    deployment, fleet = mixed()
    for device in fleet[4:8]:
        scene.beat(device)
        scene.report(deployment, device, "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)
    sign_in(page, live_server)
    shown(page, deployment)
    take("details-held")
    page.get_by_role("link", name="Resume…").click()
    expect(page.get_by_role("dialog")).to_contain_text("I looked at the failures")
    take("details-override")


def test_ended(page: Page, live_server: Any, take: Take) -> None:
    fleet = scene.devices(3)
    complete = scene.start(fleet)
    sign_in(page, live_server)
    shown(page, complete)
    take("details-begun")
    for device in fleet:
        scene.install(complete, device)
    tick.advance(complete.pk)
    shown(page, complete)
    take("details-complete")
    canceled = scene.start(fleet, to=scene.version(122))
    lifecycle.cancel(scene.admin(), canceled.pk, reason="wrong build")
    shown(page, canceled)
    take("details-canceled")
    stopped = scene.start(fleet, to=scene.version(123), window=_shut())
    shown(page, stopped)
    take("details-outside-window")
    fleet_switch.change(scene.admin(), kill_switch=True, reason="Tills show a black screen")
    shown(page, stopped)
    take("details-kill-switch")


def test_waiting_for_a_person(page: Page, live_server: Any, take: Take, settings: Any) -> None:
    settings.APPROVAL_ABOVE = 2
    scene.devices(12)
    deployment = scene.start()
    sign_in(page, live_server)
    shown(page, deployment)
    take("details-needs-approval")
    page.get_by_role("link", name="Approve…").click()
    expect(page.get_by_role("dialog")).to_contain_text("asked for by")
    take("details-approve")
    page.get_by_role("link", name="Leave it waiting").click()
    lifecycle.pause(scene.admin(), deployment.pk)
    shown(page, deployment)
    take("details-paused")
    page.get_by_role("link", name="Add a reason…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    take("details-explain")


def test_not_fresh(page: Page, live_server: Any, take: Take, tolerated: list[str]) -> None:
    tolerated += ["401 (Unauthorized)", "net::ERR"]
    deployment, _ = mixed()
    sign_in(page, live_server)
    shown(page, deployment, "details/?sort=-tries")
    page.get_by_role("button", name="Freeze view").click()
    take("details-frozen-sorted")
    page.get_by_role("button", name="Go on showing what happens").click()
    Session.objects.all().delete()
    expect(page.get_by_role("status")).to_contain_text("Signed out")
    take("details-signed-out")


def _shut() -> dict[str, str]:
    return {"start_iso": "2090-01-01T00:00:00+00:00", "end_iso": "2090-01-02T00:00:00+00:00"}
