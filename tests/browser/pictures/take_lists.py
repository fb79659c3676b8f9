"""Lists and their rows: devices, packages, tokens, the logs; and what is shown once."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page

from devices.models import Device
from mdm import api_tokens
from tests.browser.pictures import shops
from tests.browser.pictures.conftest import Take
from tests.browser.test_story import mixed, sign_in
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)


def test_devices(page: Page, live_server: Any, take: Take) -> None:
    sign_in(page, live_server)
    page.goto("/admin/devices/device/")
    take("devices-empty")
    _, fleet = mixed()
    low = Device.objects.get(pk=fleet[-1].pk + 4)
    held = {"hold_until": timezone.now() + timedelta(hours=9), "hold_reason": "Inventory night"}
    Device.objects.filter(pk=fleet[5].pk).update(**held)
    scene.quiet(fleet[6], days=3)
    page.goto("/admin/devices/device/")
    take("devices")
    page.goto(f"/admin/devices/device/{low.pk}/change/")
    take("device")
    page.goto(f"/admin/devices/device/{low.pk}/edit/")
    take("device-edit")
    page.goto(f"/admin/devices/device/{low.pk}/retire/")
    take("device-retire")


def test_packages_and_versions(page: Page, live_server: Any, take: Take) -> None:
    version = shops.versions()
    sign_in(page, live_server)
    page.goto("/admin/apks/apk/")
    take("packages")
    page.goto("/admin/apks/apk/add/")
    take("package-add")
    page.goto(f"/admin/apks/apkversion/{version.pk}/change/")
    take("version")
    page.goto("/admin/apks/apkversion/add/")
    take("version-upload")


def test_tokens_and_logs(page: Page, live_server: Any, take: Take) -> None:
    sign_in(page, live_server)
    page.goto("/admin/devices/enrollmenttoken/add/")
    take("enrolment-issue")
    page.get_by_role("button", name="Issue token").click()
    page.get_by_text("Copy it now").wait_for()
    take("enrolment-shown-once")
    page.goto("/admin/devices/enrollmenttoken/")
    take("enrolment-tokens")
    page.goto("/admin/mdm/apitoken/add/")
    page.get_by_label("Name").fill("nightly export")
    page.get_by_role("button", name="Issue token").click()
    page.get_by_text("Copy it now").wait_for()
    take("api-token-shown-once")
    api_tokens.issue(scene.admin(), scene.admin().user, name="dashboard", read_only=True)
    page.goto("/admin/mdm/apitoken/")
    take("api-tokens")
    page.goto("/admin/mdm/auditevent/")
    take("audit")
    deployment, _ = mixed()
    assert deployment
    page.goto("/admin/deployments/deploymentevent/")
    take("deployment-events")
    page.goto("/admin/deployments/")
    take("all-of-deployments")
    page.goto("/admin/auth/user/")
    take("users")
