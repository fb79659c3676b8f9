"""The main story by mouse, and every page for accessibility, policy and narrow windows. The `page` fixture
fails a test on any error or warning of the browser, so each walk is a test of the policy as well."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from deployments import tick
from deployments.models import Deployment
from deployments.operations import fleet_switch, lifecycle
from devices.models import Device
from tests.browser.conftest import in_both_schemes, sideways
from tests.deployments import scene
from tests.deployments.pages import address, someone

pytestmark = pytest.mark.django_db(transaction=True)


def sign_in(page: Page, live_server: Any, user: User | None = None) -> None:
    client = Client()
    client.force_login(user or User.objects.create_superuser("root", password="pw"))
    session = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])


def asked_of(page: Page, deployment: Deployment) -> list[str]:
    """Requests for parts of that deployment's page from now on."""
    asked: list[str] = []
    page.on(
        "request",
        lambda request: asked.append(request.url) if address(deployment, "") in request.url else None,
    )
    return asked


def mixed() -> tuple[Deployment, list[Any]]:
    """A running deployment with devices in every group."""
    fleet = scene.devices(12, groups=["Berlin"], tags=["kiosk"])
    scene.devices(3, installed=121)
    scene.devices(4, beat={"battery": 12}, groups=["Porto"])
    deployment = scene.start(canary=2, rate=100, concurrency=5, retry={"max": 0, "backoff_sec": 1})
    for device in fleet[:2]:
        scene.install(deployment, device)
    tick.advance(deployment.pk)
    scene.beat(fleet[2])
    scene.report(deployment, fleet[2], "downloading")
    scene.beat(fleet[3])
    scene.report(
        deployment, fleet[3], "failed", error_code="install_blocked", error="<script>alert(1)</script>"
    )
    return deployment, fleet


def test_the_main_story_by_mouse(page: Page, live_server: Any) -> None:
    scene.enable()
    fleet = scene.devices(3, groups=["Berlin"])
    scene.devices(2, groups=["Porto"])
    version = scene.version()
    User.objects.create_superuser("root", password="pw")

    page.goto("/admin/")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill("pw")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="list of versions").click()
    page.get_by_role("link", name=f"Deploy {version}").click()

    dialog = page.get_by_role("dialog", name=f"Deploy {version}")
    dialog.get_by_label("Selected devices: all that match").check()
    dialog.get_by_role("group", name="Groups").get_by_label("Berlin").check()
    dialog.get_by_label("Canary", exact=True).fill("1")
    expect(dialog.get_by_text("will update, of 3 devices")).to_be_visible()
    dialog.get_by_role("button", name="Start deployment on 3 devices").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("deployment #")
    deployment = Deployment.objects.get()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"deployment #{deployment.pk}")
    tick.advance(deployment.pk)
    expect(page.locator(".nx-headline")).to_contain_text("Canary first: 0 of 1 device succeeded")
    scene.install(deployment, fleet[0])
    tick.advance(deployment.pk)
    expect(page.locator(".nx-headline")).to_contain_text("1 of 3 devices succeeded")
    expect(page.locator("#nx-table tbody tr[id]").first).to_contain_text("Succeeded")

    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".nx-headline")).to_contain_text("Paused by root")
    page.get_by_role("link", name="Resume…").click()
    page.get_by_role("button", name="Resume for 2 devices").click()
    expect(page.locator(".nx-headline")).to_contain_text("Running")
    for device in fleet[1:]:
        scene.install(deployment, device)
    tick.advance(deployment.pk)
    expect(page.locator(".nx-headline")).to_contain_text("Everything has ended: 3 of 3 devices succeeded")
    expect(page.locator("#nx-live")).to_have_attribute("data-terminal", "")


def test_refreshes_keep_focus_and_selected_text(page: Page, live_server: Any) -> None:
    deployment, fleet = mixed()
    sign_in(page, live_server)
    page.goto(address(deployment))
    page.locator("#nx-cancel").focus()
    page.evaluate("getSelection().selectAllChildren(document.getElementById('nx-progress'))")
    scene.install(deployment, fleet[4])
    expect(page.locator(".nx-headline")).to_contain_text("3 of 19 devices succeeded")
    assert page.evaluate("document.activeElement.id") == "nx-cancel"
    assert page.evaluate("String(getSelection())").strip() == "Progress of 19 devices"


def test_nothing_is_asked_while_the_page_is_hidden_and_at_once_when_it_is_back(
    page: Page, live_server: Any
) -> None:
    deployment, _ = mixed()
    sign_in(page, live_server)
    page.clock.install()
    page.goto(address(deployment))
    asked = asked_of(page, deployment)
    page.evaluate(_HIDE.replace("HIDDEN", "true"))
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_response(lambda answer: "/live/" in answer.url):
        page.evaluate(_HIDE.replace("HIDDEN", "false"))
        page.clock.run_for(10)


# Headless pages are never hidden by themselves.
_HIDE = """Object.defineProperty(document, "hidden", {configurable: true, get: () => HIDDEN});
document.dispatchEvent(new Event("visibilitychange"))"""


def test_an_ended_deployment_is_not_asked_about(page: Page, live_server: Any) -> None:
    deployment, _ = mixed()
    lifecycle.cancel(scene.admin(), deployment.pk)
    sign_in(page, live_server)
    page.clock.install()
    page.goto(address(deployment))
    asked = asked_of(page, deployment)
    page.clock.run_for(60_000)
    assert asked == []


def test_a_deployment_that_ends_in_sight_is_shown_whole_and_asked_about_no_more(
    page: Page, live_server: Any
) -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet)
    sign_in(page, live_server)
    page.clock.install()
    page.goto(address(deployment))
    expect(page.locator("#nx-window.nx-windowed")).to_be_visible()
    for device in fleet:
        scene.install(deployment, device)
    tick.advance(deployment.pk)
    with page.expect_response(lambda answer: "/record/" in answer.url):
        page.clock.run_for(2_500)
    expect(page.locator(".nx-headline")).to_contain_text("Everything has ended: 2 of 2 devices succeeded")
    expect(page.locator("#nx-table tbody tr[id]", has_text="Succeeded")).to_have_count(2)
    expect(page.locator("#nx-events")).to_contain_text("Complete")
    expect(page.locator("#nx-pause")).to_have_count(0)
    asked = asked_of(page, deployment)
    page.clock.run_for(60_000)
    assert asked == []


@pytest.mark.parametrize("state", ["empty", "running", "held", "stopped", "finished"])
def test_no_page_has_a_fault_that_axe_finds_or_scrolls_sideways(
    page: Page, live_server: Any, state: str
) -> None:
    addresses = _in_state(state)
    sign_in(page, live_server)
    page.set_viewport_size({"width": 320, "height": 700})
    found = {}
    for where in addresses:
        page.goto(where)
        found[where] = (*in_both_schemes(page), max(0, sideways(page)))
    assert found == {where: ([], [], 0) for where in addresses}


def _empty() -> list[str]:
    user = someone("operator")
    lists = (
        "apks/apk", "apks/apkversion", "devices/device", "devices/enrollmenttoken", "deployments/deployment",
        "mdm/apitoken", "mdm/auditevent", "auth/user", "auth/group",
    )  # fmt: skip
    adding = (
        "apks/apk",
        "apks/apkversion",
        "devices/enrollmenttoken",
        "mdm/apitoken",
        "auth/user",
        "auth/group",
    )
    of_user = ("change", "password", "history", "delete")
    return [
        "/admin/",
        "/admin/deployments/fleetswitch/",
        "/admin/password_change/",
        *(f"/admin/auth/user/{user.pk}/{page}/" for page in of_user),
        *(f"/admin/{name}/" for name in lists),
        *(f"/admin/{name}/add/" for name in adding),
    ]


def _running(deployment: Deployment, fleet: list[Device]) -> list[str]:
    version, device = (
        f"/admin/apks/apkversion/{deployment.to_version_id}",
        f"/admin/devices/device/{fleet[3].pk}",
    )
    return [
        *(address(deployment, f"{act}/") for act in ("pause", "cancel", "pace")),
        address(deployment, "details/?events=all&status=failed"),
        *(f"{version}/{page}/" for page in ("deploy", "change", "withdraw")),
        *("/admin/apks/apkversion/", "/admin/devices/device/", "/admin/deployments/deploymentevent/"),
        *(f"{device}/{page}/" for page in ("change", "edit", "retire")),
    ]


def _held(deployment: Deployment, fleet: list[Device]) -> list[str]:
    scene.report(deployment, fleet[2], "failed", error_code="apk_invalid")
    for device in fleet[4:8]:
        scene.beat(device)
        scene.report(deployment, device, "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "failure_rate")
    return [address(deployment, "resume/")]


def _stopped(*_: object) -> list[str]:
    fleet_switch.change(scene.admin(), kill_switch=True, reason="bad build " * 20)
    return []


def _finished(deployment: Deployment, _: list[Device]) -> list[str]:
    lifecycle.cancel(scene.admin(), deployment.pk, reason="wrong build")
    return []


LATER = {"running": _running, "held": _held, "stopped": _stopped, "finished": _finished}


def _in_state(state: str) -> list[str]:
    """Brings the installation into that state and names the pages that show it."""
    if state == "empty":
        return _empty()
    deployment, fleet = mixed()
    pages = [
        "/admin/",
        "/admin/deployments/deployment/",
        address(deployment),
        "/admin/deployments/fleetswitch/",
    ]
    return pages + LATER[state](deployment, fleet)
