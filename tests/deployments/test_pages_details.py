"""The page of one deployment: who sees what, equal numbers, inert strings, actions that refuse."""

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deployments import tick
from deployments.models import Deployment, DeploymentEvent, DeploymentTask
from deployments.operations import fleet_switch
from deployments.reading import shared_numbers, summary
from deployments.rules.states import PEOPLE_GROUPS
from devices.models import Device
from tests.deployments import scene
from tests.deployments.pages import address, signed_in

pytestmark = pytest.mark.django_db

ACTS = ("pause/", "explain/", "resume/", "cancel/", "pace/")
HOSTILE = '<script>alert("x")</script>\'"=HYPERLINK(1)\u202e'


def mixed() -> Deployment:
    """Devices in every group: succeeded, at work, waiting, failed, excluded and missing a condition."""
    fleet = scene.devices(8)
    scene.devices(3, installed=121)
    scene.devices(2, sdk_int=21)
    scene.devices(4, beat={"battery": 12})
    deployment = scene.start(canary=2, rate=6, concurrency=5, retry={"max": 0, "backoff_sec": 1})
    for device in fleet[:2]:
        scene.install(deployment, device)
    tick.advance(deployment.pk)
    scene.install(deployment, fleet[2])
    scene.beat(fleet[3])
    scene.report(deployment, fleet[3], "downloading")
    scene.beat(fleet[4])
    scene.report(deployment, fleet[4], "failed", error_code="install_blocked", error=HOSTILE)
    return deployment


def html(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def ids(deployment: Deployment) -> str:
    found = DeploymentTask.objects.filter(deployment=deployment).order_by("id").values_list("id", flat=True)
    return ",".join(map(str, found[:200]))


@pytest.mark.parametrize("page", ["details/", *ACTS, "export.csv"])
def test_whoever_is_signed_out_is_sent_to_the_login_page(client: Client, page: str) -> None:
    answer = client.get(address(scene.start(scene.devices(1)), page))
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("page", ["live/", "order/", "rows/", "record/"])
def test_a_part_of_a_page_never_answers_with_a_login_page(client: Client, page: str) -> None:
    answer = client.get(address(scene.start(scene.devices(1)), page))
    assert (answer.status_code, answer.content) == (401, b"Signed out.")


@pytest.mark.parametrize("page", ["details/", "live/", "order/", "rows/", "record/", *ACTS, "export.csv"])
def test_staff_without_a_group_sees_nothing(page: str) -> None:
    assert signed_in().get(address(scene.start(scene.devices(1)), page)).status_code == 403


@pytest.mark.parametrize("page", ["details/", "live/", "order/", "rows/", "record/", *ACTS, "export.csv"])
def test_a_deployment_that_does_not_exist_is_not_found(page: str) -> None:
    client = signed_in("operator")
    assert client.get(f"/admin/deployments/deployment/987654321/{page}").status_code == 404
    assert client.get(f"/admin/deployments/deployment/{2**70}/{page}").status_code == 404


def test_a_viewer_sees_the_numbers_and_no_action() -> None:
    page = html(signed_in("viewer"), address(mixed()))
    assert "Progress of 17 devices" in page
    for word in ("nx-pause", "nx-resume", "nx-cancel", "nx-pace"):
        assert word not in page
    assert "nx-export" in page


@pytest.mark.parametrize("act", ACTS)
def test_each_action_refuses_a_viewer(act: str) -> None:
    deployment = scene.start(scene.devices(1))
    client = signed_in("viewer")
    assert client.get(address(deployment, act)).status_code == 403
    body = {"reason": "no", "expected_status": "running", "rate": 1, "concurrency": 1}
    assert client.post(address(deployment, act), body).status_code == 403
    fresh = Deployment.objects.get(pk=deployment.pk)
    assert (fresh.status, fresh.options) == ("running", deployment.options)


def test_an_operator_pauses_resumes_and_cancels() -> None:
    deployment = scene.start(scene.devices(2))
    client = signed_in("operator")
    for act, body, after in (
        ("pause/", {"expected_status": "running"}, "paused"),
        ("resume/", {"expected_status": "paused"}, "running"),
        ("cancel/", {"expected_status": "running", "reason": "wrong build"}, "canceled"),
    ):
        answer = client.post(address(deployment, act), body)
        assert (answer.status_code, answer.headers["Location"]) == (302, address(deployment))
        assert scene.state(deployment)[0] == after
    assert "Canceled for good by operator (“wrong build”)" in html(client, address(deployment))


def test_a_pause_takes_its_reason_afterwards_and_the_log_keeps_it() -> None:
    deployment = scene.start(scene.devices(2))
    client = signed_in("operator")
    refused = client.post(address(deployment, "explain/"), {"reason": "too early"})
    assert refused.status_code == 409
    client.post(address(deployment, "pause/"), {"expected_status": "running"})
    page = html(client, address(deployment))
    assert "Paused by operator. Nothing new is sent." in page
    assert "Add a reason…" in page
    assert "required" in client.post(address(deployment, "explain/"), {"reason": " "}).content.decode()
    body = {"reason": "Tills are counted", "expected_status": "paused"}
    assert client.post(address(deployment, "explain/"), body).status_code == 302
    page = html(client, address(deployment))
    assert "Paused by operator (“Tills are counted”)" in page
    assert "Add a reason…" not in page
    event = DeploymentEvent.objects.latest("id")
    assert (event.actor, event.message) == ("user:operator", "Reason of the pause: Tills are counted")
    client.post(address(deployment, "resume/"), {"expected_status": "paused"})
    client.post(address(deployment, "pause/"), {"expected_status": "running"})
    assert "Tills are counted”)" not in html(client, address(deployment)), "of an earlier pause"


def test_the_reason_of_a_pause_is_no_reason_of_a_gate() -> None:
    deployment, client = held_by_its_canary(), signed_in("operator")
    body = {"reason": "Tills are counted", "expected_status": "paused"}
    assert client.post(address(deployment, "explain/"), body).status_code == 409
    assert "Add a reason…" not in html(client, address(deployment))


def test_what_a_person_saw_must_still_be_true() -> None:
    deployment = scene.start(scene.devices(1))
    answer = signed_in("operator").post(address(deployment, "cancel/"), {"expected_status": "paused"})
    assert answer.status_code == 409
    page = answer.content.decode()
    assert re.search(r"State changed \d+ s ago by system: now running\.", page)
    assert "Cancel deployment for" not in page
    assert scene.state(deployment) == ("running", "")


def test_the_confirmation_of_a_cancel_says_what_becomes_of_whom() -> None:
    page = html(signed_in("operator"), address(mixed(), "cancel/"))
    assert "1 in progress: told to stop" in page
    assert "3 done: keep the version." in page
    assert re.search(r"Cancel deployment for \d+ devices", page)


def held_by_its_canary() -> Deployment:
    fleet = scene.devices(4)
    deployment = scene.start(canary=1, retry={"max": 0, "backoff_sec": 1})
    scene.beat(fleet[0])
    scene.report(deployment, fleet[0], "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "canary_failed")
    return deployment


def test_going_on_against_a_gate_wants_a_reason() -> None:
    deployment, client = held_by_its_canary(), signed_in("operator")
    page = html(client, address(deployment))
    assert "Held: canary failed" in page
    assert "0 of 1 device succeeded, 1 failed; 90 % had to succeed" in page
    assert "Resume…" in page
    asked = client.post(address(deployment, "resume/"), {"expected_status": "paused"})
    assert "This field is required." in asked.content.decode()
    assert scene.state(deployment)[0] == "paused"
    body = {"expected_status": "paused", "reason": "looked at it", "looked": "on"}
    assert client.post(address(deployment, "resume/"), body).status_code == 302
    assert scene.state(deployment)[0] == "running"
    assert DeploymentEvent.objects.filter(meta__operator_reason="looked at it").exists()


def test_the_pace_of_a_live_deployment_changes_and_nothing_else() -> None:
    deployment, client = scene.start(scene.devices(1)), signed_in("operator")
    assert client.post(address(deployment, "pace/"), {"rate": 0, "concurrency": 2}).status_code == 200
    assert client.post(address(deployment, "pace/"), {"rate": 7, "concurrency": 2}).status_code == 302
    assert Deployment.objects.get(pk=deployment.pk).options == deployment.options | {
        "rate": 7,
        "concurrency": 2,
    }


def test_an_ended_deployment_offers_no_action() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    scene.install(deployment, device)
    tick.advance(deployment.pk)
    client = signed_in("fleet admin")
    page = html(client, address(deployment))
    assert "Everything has ended: 1 of 1 device succeeded" in page
    assert "nx-pause" not in page
    assert "data-terminal" in page
    assert client.post(address(deployment, "pause/"), {}).status_code == 409


def test_the_header_says_app_versions_author_and_all_options() -> None:
    before = scene.version(120)
    deployment = scene.start(scene.devices(1), to=scene.version(121, debuggable=True), min_battery=55)
    page = html(signed_in("viewer"), address(deployment))
    assert deployment.from_version == before
    for words in (
        "com.nexmdm",
        "1.0.120 (120)",
        "1.0.121 (121)",
        "debuggable build",
        "ada",
        "55 %",
        "1 chosen by id",
    ):
        assert words in page
    for label in (
        "Canary",
        "Wait before a retry",
        "Maintenance window",
        "Restart intent",
        "Without progress",
    ):
        assert f"<dt>{label}</dt>" in page


def test_strings_of_devices_are_inert() -> None:
    deployment = mixed()
    Device.objects.update(model=HOSTILE[:100], alias=HOSTILE[:100])
    client = signed_in("operator")
    for page in (
        "details/?events=all",
        "details/?query=<script>",
        f"rows/?ids={ids(deployment)}",
        "live/",
        "cancel/",
    ):
        assert "<script>alert" not in html(client, address(deployment, page))
        assert '<script>"' not in html(client, address(deployment, page))
    assert "&lt;script&gt;alert" in html(client, address(deployment, f"rows/?ids={ids(deployment)}"))


def numbers_of(page: str) -> tuple[dict[str, int], dict[str, int]]:
    """Group -> count out of the list under the bar, reason -> count out of the list of reasons."""
    groups = re.findall(r'status=([a-z_,]+)#nx-devices" class="nx-count">([\d,]+)<', page)
    reasons = re.findall(r'reason=(?:waiting|ended):([a-z_]+)#nx-devices">[^<]*</a>\s*<span>([\d,]+)<', page)
    return {of: int(count) for of, count in groups}, {of: int(count) for of, count in reasons}


def test_bar_reasons_table_csv_and_summary_give_equal_numbers() -> None:
    deployment, client = mixed(), signed_in("viewer")
    page = html(client, address(deployment))
    groups, reasons = numbers_of(page)
    told = summary.summary(deployment.pk)
    rows = list(
        csv.DictReader(io.StringIO(client.get(address(deployment, "export.csv")).getvalue().decode()))
    )
    assert sum(groups.values()) == told["counts"]["total"] == len(rows) == 17
    for statuses in PEOPLE_GROUPS.values():
        joined = ",".join(statuses)
        assert groups[joined] == sum(told["counts"][status] for status in statuses)
        assert groups[joined] == sum(row["status"] in statuses for row in rows)
        assert f"{groups[joined]} device" in html(client, address(deployment, f"details/?status={joined}"))
    assert reasons == {row["reason"]: row["count"] for row in told["reasons"]}
    for reason, count in reasons.items():
        assert count == sum(row["reason"] == reason for row in rows)
        assert f"{count} device" in html(client, address(deployment, f"details/?reason={reason}"))


def test_a_reason_stands_in_words_with_what_was_observed_and_what_is_needed() -> None:
    deployment = mixed()
    page = html(signed_in("viewer"), address(deployment, "details/?reason=battery_low"))
    assert "Battery too low: 12 %; needed: at least 40 %" in page
    assert "checked again from <time datetime=" in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("status=nonsense", 17),
        ("page=nonsense", 17),
        ("page=0", 17),
        ("page=99999999999999999999", 17),
        ("page=٣", 17),
        ("reason=%00", 17),
        ("query=%25", 0),
        ("query=till-3", 1),
        ("query=" + "x" * 5000, 0),
    ],
)
def test_whatever_stands_in_the_address_is_answered(query: str, shown: int) -> None:
    page = html(signed_in("viewer"), address(mixed(), f"details/?{query}"))
    assert re.search(rf"\b{shown} devices?\s", page)


def test_the_export_takes_the_filters_of_the_address() -> None:
    answer = signed_in("viewer").get(address(mixed(), "export.csv?reason=battery_low"))
    assert answer.headers["X-Row-Count"] == "4"
    assert re.search(r'deployment-\d+-\d{8}T\d{6}Z\.csv"', answer.headers["Content-Disposition"])
    assert len(answer.getvalue().decode().splitlines()) == 5


def test_an_export_with_a_filter_that_is_none_says_so() -> None:
    assert signed_in("viewer").get(address(mixed(), "export.csv?status=nonsense")).status_code == 422


def test_the_live_part_is_sent_again_only_when_something_changed() -> None:
    deployment, client = scene.start(scene.devices(2)), signed_in("operator")
    seen = re.search(r'data-version="(\w+)"', html(client, address(deployment)))
    assert seen
    assert client.get(address(deployment, f"live/?version={seen[1]}")).status_code == 204
    client.post(address(deployment, "pause/"), {"expected_status": "running"})
    fresh = client.get(address(deployment, f"live/?version={seen[1]}"))
    assert fresh.status_code == 200
    assert "Paused by operator" in fresh.content.decode()
    assert "csrf" not in fresh.content.decode()


def test_the_number_of_queries_does_not_grow_with_the_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_numbers, "FRESH", timedelta(hours=1))  # however slow the machine is
    client = signed_in("viewer")
    small, large = scene.start(scene.devices(1)), scene.start(scene.devices(120), to=scene.version(122))
    for page, most in (("details/", 22), ("live/", 6), ("order/", 12), ("rows/?ids=", 16)):
        counted = []
        for deployment in (small, large):
            wanted = page + ids(deployment) if page.endswith("=") else page
            html(client, address(deployment, wanted))
            with CaptureQueriesContext(connection) as queries:
                html(client, address(deployment, wanted))
            counted.append(len(queries))
        assert max(counted) <= most, page
        assert abs(counted[0] - counted[1]) <= 1


def test_the_timeline_shows_the_deployment_and_on_request_each_device() -> None:
    deployment, client = mixed(), signed_in("viewer")
    assert "Planned for 17 devices" in html(client, address(deployment))
    plain, full = (html(client, address(deployment, f"details/{end}")) for end in ("", "?events=all"))
    assert plain.count("nx-event-") < full.count("nx-event-")
    whole = f"/admin/deployments/deploymentevent/?q={deployment.pk}"
    assert whole in plain
    assert "Planned for 17 devices" in html(client, whole)


def test_limits_that_bite_and_let_go_hide_nothing_of_what_people_did() -> None:
    fleet = scene.devices(6)
    deployment, client = scene.start(fleet, rate=1000, concurrency=1), signed_in("viewer")
    for device in fleet[:2]:
        scene.beat(device)
        tick.advance(deployment.pk)
        for step in ("received", "downloading", "installing", "succeeded"):
            scene.report(deployment, device, step)
        tick.advance(deployment.pk)
    held_back, room = "A limit holds back 1 device, the next in turn", "Room again for 1 device"
    plain, full = (html(client, address(deployment, f"details/{end}")) for end in ("", "?events=all"))
    assert (held_back in full, room in full) == (True, True)
    assert (held_back in plain, room in plain, "Planned for 6 devices" in plain) == (False, False, True)


def test_a_deployment_that_the_switch_stopped_says_when_it_may_go_on() -> None:
    deployment, client = scene.start(scene.devices(2)), signed_in("viewer")
    fleet_switch.change(scene.admin(), kill_switch=True, reason="bad build")
    assert "Agents that ask before they install are told to stop." in html(client, address(deployment))
    fleet_switch.change(scene.admin(), kill_switch=False, reason="mended")
    scene.forget_numbers()
    page = html(client, address(deployment))
    assert "The kill switch is off again; this one stays paused until a person resumes it." in page
    assert "Resume or cancel." in page


def test_the_list_shows_status_and_progress_in_one_query_for_all() -> None:
    client = signed_in("viewer")
    mixed()
    with CaptureQueriesContext(connection) as one:
        assert "3 of 17 succeeded, 1 failed" in html(client, "/admin/deployments/deployment/")
    scene.start(scene.devices(1), to=scene.version(122))
    with CaptureQueriesContext(connection) as two:
        html(client, "/admin/deployments/deployment/")
    assert len(one) == len(two)


def test_the_stock_address_of_a_deployment_leads_to_its_page(client: Client) -> None:
    deployment = scene.start(scene.devices(1))
    answer: Any = signed_in("viewer").get(f"/admin/deployments/deployment/{deployment.pk}/change/")
    assert (answer.status_code, answer.headers["Location"]) == (302, address(deployment))
