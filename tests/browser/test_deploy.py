"""Deploy in a real browser: the dialog by mouse and by keyboard alone, what keeps Start away, and every look."""

import re
from typing import Any

import pytest
from django.core.cache import cache
from playwright.sync_api import Locator, Page, Route, expect

from apks.models import ApkVersion
from deployments.models import Deployment, DeploymentTask, DryRun
from deployments.operations import fleet_switch
from tests.browser.conftest import sideways, violations
from tests.browser.test_story import sign_in
from tests.deployments import scene
from tests.deployments.pages import someone

pytestmark = pytest.mark.django_db(transaction=True)

VERSIONS = "/admin/apks/apkversion/"


@pytest.fixture
def version() -> ApkVersion:
    scene.enable()
    scene.devices(3, groups=["Berlin"], tags=["kiosk"])
    scene.devices(2, groups=["Porto"])
    cache.clear()
    return scene.version()


def opened(page: Page, live_server: Any, version: ApkVersion) -> Locator:
    """The dialog with the dry run of the form as it opens."""
    sign_in(page, live_server)
    page.goto(VERSIONS)
    page.get_by_role("link", name=f"Deploy {version}").click()
    dialog = page.get_by_role("dialog", name=f"Deploy {version}")
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    return dialog


def start_of(page: Page) -> Locator:
    return page.locator("#nx-start")


def missing(page: Page) -> Locator:
    return page.locator("#nx-missing")


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the element with that id, name or text has the focus."""
    here = "e => [e.id, e.name, e.value, e.textContent.trim()].includes(NAME)"
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate(f"({here.replace('NAME', repr(name))})(document.activeElement)"):
            return
    raise AssertionError(f"Tab never reaches {name}.")


def test_by_keyboard_alone_from_the_list_to_the_start(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    sign_in(page, live_server)
    page.goto(VERSIONS)
    tab_to(page, "Deploy")
    page.keyboard.press("Enter")
    expect(page.locator("#nx-dialog-title")).to_be_focused()
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    tab_to(page, "target_type")
    page.keyboard.press("ArrowDown")
    expect(missing(page)).to_contain_text("Search: Set at least one filter")
    tab_to(page, "Berlin")
    page.keyboard.press("Space")
    tab_to(page, "id_canary")
    page.keyboard.press("Control+A")
    page.keyboard.type("1")
    expect(start_of(page)).to_have_text("Start deployment on 3 devices")
    tab_to(page, "nx-start")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("deployment #")
    assert Deployment.objects.get().options["canary"] == 1


def test_focus_stays_inside_and_returns_to_the_link(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    dialog = opened(page, live_server, version)
    inside = "document.getElementById('nx-dialog').contains(document.activeElement)"
    body = "document.activeElement === document.body"
    for _ in range(90):
        page.keyboard.press("Tab")
        assert page.evaluate(f"{inside} || {body}")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert focused(page) == "Deploy"


def test_a_link_with_ctrl_or_the_middle_button_opens_the_page(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    sign_in(page, live_server)
    page.goto(VERSIONS)
    link = page.get_by_role("link", name=f"Deploy {version}")
    with page.context.expect_page() as other:
        link.click(button="middle")
    expect(other.value.get_by_role("heading", name=f"Deploy {version}")).to_be_visible()
    expect(start_of(other.value)).not_to_have_attribute("aria-disabled", "true")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_without_script_the_same_address_does_it_all(
    browser: Any, live_server: Any, version: ApkVersion
) -> None:
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, live_server)
    page.goto(VERSIONS)
    page.get_by_role("link", name=f"Deploy {version}").click()
    page.get_by_label("Selected devices: those I tick").check()
    page.get_by_role("button", name="Show what matches").click()
    for name in ("till-0", "till-4"):
        page.get_by_label(name).check()
    page.get_by_label("Canary", exact=True).fill("0")
    page.get_by_role("button", name="Dry run", exact=True).click()
    page.get_by_role("button", name="Start deployment on 2 devices").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("deployment #")
    context.close()
    assert Deployment.objects.count() == 1


def test_any_edit_takes_start_away_until_its_own_dry_run_is_there(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    dialog = opened(page, live_server, version)
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/deploy/", hold_the_first)
    dialog.get_by_label("Concurrency").fill("2")
    expect(start_of(page)).to_have_attribute("aria-disabled", "true")
    expect(missing(page)).to_have_text("Checking these options…")
    expect(page.locator("#nx-deploy")).to_have_class(re.compile("htmx-request"))
    dialog.get_by_label("Rate").fill("7")  # while the answer for the older options is on its way
    held[0].continue_()
    start_of(page).click(force=True)
    assert focused(page) == "nx-missing"
    assert not Deployment.objects.exists()
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    run = DryRun.objects.latest("pk")
    assert (run.options["rate"], run.options["concurrency"]) == (7, 2)
    start_of(page).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("deployment #")
    assert Deployment.objects.get().options == run.options


def test_an_edit_during_a_check_is_checked_next_and_the_check_is_not_cut_off(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    """The server would go on with it all the same, beside the next one."""
    dialog = opened(page, live_server, version)
    asked: list[Route] = []

    def hold_the_first(route: Route) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()

    page.route("**/deploy/", hold_the_first)
    with page.expect_request("**/deploy/"):
        dialog.get_by_label("Concurrency").fill("2")
    due = "document.addEventListener('htmx:trigger', () => document.body.setAttribute('data-due', ''))"
    page.evaluate(f"() => {{ {due} }}")
    dialog.get_by_label("Rate").fill("7")
    expect(page.locator("body")).to_have_attribute("data-due", "")
    assert len(asked) == 1
    asked[0].continue_()
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    run = DryRun.objects.get()
    assert (run.options["rate"], run.options["concurrency"]) == (7, 2)


def test_a_check_by_itself_never_presses_the_button_that_has_the_focus(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    opened(page, live_server, version)
    start_of(page).focus()
    with page.expect_response("**/deploy/") as answer:
        page.evaluate("htmx.trigger(document.getElementById('nx-deploy'), 'nx:edited')")
    assert answer.value.status == 200
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    assert not Deployment.objects.exists()


def test_what_is_wrong_is_said_at_the_input_in_the_foot_and_on_demand_in_a_list(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    dialog = opened(page, live_server, version)
    dialog.get_by_label("Canary soak").evaluate("input => input.value = '-1'")
    dialog.get_by_label("Rate").fill("0")
    expect(missing(page)).to_have_text("Rate: Ensure this value is greater than or equal to 1.")
    expect(dialog.get_by_label("Rate")).to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_label("Canary soak")).to_be_visible()
    expect(page.locator("#nx-summary")).to_be_hidden()
    start_of(page).click(force=True)
    expect(page.locator("#nx-summary")).to_be_focused()
    page.locator("#nx-summary").get_by_role("link", name="Rate").click()
    expect(dialog.get_by_label("Rate")).to_be_focused()
    dialog.get_by_label("Rate").fill("5")
    dialog.get_by_label("Canary soak").fill("0")
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    expect(dialog.get_by_label("Rate")).not_to_have_attribute("aria-invalid", "true")


def test_edits_are_not_thrown_away_without_a_question(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    dialog = opened(page, live_server, version)
    question = page.get_by_role("dialog", name="Discard changes?")
    dialog.get_by_label("Rate").fill("7")
    for _ in range(3):  # a browser lets a page refuse to close only once; ours still asks
        page.keyboard.press("Escape")
        expect(question).to_be_visible()
        expect(question.get_by_role("button", name="Keep editing")).to_be_focused()
        page.keyboard.press("Escape")
        expect(question).to_be_hidden()
        expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    question.get_by_role("button", name="Keep editing").click()
    expect(dialog.get_by_label("Rate")).to_have_value("7")
    page.keyboard.press("Escape")
    question.get_by_role("button", name="Discard changes").click()
    expect(dialog).to_be_hidden()
    assert focused(page) == "Deploy"


def test_escape_in_the_search_clears_it_first(page: Page, live_server: Any, version: ApkVersion) -> None:
    dialog = opened(page, live_server, version)
    dialog.get_by_label("Selected devices: those I tick").check()
    dialog.get_by_label("Search").fill("till-1")
    expect(dialog.get_by_text("1 device matches")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog.get_by_label("Search")).to_have_value("")
    expect(dialog.get_by_text("5 devices match")).to_be_visible()
    expect(page.get_by_role("dialog", name="Discard changes?")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Discard changes?")).to_be_visible()


def test_devices_are_ticked_over_pages_and_all_that_match_less_some(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    scene.devices(120, groups=["Madrid"])
    dialog = opened(page, live_server, version)
    dialog.get_by_label("Selected devices: those I tick").check()
    expect(missing(page)).to_contain_text("Tick at least one device.")
    dialog.get_by_label("till-0", exact=True).check()
    dialog.get_by_role("button", name="Next 50").click()
    dialog.get_by_label("till-60", exact=True).check()
    expect(start_of(page)).to_have_text("Start deployment on 2 devices")
    dialog.get_by_role("button", name="Previous 50").click()
    expect(dialog.get_by_label("till-0", exact=True)).to_be_checked()
    dialog.get_by_role("group", name="Groups").get_by_label("Madrid").check()
    dialog.get_by_role("button", name="Select all 120").click()
    expect(start_of(page)).to_have_text("Start deployment on 120 devices")
    expect(dialog.get_by_label("Selected devices: all that match")).to_be_checked()
    dialog.get_by_label("till-7", exact=True).uncheck()
    expect(start_of(page)).to_have_text("Start deployment on 119 devices")
    dialog.get_by_role("button", name="Clear selection").click()
    expect(missing(page)).to_contain_text("Tick at least one device.")
    expect(dialog.get_by_label("till-7", exact=True)).not_to_be_checked()
    dialog.get_by_label("Search").fill("nobody")
    expect(dialog.get_by_text("No device matches these filters.")).to_be_visible()
    dialog.get_by_role("button", name="Clear filters").click()
    expect(dialog.get_by_label("till-0", exact=True)).to_be_visible()


def test_presets_set_the_form_and_the_dry_run_follows(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    scene.devices(8)
    dialog = opened(page, live_server, version)
    dialog.get_by_role("button", name="Pilot").click()
    expect(dialog.get_by_label("Canary", exact=True)).to_have_value("3")
    expect(dialog.get_by_label("Rate")).to_have_value("5")
    expect(start_of(page)).to_have_text("Start deployment on 13 devices")
    dialog.get_by_role("button", name="Staging").click()
    expect(start_of(page)).to_have_text("Start deployment on 5 devices")
    expect(dialog.get_by_label("Rate")).to_have_value("10")
    start_of(page).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("deployment #")
    assert Deployment.objects.get().target.selection_query["device_ids"]


def test_while_a_preset_is_on_its_way_nothing_is_typed_that_it_would_undo(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    dialog = opened(page, live_server, version)
    held: list[Route] = []
    page.route(f"**/{version.pk}/deploy/", lambda route: _hold_presets(route, held))
    dialog.get_by_role("button", name="Pilot").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#nx-deploy")).to_have_attribute("inert", "")
    page.wait_for_function("document.querySelector('.htmx-request')")
    page.keyboard.type("7")
    held[0].continue_()
    expect(dialog.get_by_label("Rate")).to_have_value("5")
    assert focused(page) == "nx-preset-pilot"
    dialog.get_by_label("Rate").fill("7")
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    expect(dialog.get_by_label("Rate")).to_have_value("7")


def test_an_answer_that_comes_after_the_dialog_was_closed_does_no_harm(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    dialog = opened(page, live_server, version)
    held: list[Route] = []
    page.route(f"**/{version.pk}/deploy/", lambda route: _hold_checks(route, held))
    with page.expect_request(f"**/{version.pk}/deploy/"):
        dialog.get_by_label("Rate").fill("20")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Discard changes").click()
    expect(dialog).to_be_hidden()
    with page.expect_response(f"**/{version.pk}/deploy/"):
        held[0].continue_()
    page.unroute_all()
    page.get_by_role("link", name=f"Deploy {version}").click()
    expect(dialog.get_by_label("Rate")).to_have_value("10")
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")


def _hold_checks(route: Route, held: list[Route]) -> None:
    held.append(route)


def _hold_presets(route: Route, held: list[Route]) -> None:
    if "act=preset" in (route.request.post_data or ""):
        held.append(route)
    else:
        route.continue_()


def test_the_numbers_open_their_devices_in_place(page: Page, live_server: Any, version: ApkVersion) -> None:
    scene.devices(2, beat={"battery": 3}, alias='"><script>alert(1)</script>\u202e')
    dialog = opened(page, live_server, version)
    dialog.get_by_role("link", name="Battery too low").click()
    expect(page.locator("#nx-who-title")).to_be_focused()
    expect(page.locator("#nx-who")).to_contain_text("3 %; needed: at least 40 %")
    expect(page.locator("#nx-who tbody tr")).to_have_count(2)
    assert violations(page) == []
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download these (CSV)").click()
    assert "battery_low" in download.value.path().read_text()


def test_a_window_says_its_next_opening_and_a_zone_is_at_hand(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    dialog = opened(page, live_server, version)
    dialog.get_by_role("group", name="Maintenance window").get_by_label("Every week").check()
    expect(missing(page)).to_contain_text("Days: Choose at least one day.")
    dialog.get_by_label("Mon").check()
    dialog.get_by_label("Opens").fill("22:00")
    dialog.get_by_label("Closes").fill("05:00")
    dialog.get_by_label("Time zone").fill("Asia/Tokyo")
    expect(page.locator("#nx-opening")).to_contain_text(re.compile(r"Asia/Tokyo \(.*UTC\)"))
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")


def test_a_lost_connection_is_said_and_tried_again(
    page: Page, live_server: Any, version: ApkVersion, tolerated: list[str]
) -> None:
    tolerated += ["net::ERR_FAILED", "htmx:afterRequest", "htmx:sendError"]
    sign_in(page, live_server)
    page.goto(f"{VERSIONS}{version.pk}/deploy/")
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    page.route("**/deploy/", lambda route: route.abort())
    page.get_by_label("Rate").fill("7")
    expect(page.locator("#nx-answer")).to_contain_text("Could not check devices (no connection). Nothing was")
    expect(start_of(page)).to_have_attribute("aria-disabled", "true")
    page.unroute("**/deploy/")
    page.get_by_role("button", name="Try again").click()
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")


def test_whoever_was_signed_out_is_told_and_no_login_lands_in_the_dialog(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    dialog = opened(page, live_server, version)
    page.context.clear_cookies(name="sessionid")
    dialog.get_by_label("Rate").fill("7")
    expect(page.locator("#nx-answer").get_by_role("link", name="Sign in")).to_be_visible()
    expect(page.get_by_label("Username")).to_have_count(0)


def test_an_old_dry_run_starts_nothing(page: Page, live_server: Any, version: ApkVersion) -> None:
    page.clock.install()
    opened(page, live_server, version)
    page.clock.run_for(9 * 60_000)
    expect(start_of(page)).not_to_have_attribute("aria-disabled", "true")
    page.clock.run_for(2 * 60_000)
    expect(missing(page)).to_have_text("The dry run is older than 10 minutes; make it again.")
    expect(start_of(page)).to_have_attribute("aria-disabled", "true")


def test_the_number_on_the_button_is_the_number_that_is_sent_to(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    scene.devices(4, installed=121)
    scene.devices(2, beat={"battery": 3})
    opened(page, live_server, version)
    expect(start_of(page)).to_have_text("Start deployment on 7 devices")
    start_of(page).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("deployment #")
    scene.tick.advance(Deployment.objects.get().pk)
    assert DeploymentTask.objects.exclude(finished_at__isnull=False).count() == 7


def test_a_viewer_sees_a_dry_run_and_nothing_to_start(
    page: Page, live_server: Any, version: ApkVersion
) -> None:
    sign_in(page, live_server, someone("viewer"))
    page.goto(VERSIONS)
    expect(page.get_by_role("link", name="Withdraw")).to_have_count(0)
    page.get_by_role("link", name=f"Dry run {version}").click()
    expect(page.locator("#nx-answer .nx-big")).to_be_visible()
    expect(missing(page)).to_contain_text("may make dry runs, but not start")
    expect(start_of(page)).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dialog_has_no_fault_in_any_state(
    page: Page, live_server: Any, version: ApkVersion, scheme: Any, width: int
) -> None:
    scene.devices(60)
    scene.start(scene.devices(1), to=version)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 700})
    dialog = opened(page, live_server, version)
    found = {"fleet": violations(page)}
    for details in dialog.locator("details").all():
        details.evaluate("details => details.open = true")
    dialog.get_by_label("Selected devices: those I tick").check()
    expect(dialog.get_by_label("till-0", exact=True)).to_be_visible()
    for kind in ("Every week", "Once"):
        dialog.get_by_role("group", name="Maintenance window").get_by_label(kind).check()
        expect(missing(page)).not_to_have_text("Checking these options…")
        found[kind] = violations(page)
    start_of(page).click(force=True)
    expect(page.locator("#nx-summary")).to_be_visible()
    found["refused"] = violations(page)
    wider = page.evaluate(
        "(() => {const d = document.querySelector('.nx-deploy-form'); return d.scrollWidth - d.clientWidth})()"
    )
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Discard changes?")).to_be_visible()
    found["question"] = violations(page)
    assert {state: faults for state, faults in found.items() if faults} == {}
    assert (sideways(page), wider) == (0, 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_have_no_fault_either(
    page: Page, live_server: Any, version: ApkVersion, scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 700})
    fleet_switch.change(scene.admin(), kill_switch=True, reason="bad build")
    sign_in(page, live_server)
    page.goto(f"{VERSIONS}{version.pk}/deploy/")
    expect(page.get_by_text("will update, of 5 devices")).to_be_visible()
    found = [violations(page), sideways(page)]
    page.goto(f"{VERSIONS}{version.pk}/deploy/dry-run/{DryRun.objects.get().pk}/?class=will_update")
    found += [violations(page), sideways(page)]
    page.goto(VERSIONS)
    found += [violations(page), sideways(page)]
    assert found == [[], 0, [], 0, [], 0]
