"""Alerts in a real browser: said on every page, acknowledged by keyboard, readable at any width."""

from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from mdm.watch import alerts
from mdm.watch.alerts import Cause
from tests.browser.conftest import sideways, violations
from tests.browser.test_story import sign_in
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)

LIST: Final = "/admin/watch/alert/"


def some() -> int:
    """Four open alerts; the id of the one about a deployment."""
    deployment = scene.start(scene.devices(2))
    alerts.raise_once(
        Cause("worker_silent", "w1", "worker-1@tills-01:4711 has not been heard of for more than 30 s.")
    )
    alerts.raise_once(Cause("queue_backlog", "queue", "The oldest task that is due is 14 min late."))
    alerts.raise_once(
        Cause("serial_taken", "device 1", "Somebody tried to enrol a device with the serial " + "R" * 90)
    )
    words = f"Deployment {deployment.pk} (NexMDM 1.0.121) has paused itself: its canary failed."
    return alerts.raise_once(Cause("canary_failed", f"deployment {deployment.pk}", words, deployment.pk)) or 0


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_banner_and_its_pages_are_readable_for_everybody(
    page: Page, live_server: Any, width: int, scheme: Any
) -> None:
    pk = some()
    sign_in(page, live_server)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})
    for path in ("/admin/", LIST, f"{LIST}{pk}/change/", f"{LIST}{pk}/acknowledge/"):
        page.goto(path)
        alerts_here = page.get_by_role("region", name="Open alerts").get_by_role("listitem")
        assert alerts_here.count() == (4 if width == 1280 else 2), "on a phone one, and the way to the others"
        expect(alerts_here.last).to_contain_text("More open alerts")
        assert violations(page) == [], path
        if "change" not in path and path != LIST:  # Django's own tables scroll
            assert sideways(page) <= 0, path


def test_an_alert_is_acknowledged_by_keyboard(page: Page, live_server: Any) -> None:
    pk = some()
    sign_in(page, live_server)
    page.goto(LIST)
    page.get_by_role("link", name=f"Acknowledge alert {pk}", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Acknowledge").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{LIST}")
    page.get_by_text("Acknowledged. The alert stays until its cause is gone.").wait_for()
    assert page.get_by_role("region", name="Open alerts").get_by_role("listitem").count() == 3
