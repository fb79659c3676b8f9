"""The parts of the form that answer alone: live dry run, picker, presets, the lists behind the numbers."""

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from apks.models import ApkVersion
from deployments.models import Deployment, DryRun, DryRunDevice, FleetSwitch
from deployments.pages import picker
from tests.deployments import scene
from tests.deployments.pages import signed_in
from tests.deployments.test_pages_deploy import filled, page_of, run_id

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def part(client: Client, version: ApkVersion, act: str = "check", **changes: Any) -> str:
    answer = client.post(page_of(version), filled(act=act, **changes), headers=HTMX)
    assert answer.status_code == 200
    return str(answer.content.decode())


def form(**values: Any) -> QueryDict:
    data = QueryDict(mutable=True)
    for name, value in values.items():
        data.setlist(name, value if isinstance(value, list) else [value])
    return data


# The live dry run.


def test_what_goes_into_the_dialog_is_the_form_without_the_page_around_it() -> None:
    version, client = scene.version(), signed_in("operator")
    dialog = client.get(page_of(version), headers=HTMX).content.decode()
    page = client.get(page_of(version)).content.decode()
    assert 'id="nx-deploy"' in dialog
    assert 'id="nx-deploy"' in page
    assert 'id="nx-dialog-title"' in dialog
    assert "<html" not in dialog


def test_a_check_answers_with_numbers_foot_and_the_mistakes_of_every_input() -> None:
    scene.enable()
    scene.devices(3)
    version, client = scene.version(), signed_in("operator")
    good = part(client, version)
    assert "Start deployment on 3 devices" in good
    assert 'class="nx-wrong"' not in good
    bad = part(client, version, rate=0)
    assert re.search(r'id="nx-wrong-rate"[^>]*hx-swap-oob="true">\s*<p class="nx-wrong">', bad)
    assert "Rate: Ensure this value is greater than or equal to 1." in bad
    assert 'id="nx-start" aria-describedby="nx-missing" aria-disabled="true"' in bad
    assert 'id="nx-summary" tabindex="-1" hx-swap-oob="true" hidden' in bad
    assert (
        "hidden"
        not in part(client, version, "dry_run", rate=0).partition('id="nx-summary"')[2].partition(">")[0]
    )


def test_a_check_takes_the_place_of_the_one_before() -> None:
    scene.enable()
    scene.devices(2)
    version, client = scene.version(), signed_in("operator")
    opened = client.get(page_of(version), headers=HTMX).content.decode()
    named = re.search(r'name="form_name" value="([^"]+)"', opened)
    assert named
    first = re.search(r'name="dry_run_id" value="(\d+)"', part(client, version, form_name=named[1]))
    assert first
    part(client, version, rate=11, form_name=named[1])  # whose answer nobody waits for
    part(client, version, rate=12, form_name=named[1], dry_run_id=first[1])
    assert [run.options["rate"] for run in DryRun.objects.all()] == [12]
    other = client.get(page_of(version), headers=HTMX).content.decode()
    assert named[1] not in other
    part(client, version, form_name="o" * 16)
    assert DryRun.objects.count() == 2, "another form of the same person"


@pytest.mark.parametrize("name", ["", "x", "x" * 17, "x" * 15 + "\n", "<script>alert(1)"])
def test_a_form_without_a_name_of_ours_gets_one(name: str) -> None:
    scene.enable()
    scene.devices(1)
    version, client = scene.version(), signed_in("operator")
    for _ in range(2):
        part(client, version, form_name=name)
    forms = {run.form for run in DryRun.objects.all()}
    assert len(forms) == 2
    assert name not in forms


def test_a_dry_run_of_somebody_else_or_one_that_was_started_stays() -> None:
    scene.enable()
    scene.devices(2)
    version, client = scene.version(), signed_in("operator")
    name = {"form_name": "f" * 16}
    theirs = run_id(signed_in("fleet admin").post(page_of(version), filled(act="dry_run", **name)))
    part(client, version, **name)
    assert DryRun.objects.filter(pk=theirs).exists()
    mine = run_id(client.post(page_of(version), filled(act="dry_run", **name)))
    client.post(page_of(version), filled(act="start", dry_run_id=mine, **name))
    part(client, version, **name)
    assert DryRun.objects.filter(pk=mine).exists()


def test_a_start_by_htmx_leads_to_the_deployment_or_says_what_is_missing() -> None:
    scene.enable()
    scene.devices(2)
    version, client = scene.version(), signed_in("operator")
    refused = part(client, version, "start")
    assert "other options or too old" in refused
    assert not Deployment.objects.exists()
    dry = re.search(r'name="dry_run_id" value="(\d+)"', refused)
    assert dry
    answer = client.post(page_of(version), filled(act="start", dry_run_id=dry[1]), headers=HTMX)
    deployment = Deployment.objects.get()
    assert answer.headers["HX-Redirect"] == f"/admin/deployments/deployment/{deployment.pk}/details/"


def test_the_check_of_a_viewer_offers_no_start_and_his_start_is_refused() -> None:
    scene.enable()
    scene.devices(2)
    version, client = scene.version(), signed_in("viewer")
    assert 'id="nx-start"' not in part(client, version)
    dry = DryRun.objects.get().pk
    answer = client.post(page_of(version), filled(act="start", dry_run_id=dry), headers=HTMX)
    assert answer.status_code == 403
    assert not Deployment.objects.exists()


def test_the_kill_switch_stands_where_start_would_be() -> None:
    scene.enable()
    scene.devices(2)
    FleetSwitch.objects.update(kill_switch=True, reason="bad build")
    said = part(signed_in("operator"), scene.version())
    assert "the kill switch is on: bad build" in said
    assert 'id="nx-start"' not in said


def test_window_and_pace_are_said_though_the_target_is_not_chosen_yet() -> None:
    weekly = {
        "window_kind": "recurring",
        "window_days": ["mon"],
        "window_start": "22:00",
        "window_end": "05:00",
    }
    said = part(
        signed_in("operator"), scene.version(), target_type="ticked", window_tz="Asia/Tokyo", **weekly
    )
    assert "Pace 2 per minute by the concurrency" in said
    assert "22:00 Asia/Tokyo (13:00 UTC)" in said
    device = part(signed_in("viewer"), scene.version(), window_tz="device", **weekly)
    assert "own zone; for a device in UTC" in device


# The picker.


@pytest.mark.parametrize(
    ("mode", "shown", "picks", "before", "after"),
    [
        ("ticked", "1,2,3", ["2"], "", "2"),
        ("ticked", "1,2,3", ["2"], "3, 9", "9, 2"),
        ("ticked", "1,2,3", [], "1, 2", ""),
        ("ticked", "", [], "7", "7"),
    ],
)
def test_ticks_of_one_page_join_those_of_others(
    mode: str, shown: str, picks: list[str], before: str, after: str
) -> None:
    posted = form(list_mode=mode, shown=shown, pick=picks, device_ids=before, exclude_ids="5")
    data = picker.folded(posted)
    assert (data["device_ids"], data["exclude_ids"]) == (after, "5")


def test_what_is_unticked_among_all_that_match_is_left_out() -> None:
    posted = form(
        list_mode="matching", shown="1,2,3", pick=["2", "nonsense"], exclude_ids="2, 9", device_ids="4"
    )
    data = picker.folded(posted)
    assert (data["device_ids"], data["exclude_ids"]) == ("4", "9, 1, 3")


def test_a_list_that_was_not_shown_changes_nothing() -> None:
    data = picker.folded(form(device_ids="4", exclude_ids="5", pick=["1"]))
    assert (data["device_ids"], data["exclude_ids"]) == ("4", "5")


def test_the_list_shows_a_page_of_what_matches_with_its_ticks() -> None:
    berlin = scene.devices(120, groups=["Berlin"])
    scene.devices(5, groups=["Porto"])
    client, version = signed_in("operator"), scene.version()
    said = part(
        client,
        version,
        "list",
        target_type="ticked",
        groups=["Berlin"],
        device_ids=str(berlin[51].pk),
        page="2",
    )
    assert "Page 2 of 3" in said
    assert "Select all 120" in said
    ticked = re.findall(r'name="pick" value="(\d+)" [^>]* checked', said)
    assert ticked == [str(berlin[51].pk)]
    assert len(re.findall(r'name="pick"', said)) == 50
    others = part(
        client, version, "list", target_type="matching", groups=["Berlin"], exclude_ids=str(berlin[0].pk)
    )
    assert len(re.findall(r'name="pick" value="\d+" [^>]* checked', others)) == 49


def test_all_that_match_less_the_unticked_are_planned() -> None:
    scene.enable()
    berlin = scene.devices(60, groups=["Berlin"])
    shown = ",".join(str(device.pk) for device in berlin[:50])
    picks = [str(device.pk) for device in berlin[2:50]]
    wanted = {
        "target_type": "matching",
        "groups": ["Berlin"],
        "list_mode": "matching",
        "shown": shown,
        "pick": picks,
    }
    assert "will update, of 58 devices" in part(signed_in("operator"), scene.version(), **wanted)


def test_without_script_pages_are_turned_by_the_form() -> None:
    scene.devices(60)
    client, version = signed_in("operator"), scene.version()
    page = client.post(page_of(version), filled(target_type="ticked", page="2")).content.decode()
    assert "Page 2 of 2" in page
    everybody = client.post(page_of(version), filled(target_type="ticked", act="select_all")).content.decode()
    assert re.search(r'value="matching"[^>]*checked', everybody)
    nobody = client.post(page_of(version), filled(target_type="matching", act="clear", exclude_ids="1"))
    assert re.search(r'value="ticked"[^>]*checked', nobody.content.decode())


def test_labels_to_choose_from_are_those_of_active_devices_and_what_was_chosen() -> None:
    scene.devices(1, groups=["Berlin"], tags=["kiosk"], model="Orbic Joy 2")
    client, version = signed_in("operator"), scene.version()
    page = client.post(page_of(version), filled(target_type="matching", groups=["gone"])).content.decode()
    for label in ("Berlin", "kiosk", "Orbic Joy 2"):
        assert f'value="{label}"' in page
    assert re.search(r'value="gone"[^>]*checked', page)


def test_many_labels_are_a_list_instead_of_boxes() -> None:
    for number in range(51):
        scene.devices(1, groups=[f"shop-{number}"])
    page = signed_in("operator").get(page_of(scene.version())).content.decode()
    assert re.search(r'<select name="groups"[^>]* multiple', page)


# Presets.


def chosen(said: str, name: str) -> str:
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', said)
    assert found
    return found[1]


def test_a_preset_sets_options_and_leaves_target_and_window() -> None:
    scene.devices(3, groups=["Berlin"])
    kept = {"target_type": "matching", "groups": ["Berlin"], "window_tz": "Asia/Tokyo"}
    client, version = signed_in("operator"), scene.version()
    said = part(
        client, version, "preset", preset="pilot", canary=1, rate=99, wifi_only=None, max_failures=7, **kept
    )
    assert (chosen(said, "canary"), chosen(said, "rate"), chosen(said, "concurrency")) == ("3", "5", "3")
    assert re.search(r'name="wifi_only"[^>]* checked', said)
    assert not re.search(r'name="max_failures" value', said)
    assert re.search(r'value="matching"[^>]*checked', said)
    assert chosen(said, "window_tz") == "Asia/Tokyo"
    production = part(client, version, "preset", preset="production", canary=1, concurrency=50)
    assert [chosen(production, name) for name in ("canary", "rate", "concurrency")] == ["5", "10", "3"]


def test_staging_ticks_five_devices_that_lack_the_version_those_for_trials_first() -> None:
    scene.devices(4, installed=121)
    scene.devices(2, beat={"received_at": None})
    old = scene.devices(4, beat={"received_at": timezone.now() - timedelta(days=3)})
    (trial,) = scene.devices(1, tags=["staging"], beat={"received_at": timezone.now() - timedelta(days=9)})
    seen = scene.devices(2)
    said = part(signed_in("operator"), scene.version(), "preset", preset="staging")
    ids = re.search(r'<textarea name="device_ids"[^>]*>\s*([^<]*)<', said)
    assert ids
    wanted = [trial.pk, *(device.pk for device in seen), old[0].pk, old[1].pk]
    assert [int(pk) for pk in ids[1].split(", ")] == wanted
    assert re.search(r'value="ticked"[^>]*checked', said)


def test_an_unknown_preset_changes_nothing() -> None:
    scene.devices(1)
    assert (
        chosen(part(signed_in("operator"), scene.version(), "preset", preset="all in", rate=7), "rate") == "7"
    )


# The devices behind a number.


def listed(client: Client, version: ApkVersion, query: str = "", end: str = "") -> Any:
    return client.get(f"{page_of(version)}dry-run/{DryRun.objects.get().pk}/{end}{query}")


def body(answer: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))


def test_each_number_opens_its_devices_with_the_reason_and_what_was_seen() -> None:
    scene.enable()
    scene.devices(60)
    scene.devices(4, beat={"battery": 3})
    version, client = scene.version(), signed_in("viewer")
    part(client, version)
    later = listed(client, version, "?class=later&reason=battery_low").content.decode()
    assert "4 devices" in later
    assert "3 %; needed: at least 40 %" in later
    assert "Page 2 of 2" in listed(client, version, "?class=will_update&page=2").content.decode()
    assert "Page 2 of 2" in listed(client, version, "?page=99999999").content.decode()
    assert "No device." in listed(client, version, "?class=excluded").content.decode()
    assert "64 devices" in listed(client, version, "?class=nonsense&reason=").content.decode()


def test_the_csv_has_the_same_devices_with_formulas_neutralised() -> None:
    scene.enable()
    scene.devices(3, beat={"battery": 3}, alias='=HYPERLINK("http://x")\t<script>')
    scene.devices(2)
    version, client = scene.version(), signed_in("viewer")
    part(client, version)
    answer = listed(client, version, "?class=later", "devices.csv")
    header, *rows = body(answer)
    assert header == ["device_id", "alias", "serial", "model", "class", "reason", "observed", "required"]
    assert answer.headers["X-Row-Count"] == "3" == str(len(rows))
    assert {row[5] for row in rows} == {"battery_low"}
    assert all(row[1].startswith("'=") for row in rows)
    assert len(body(listed(client, version, "", "devices.csv"))) == 6


def test_lists_of_dry_runs_that_are_not_there_are_not_found() -> None:
    scene.enable()
    scene.devices(1)
    version, client = scene.version(), signed_in("viewer")
    part(client, version)
    other = scene.version(122)
    assert listed(client, other).status_code == 404
    nobody = signed_in()
    for end in ("", "devices.csv"):
        assert client.get(f"{page_of(version)}dry-run/987654321/{end}").status_code == 404
        assert listed(nobody, version, "", end).status_code == 403
        assert listed(Client(), version, "", end).status_code == 302


def test_names_that_devices_give_themselves_are_inert() -> None:
    scene.enable()
    hostile = '"><script>alert(1)</script>'
    scene.devices(1, alias=hostile, model=hostile[:90], groups=[hostile], tags=[hostile])
    version, client = scene.version(), signed_in("operator")
    page = client.post(page_of(version), filled(target_type="ticked")).content.decode()
    part(client, version)
    for said in (
        page,
        listed(client, version).content.decode(),
        part(client, version, "list", target_type="ticked"),
    ):
        assert "&lt;script&gt;alert(1)" in said
        assert "<script>alert" not in said


def test_the_devices_of_a_forgotten_dry_run_go_with_it() -> None:
    scene.enable()
    scene.devices(3)
    version, client = scene.version(), signed_in("operator")
    for rate in (5, 6, 7):
        part(client, version, rate=rate, form_name="f" * 16)
    assert DryRunDevice.objects.count() == 3
