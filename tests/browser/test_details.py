"""The page of a deployment under real hands: acts and their dialogs, drawer, filters, freshness, faults."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Download, Page, expect

from deployments import tick
from deployments.models import Deployment
from deployments.operations import lifecycle
from mdm.people import Actor
from tests.browser.test_story import asked_of, mixed, sign_in
from tests.deployments import scene
from tests.deployments.pages import address, someone

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = '<script>document.title="taken"</script>\'"=HYPERLINK("x")\t\r\u202e'


def shown(page: Page, live_server: Any, deployment: Deployment, end: str = "details/") -> None:
    """Signed in, on its page, with scripts at work."""
    sign_in(page, live_server)
    page.goto(address(deployment, end))
    expect(page.locator("#nx-window.nx-windowed")).to_be_visible()


def headline(page: Page) -> Any:
    return expect(page.locator("#nx-live .nx-headline"))


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def reach(page: Page, name: str, *, most: int = 250) -> None:
    """By Tab alone, until what has that text or id has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if focused(page) == name:
            return
    raise AssertionError(f"Tab does not lead to {name}")


def rows_of(download: Download) -> list[dict[str, str]]:
    with Path(download.path()).open(newline="") as file:
        return list(csv.DictReader(file))


def held() -> Deployment:
    deployment, fleet = mixed()
    for device in fleet[4:8]:
        scene.beat(device)
        scene.report(deployment, device, "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "failure_rate")
    return deployment


def test_pause_resume_pace_and_cancel_by_mouse(page: Page, live_server: Any) -> None:
    deployment, _ = mixed()
    shown(page, live_server, deployment)
    page.get_by_role("button", name="Pause").click()
    headline(page).to_contain_text("Paused by root")
    expect(page.get_by_role("status")).to_have_text("Paused. 1 device already started will finish.")
    page.locator("#nx-devices").scroll_into_view_if_needed()
    told, acts = (page.locator(part).bounding_box() or {} for part in ("#nx-said", "#nx-resume"))
    assert told["y"] > acts["y"] + acts["height"], "the acts stay in sight"

    page.get_by_role("link", name="Resume…").click()
    dialog = page.get_by_role("dialog", name=f"Resume deployment #{deployment.pk}")
    dialog.get_by_role("link", name="Keep it paused").click()
    expect(dialog).to_be_hidden()
    assert scene.state(deployment)[0] == "paused"
    assert focused(page) == "nx-resume"
    page.get_by_role("link", name="Resume…").click()
    dialog.get_by_role("button", name="Resume for 12 devices").click()
    headline(page).to_contain_text("Running")
    expect(dialog).to_be_hidden()

    page.get_by_role("link", name="Change pace…").click()
    dialog = page.get_by_role("dialog", name=f"Change the pace of deployment #{deployment.pk}")
    dialog.get_by_label("Rate").fill("30")
    dialog.get_by_role("button", name="Change pace for").click()
    expect(page.locator("#nx-live .nx-facts")).to_contain_text("30 per min, 5 at once")
    expect(page.get_by_role("status")).to_have_text("The pace is now 30 per minute and 5 at once.")

    page.get_by_role("link", name="Cancel…").click()
    dialog = page.get_by_role("dialog", name=f"Cancel deployment #{deployment.pk}")
    expect(dialog).to_contain_text("not started: will not start.")
    assert focused(page) == "Keep it as it is"
    dialog.get_by_label("Reason").fill("wrong build")
    dialog.get_by_role("button", name="Cancel deployment for 13 devices").click()
    headline(page).to_contain_text("“wrong build”")
    assert scene.state(deployment)[0] == "canceled"
    expect(page.locator("#nx-pause")).to_have_count(0)
    expect(page.locator("#nx-fresh")).to_have_text("Ended: nothing changes any more.")


def test_the_same_by_keyboard_alone(page: Page, live_server: Any) -> None:
    deployment, _ = mixed()
    shown(page, live_server, deployment)
    reach(page, "nx-pause")
    page.keyboard.press("Enter")
    headline(page).to_contain_text("Paused by root")
    assert focused(page) == "nx-pause"
    page.keyboard.press("Enter")  # a second press undoes nothing
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "nx-resume"
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("within window, rate and concurrency")
    reach(page, "Resume for 12 devices")
    page.keyboard.press("Enter")
    headline(page).to_contain_text("Running")
    assert focused(page) == "nx-resume"

    reach(page, "nx-pace")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Rate")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("31")
    page.keyboard.press("Enter")
    expect(page.locator("#nx-live .nx-facts")).to_contain_text("31 per min")
    assert focused(page) == "nx-pace"

    reach(page, "nx-cancel")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Keep it as it is")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert focused(page) == "nx-cancel"
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Keep it as it is")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    headline(page).to_contain_text("Canceled for good by root")


def test_search_filters_and_drawer_by_keyboard_alone(page: Page, live_server: Any) -> None:
    deployment, fleet = mixed()
    shown(page, live_server, deployment)
    page.keyboard.press("/")
    expect(page.locator("#nx-query")).to_be_focused()
    page.keyboard.type(fleet[3].alias)
    expect(page.locator("#nx-counted")).to_have_text("1 device under these filters")
    assert f"query={fleet[3].alias}" in page.url
    reach(page, fleet[3].alias)
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name=fleet[3].alias)
    expect(drawer).to_contain_text("Installation blocked")
    expect(drawer.locator("#nx-last-error")).to_have_text("<script>alert(1)</script>")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    assert focused(page) == fleet[3].alias

    page.go_back()
    expect(page.locator("#nx-counted")).to_have_text("19 devices")
    reach(page, "nx-export")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert len(rows_of(download.value)) == 19


def test_counters_and_reasons_filter_the_table_and_the_address_can_be_shared(
    page: Page, live_server: Any
) -> None:
    deployment, _ = mixed()
    shown(page, live_server, deployment)
    page.locator(".nx-groups li", has_text="Skipped").get_by_role("link").click()
    expect(page.locator("#nx-counted")).to_have_text("7 devices under these filters")
    expect(page.locator("#nx-status")).to_have_value("skipped")
    page.get_by_role("link", name="Battery too low").click()
    expect(page.locator("#nx-counted")).to_have_text("4 devices under these filters")
    shared = page.url
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV of these").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 5
    page.get_by_role("link", name="Clear filters").click()
    expect(page.locator("#nx-counted")).to_have_text("19 devices")
    page.goto(shared)
    expect(page.locator("#nx-counted")).to_have_text("4 devices under these filters")
    expect(page.locator("#nx-table tbody tr[id]")).to_have_count(4)


def test_a_reason_that_comes_up_later_is_there_to_filter_by(page: Page, live_server: Any) -> None:
    deployment, _ = mixed()
    shown(page, live_server, deployment)
    reasons, words = page.get_by_label("Reason"), "The deployment is paused"
    expect(reasons.locator("option", has_text=words)).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    expect(reasons.locator("optgroup[label=Waiting] option", has_text=words)).to_have_count(1)
    reasons.select_option(label=words)
    expect(page.locator("#nx-counted")).to_have_text("12 devices under these filters")


def test_the_table_is_sorted_by_keyboard_and_the_address_can_be_shared(page: Page, live_server: Any) -> None:
    deployment, fleet = mixed()
    scene.install(deployment, fleet[9])
    shown(page, live_server, deployment)
    first = page.locator("#nx-table tbody tr[id]").first
    title = page.get_by_role("columnheader", name="Updated")
    reach(page, "Updated (UTC)")
    for direction, alias in (("descending", fleet[9].alias), ("ascending", fleet[4].alias)):
        page.keyboard.press("Enter")
        expect(title).to_have_attribute("aria-sort", direction)
        expect(first).to_contain_text(alias)
        assert focused(page) == "Updated (UTC)"
    shared = page.url
    page.keyboard.press("Enter")
    expect(title).not_to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#nx-counted")).to_have_text("19 devices")
    page.go_back()
    expect(title).to_have_attribute("aria-sort", "ascending")
    page.goto(f"{shared}&status=succeeded".replace("#nx-devices", ""))
    expect(page.locator("#nx-counted")).to_have_text("3 devices under these filters")
    page.get_by_role("link", name="Status").click()
    page.get_by_role("link", name="Clear filters").click()
    expect(page.locator("#nx-counted")).to_have_text("19 devices")


def test_one_press_pauses_and_the_reason_comes_afterwards(page: Page, live_server: Any) -> None:
    deployment, _ = mixed()
    shown(page, live_server, deployment)
    page.get_by_role("button", name="Pause").click()
    headline(page).to_contain_text("Paused by root. Nothing new is sent.")
    page.get_by_role("link", name="Add a reason…").click()
    dialog = page.get_by_role("dialog", name=f"Why is deployment #{deployment.pk} paused?")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("Tills are counted")
    page.keyboard.press("Enter")
    headline(page).to_contain_text("Paused by root (“Tills are counted”)")
    expect(page.get_by_role("link", name="Add a reason…")).to_have_count(0)
    expect(page.locator("#nx-events")).to_contain_text("Reason of the pause: Tills are counted")


def test_every_check_of_a_device_stands_in_the_drawer(page: Page, live_server: Any) -> None:
    scene.devices(1)
    (low,) = scene.devices(1, beat={"battery": 12, "network": "wifi", "metered": None})
    scene.quiet(low, hours=3)
    deployment = scene.start([low], wifi_only=True)
    shown(page, live_server, deployment)
    page.get_by_role("link", name=low.alias).click()
    drawer = page.get_by_role("dialog", name=low.alias)
    for question, words in (
        ("Battery", "failed 12 % at least 40 % as of 3 h ago"),
        ("Wi-Fi or Ethernet", "passed wifi Wi-Fi or Ethernet as of 3 h ago"),
        ("Unmetered network", "not reported, checked on the device"),
        ("Seen lately", "failed last seen"),
        ("Charging", "not asked"),
        ("Deployment not held", "passed"),
    ):
        row = drawer.get_by_role("row").filter(has=page.get_by_role("rowheader", name=question, exact=True))
        expect(row).to_contain_text(words)
    drawer.get_by_role("button", name="Close").click()
    expect(drawer).to_be_hidden()


def test_a_press_on_what_has_changed_meanwhile_changes_nothing_and_says_who_was_faster(
    page: Page, live_server: Any, tolerated: list[str]
) -> None:
    tolerated.append("409 (Conflict)")
    deployment, _ = mixed()
    kim = Actor.person(User.objects.create_superuser("kim"))
    shown(page, live_server, deployment)
    page.get_by_role("link", name="Cancel…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    lifecycle.pause(kim, deployment.pk, reason="lunch")
    page.get_by_role("button", name="Cancel deployment for").click()
    alert = page.get_by_role("dialog").get_by_role("alert")
    expect(alert).to_contain_text("ago by kim: now paused.")
    expect(page.get_by_role("button", name="Cancel deployment for")).to_have_count(0)
    assert scene.state(deployment) == ("paused", "operator")
    page.get_by_role("link", name="Go back").click()
    headline(page).to_contain_text("Paused by kim (“lunch”)")


def test_going_on_against_a_gate_wants_a_reason_and_a_look(page: Page, live_server: Any) -> None:
    deployment = held()
    shown(page, live_server, deployment)
    headline(page).to_contain_text("limit 20 %")
    page.get_by_role("link", name="See the failures").click()
    expect(page.locator("#nx-counted")).to_have_text("3 devices under these filters")
    page.get_by_role("link", name="Resume…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("overrides the gate's verdict")
    assert focused(page) == "Keep it paused"
    dialog.get_by_role("button", name="Resume for").click()
    assert scene.state(deployment)[0] == "paused"
    dialog.get_by_label("Reason").fill("a bad shelf, not a bad build")
    dialog.get_by_label("I looked at the failures").check()
    dialog.get_by_role("button", name="Resume for").click()
    headline(page).to_contain_text("Running")
    expect(page.locator("#nx-events")).to_contain_text("Resumed: a bad shelf, not a bad build")


def test_focus_selection_and_scroll_are_kept_over_polls(page: Page, live_server: Any) -> None:
    deployment, fleet = mixed()
    shown(page, live_server, deployment)
    page.evaluate("document.getElementById('nx-window').scrollTop = 60")
    expect(page.locator(".nx-awaited")).to_have_count(0)
    page.locator("#nx-table").get_by_role("link", name=fleet[5].alias, exact=True).focus()
    page.evaluate("getSelection().selectAllChildren(document.getElementById('nx-progress'))")
    for count, device in enumerate(fleet[4:9], start=3):  # five polls that each bring something
        scene.install(deployment, device)
        headline(page).to_contain_text(f"{count} of 19 devices succeeded")
    row = page.locator("#nx-table tr", has=page.get_by_role("link", name=fleet[5].alias, exact=True))
    expect(row).to_contain_text("Succeeded")
    assert focused(page) == fleet[5].alias
    assert page.evaluate("String(getSelection())").strip() == "Progress of 19 devices"
    assert page.evaluate("document.getElementById('nx-window').scrollTop") == 60


def test_a_frozen_view_stands_still_and_the_rollout_does_not(page: Page, live_server: Any) -> None:
    deployment, fleet = mixed()
    sign_in(page, live_server)
    page.clock.install()
    page.goto(address(deployment))
    page.get_by_role("button", name="Freeze view").click()
    asked = asked_of(page, deployment)
    scene.install(deployment, fleet[4])
    page.clock.run_for(30_000)
    assert asked == []
    expect(page.locator("#nx-fresh")).to_contain_text("the rollout goes on")
    headline(page).to_contain_text("2 of 19 devices succeeded")
    page.get_by_role("button", name="Go on showing what happens").click()
    page.clock.run_for(100)
    headline(page).to_contain_text("3 of 19 devices succeeded")


def test_a_lost_connection_keeps_the_numbers_and_says_how_old_they_are(
    page: Page, live_server: Any, tolerated: list[str]
) -> None:
    tolerated.append("net::ERR_INTERNET_DISCONNECTED")
    deployment, fleet = mixed()
    sign_in(page, live_server)
    page.clock.install()
    page.goto(address(deployment))
    expect(page.locator("#nx-window.nx-windowed")).to_be_visible()
    page.context.set_offline(True)
    for seconds in (3, 5, 10):
        with page.expect_event("requestfailed", lambda request: "/live/" in request.url):
            page.clock.run_for(seconds * 1000)
    expect(page.get_by_role("status")).to_contain_text("Connection lost, trying again. The numbers are from")
    headline(page).to_contain_text("2 of 19 devices succeeded")
    scene.install(deployment, fleet[4])
    page.context.set_offline(False)
    with page.expect_response(lambda answer: "/live/" in answer.url):
        page.clock.run_for(20_000)
    headline(page).to_contain_text("3 of 19 devices succeeded")
    expect(page.get_by_role("status")).to_have_text("")


def test_whoever_is_signed_out_gets_a_link_and_never_a_login_page_in_the_middle(
    page: Page, live_server: Any, tolerated: list[str]
) -> None:
    tolerated.append("401 (Unauthorized)")
    deployment, _ = mixed()
    shown(page, live_server, deployment)
    Session.objects.all().delete()
    expect(page.get_by_role("status")).to_contain_text("Signed out")
    expect(page.get_by_role("status").get_by_role("link", name="Sign in")).to_have_attribute(
        "href", f"/admin/login/?next={address(deployment).replace('/', '%2F')}"
    )
    asked = asked_of(page, deployment)
    page.get_by_role("link", name="Cancel…").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#nx-live")).to_be_visible()
    expect(page.get_by_label("Username")).to_have_count(0)
    assert [url for url in asked if "/live/" in url] == []


def test_only_changes_of_state_are_announced_and_no_more_than_two_a_minute(
    page: Page, live_server: Any
) -> None:
    deployment, fleet = mixed()
    sign_in(page, live_server)
    page.clock.install()
    page.goto(address(deployment))
    expect(page.locator("#nx-window.nx-windowed")).to_be_visible()
    page.evaluate(
        "window.said = []; new MutationObserver(() => said.push(document.getElementById('nx-said').textContent))"
        ".observe(document.getElementById('nx-said'), {childList: true})"
    )

    def look() -> None:
        with page.expect_response(lambda answer: "/live/" in answer.url):
            page.clock.run_for(2_500)

    scene.install(deployment, fleet[4])
    look()
    headline(page).to_contain_text("3 of 19 devices succeeded")
    assert page.evaluate("said") == []
    for act in (lifecycle.pause, lifecycle.resume, lifecycle.pause):
        act(scene.admin(), deployment.pk)
        look()
        expect(page.locator("#nx-live .nx-badge")).to_contain_text(
            "Running" if act is lifecycle.resume else "Paused"
        )
        page.clock.run_for(10)
    assert len(page.evaluate("said")) == 1
    expect(page.locator("#nx-said")).to_have_class(re.compile("nx-unseen"))  # the page shows it
    page.clock.run_for(30_000)
    assert [text.split(".")[0] for text in page.evaluate("said")] == ["Paused", "Paused"]


def test_strings_of_devices_stay_strings(page: Page, live_server: Any) -> None:
    deployment, fleet = mixed()
    type(fleet[3]).objects.filter(pk=fleet[3].pk).update(alias=HOSTILE[:100], model=HOSTILE[:100])
    shown(page, live_server, deployment, "details/?events=all")
    title = page.title()
    row = page.locator("#nx-table tbody tr", has_text="document.title")
    expect(row.get_by_role("link")).to_contain_text("<script>")
    row.get_by_role("link").click()
    expect(page.get_by_role("dialog")).to_contain_text("<script>alert(1)</script>")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").dispatch_event("click")
    cells = [row["device_alias"] for row in rows_of(download.value)]
    assert HOSTILE[:100].strip() in [cell.strip() for cell in cells]
    assert page.title() == title
    assert page.locator("#nx-details script, dialog script").count() == 0


def test_a_viewer_finds_no_act(page: Page, live_server: Any) -> None:
    deployment, _ = mixed()
    sign_in(page, live_server, someone("viewer"))
    page.goto(address(deployment))
    headline(page).to_contain_text("Running")
    expect(page.get_by_role("link", name="Export CSV")).to_be_visible()
    for name in ("Pause", "Resume…", "Change pace…", "Cancel…"):
        expect(page.get_by_text(name, exact=True)).to_have_count(0)
