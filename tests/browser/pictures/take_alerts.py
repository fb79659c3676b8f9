"""Alerts: the banner on a page, the list, one alert, and the page on which it is acknowledged."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.pictures.conftest import Take
from tests.browser.test_alerts import LIST, some
from tests.browser.test_story import sign_in

pytestmark = pytest.mark.django_db(transaction=True)


def test_alerts(page: Page, live_server: Any, take: Take) -> None:
    sign_in(page, live_server)
    page.goto(LIST)
    take("alerts-none")
    pk = some()
    page.goto("/admin/devices/device/")
    take("alerts-banner")
    page.goto(LIST)
    take("alerts-list")
    page.goto(f"{LIST}{pk}/change/")
    take("alerts-one")
    page.goto(f"{LIST}{pk}/acknowledge/")
    take("alerts-acknowledge")


def test_where_alerts_go(page: Page, live_server: Any, take: Take, settings: Any) -> None:
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL, settings.ALERT_WEBHOOK_SECRET = [], "", ""
    sign_in(page, live_server)
    page.goto("/admin/watch/alertdelivery/")
    take("deliveries-nowhere")
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = ["ops@example.com"], "https://hooks.example.com/in"
    some()
    page.goto("/admin/watch/alertdelivery/")
    take("deliveries-unsigned")
