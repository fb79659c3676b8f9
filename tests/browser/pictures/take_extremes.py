"""Pages with what strains them: long, foreign and mirrored words, very many rows, none at all, no scripts."""

from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from apks.models import Apk, ApkVersion
from deployments.models import Deployment
from deployments.operations import lifecycle
from devices.models import Device
from tests.browser.pictures.conftest import FOLDER, Take
from tests.browser.test_story import sign_in
from tests.deployments import scene
from tests.deployments.pages import address

pytestmark = pytest.mark.django_db(transaction=True)

LONG: Final = "Kundendienstaußenstellenmitarbeiterhandgerät im Untergeschoss am Personaleingang"
NAMES: Final = (
    LONG,
    "جهاز الدفع رقم ١٢ بالطابق السفلي",
    "🧃🛒 Kasse",
    "W" * 80,
    "\u202edesrever\u202c till",
)
LISTS: Final = (
    "deployments/deployment",
    "deployments/deploymentevent",
    "devices/enrollmenttoken",
    "apks/apk",
    "mdm/apitoken",
)
TAGS: Final = [f"tag {number} {'of a rather long name' * (number % 3)}"[:60] for number in range(24)]


def strained() -> tuple[Deployment, ApkVersion]:
    version = scene.version(
        121, version_name="2026.11.25-rc.4+build.20261125.nightly.unsigned-verification-off"
    )
    Apk.objects.update(display_name=LONG)
    made = []
    for name in NAMES:
        many = {"tags": TAGS, "groups": TAGS[:9], "model": f"{name[:40]} Pro Max"}
        made += scene.devices(1, alias=name, external_id=name, **many)
    scene.devices(1, alias="", groups=[], tags=[])
    deployment = scene.start(made, to=version, rate=100)
    scene.beat(made[0])
    scene.report(deployment, made[0], "failed", error_code="install_blocked", error=f"{LONG} <b>{'W' * 300}")
    scene.forget_numbers()
    return deployment, ApkVersion.objects.get(pk=version.pk)


def test_long_and_foreign_names(page: Page, live_server: Any, take: Take) -> None:
    deployment, version = strained()
    sign_in(page, live_server)
    for name, where in {
        "devices": "/admin/devices/device/",
        "device": f"/admin/devices/device/{Device.objects.earliest('pk').pk}/change/",
        "versions": "/admin/apks/apkversion/",
        "version": f"/admin/apks/apkversion/{version.pk}/change/",
        "packages": "/admin/apks/apk/",
        "home": "/admin/",
        "deployments": "/admin/deployments/deployment/",
        "details": address(deployment),
    }.items():
        page.goto(where)
        take(f"extreme-{name}")
    page.locator("#nx-table tbody a").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("Sends")
    take("extreme-drawer")
    page.goto(f"/admin/apks/apkversion/{version.pk}/deploy/")
    page.get_by_label("Selected devices: those I tick").check()
    expect(page.locator("#nx-picker tbody tr")).to_have_count(6)
    take("extreme-picker")


def test_nothing_and_very_much(page: Page, live_server: Any, take: Take) -> None:
    sign_in(page, live_server)
    for name in LISTS:
        page.goto(f"/admin/{name}/")
        take(f"none-{name.partition('/')[2]}")
    scene.devices(10_050)
    page.goto("/admin/devices/device/?q=till")
    take("many-devices")
    for code in range(130, 195):
        made = scene.start(_one(), to=scene.version(code))
        lifecycle.cancel(scene.admin(), made.pk, reason="Wrong build")
    scene.start(rate=1, canary=5, to=scene.version(200))
    page.goto("/admin/deployments/deployment/?p=1")
    take("many-deployments")
    page.goto("/admin/deployments/deploymentevent/")
    take("many-events")


def _one() -> list[Device]:
    return list(Device.objects.order_by("pk")[:1])


def test_a_deployment_without_a_device(page: Page, live_server: Any, take: Take) -> None:
    scene.devices(2)
    deployment = scene.start()
    Deployment.objects.filter(pk=deployment.pk).update(planned_at=None, status="queued", started_at=None)
    deployment.tasks.all().delete()
    sign_in(page, live_server)
    page.goto(address(deployment))
    take("details-nobody")
    page.goto("/admin/")
    take("home-nobody")
    page.goto("/admin/deployments/deployment/")
    take("deployments-nobody")


def test_without_scripts(browser: Any, live_server: Any) -> None:
    deployment, version = strained()
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, live_server)
    for name, where in {
        "details": address(deployment),
        "deploy": f"/admin/apks/apkversion/{version.pk}/deploy/",
        "cancel": address(deployment, "cancel/"),
    }.items():
        page.goto(where)
        page.screenshot(path=FOLDER / f"plain-{name}.png", full_page=True)
    context.close()
