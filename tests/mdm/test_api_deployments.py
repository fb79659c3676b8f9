"""Deployments at the operators' door: the contract word for word, and every answer held to its schema."""

import csv
import io
from typing import Any

import pytest
from django.contrib.auth.models import User

from apks.models import ApkVersion
from deployments.models import Deployment, DeploymentEvent, FleetSwitch
from deployments.reading.task_list import FIELDS
from deployments.wire import (
    DeploymentOut,
    DryRunDeviceOut,
    DryRunOut,
    EventOut,
    ListedDeploymentOut,
    StartedOut,
    SwitchOut,
    TaskOut,
)
from devices.models import Device
from mdm.wire_schemas import Items
from tests.calls import Caller, as_user
from tests.deployments import scene
from tests.factories import AdminFactory, member

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return AdminFactory()


@pytest.fixture
def call(user: User) -> Caller:
    return as_user(user)


@pytest.fixture
def version() -> ApkVersion:
    scene.enable()
    return scene.version()


def body(version: ApkVersion, **more: Any) -> dict[str, Any]:
    return {"apk_version_id": version.pk, "target": {"type": "fleet"}, **more}


# --- starting --------------------------------------------------------------------------------------------
def test_the_body_of_the_milestone_is_taken_word_for_word(call: Caller, version: ApkVersion) -> None:
    fleet = scene.devices(2, groups=["g"], tags=["t"])
    request = {
        "apk_version_id": version.pk,
        "target": {
            "type": "selection",
            "device_ids": [fleet[0].pk],
            "filters": {"tags": ["t"], "groups": ["g"], "query": "till"},
        },
        "options": {
            "canary": 1,
            "rate": 10,
            "concurrency": 3,
            "wifi_only": True,
            "min_battery": 40,
            "charging_only": False,
            "window": {"start_iso": "2026-01-01T00:00:00Z", "end_iso": "2099-01-01T00:00:00+01:00"},
            "retry": {"max": 3, "backoff_sec": 300},
            "post_install": {"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {}}},
            "allow_rollback": True,
        },
    }
    reply = call("POST", "/v1/deployments", request)
    assert reply.status == 201
    shown = call("GET", f"/v1/deployments/{StartedOut.model_validate(reply.body).deployment_id}")
    found = DeploymentOut.model_validate(shown.body)
    assert (found.status, found.target.scope) == ("queued", "selection")
    assert shown.body["options"]["post_install"] == request["options"]["post_install"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"options": None},
        {"options": {}},
        {"options": {"window": None, "retry": None}},
        {"dry_run_id": None},
    ],
    ids=str,
)
def test_what_is_absent_or_null_has_its_default(
    more: dict[str, Any], call: Caller, version: ApkVersion
) -> None:
    scene.devices(1)
    reply = call("POST", "/v1/deployments", body(version, **more))
    assert reply.status == 201
    options = Deployment.objects.get().options
    assert (options["canary"], options["rate"], options["retry"]) == (5, 10, {"max": 3, "backoff_sec": 300})


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "a fleet without canary": ({"options": {"canary": 0}}, 422),
    "a rate below one": ({"options": {"rate": 0}}, 422),
    "a window that has ended": (
        {"options": {"window": {"start_iso": "2020-01-01T00:00:00Z", "end_iso": "2020-01-02T00:00:00Z"}}},
        422,
    ),
    "unknown devices": ({"target": {"type": "selection", "device_ids": [999_999]}}, 422),
    "a selection that matches nobody": ({"target": {"type": "selection", "filters": {"tags": ["x"]}}}, 422),
    "a selection of nothing": ({"target": {"type": "selection"}}, 422),
    "a fleet with filters": ({"target": {"type": "fleet", "filters": {"tags": ["x"]}}}, 422),
    "an unknown option": ({"options": {"speed": 5}}, 422),
    "an unknown version": ({"apk_version_id": 999_999}, 404),
    "an unknown dry run": ({"dry_run_id": 999_999}, 404),
}


@pytest.mark.parametrize("path", ["/v1/deployments", "/v1/deployments/dry-run"])
@pytest.mark.parametrize(("more", "status"), REFUSED.values(), ids=REFUSED)
def test_a_start_and_its_dry_run_refuse_alike(
    more: dict[str, Any], status: int, path: str, call: Caller, version: ApkVersion
) -> None:
    scene.devices(1)
    if "dry_run_id" in more and path.endswith("dry-run"):
        status = 200
    assert call("POST", path, body(version, **more)).status == status
    assert not Deployment.objects.exists()


def test_starting_is_403_while_the_flag_is_off_and_409_while_the_switch_is_on(
    call: Caller, version: ApkVersion
) -> None:
    scene.devices(1)
    FleetSwitch.objects.update(deployments_enabled=False)
    assert call("POST", "/v1/deployments", body(version)).status == 403
    assert call("POST", "/v1/deployments/dry-run", body(version)).status == 200
    FleetSwitch.objects.update(deployments_enabled=True, kill_switch=True)
    assert call("POST", "/v1/deployments", body(version)).status == 409


def test_a_key_repeats_the_first_answer_for_the_same_meaning_only(call: Caller, version: ApkVersion) -> None:
    scene.devices(1)
    first = call("POST", "/v1/deployments", body(version), Idempotency_Key="k")
    again = call("POST", "/v1/deployments", body(version, options={}, dry_run_id=None), Idempotency_Key="k")
    assert (again.status, again.body) == (201, first.body)
    other = call("POST", "/v1/deployments", body(version, options={"rate": 9}), Idempotency_Key="k")
    assert other.status == 422
    assert (
        as_user(member("operator"))("POST", "/v1/deployments", body(version), Idempotency_Key="k").status
        == 201
    )
    assert Deployment.objects.count() == 2


# --- dry runs --------------------------------------------------------------------------------------------
def test_a_dry_run_counts_and_pages_what_a_start_would_do(call: Caller, version: ApkVersion) -> None:
    scene.devices(3)
    scene.devices(1, installed=121)
    scene.devices(1, beat={"battery": 5})
    reply = call("POST", "/v1/deployments/dry-run", body(version))
    found = DryRunOut.model_validate(reply.body)
    assert (found.resolved, found.will_update) == (5, 3)
    assert [(row.reason, row.count) for row in found.excluded] == [("already_installed", 1)]
    assert [(row.reason, row.count) for row in found.later] == [("battery_low", 1)]
    page = call("GET", f"/v1/deployments/dry-run/{found.dry_run_id}/devices?page=2&page_size=2").body
    assert Items[DryRunDeviceOut].model_validate(page).count == 5
    assert len(page["items"]) == 2
    started = call("POST", "/v1/deployments", body(version, dry_run_id=found.dry_run_id))
    assert started.status == 201


# --- a live deployment -----------------------------------------------------------------------------------
@pytest.fixture
def fleet() -> list[Device]:
    return scene.devices(5)


@pytest.fixture
def deployment(fleet: list[Device]) -> Deployment:
    return scene.start(fleet)


def test_the_summary_list_tasks_and_events_are_as_published(call: Caller, deployment: Deployment) -> None:
    path = f"/v1/deployments/{deployment.pk}"
    summary = DeploymentOut.model_validate(call("GET", path).body)
    assert summary.counts.total == 5
    (listed,) = Items[ListedDeploymentOut].model_validate(call("GET", "/v1/deployments").body).items
    assert (listed.id, listed.counts.total) == (deployment.pk, 5)
    tasks = Items[TaskOut].model_validate(call("GET", f"{path}/tasks").body)
    assert tasks.count == len(tasks.items) == 5
    events = Items[EventOut].model_validate(call("GET", f"{path}/events").body)
    assert events.count == len(events.items) > 0


def test_the_list_of_deployments_is_filtered(call: Caller, deployment: Deployment) -> None:
    for query, count in {
        "status=running": 1,
        "status=failed": 0,
        "package=com.nexmdm": 1,
        "package=com.example": 0,
        "status=&package=": 1,
    }.items():
        assert call("GET", f"/v1/deployments?{query}").body["count"] == count, query
    assert call("GET", "/v1/deployments?status=asleep").status == 422


def test_tasks_are_filtered_and_paged_by_number_and_by_cursor(
    call: Caller, deployment: Deployment, fleet: list[Device]
) -> None:
    path = f"/v1/deployments/{deployment.pk}/tasks"
    every = [item["id"] for item in call("GET", path).body["items"]]
    found, after = [], ""
    while after is not None:
        page = call("GET", f"{path}?page_size=2&after={after}").body
        found += [item["id"] for item in page["items"]]
        after = page["next_after"]
    assert sorted(found) == sorted(every)
    assert len(found) == 5
    assert call("GET", f"{path}?query={fleet[0].alias}").body["count"] == 1
    assert call("GET", f"{path}?status=queued,succeeded").body["count"] == 5
    assert call("GET", f"{path}?status=succeeded").body["count"] == 0
    assert call("GET", f"{path}?status=nonsense").status == 422
    assert call("GET", f"{path}?reason=nonsense").body["count"] == 0


def test_events_are_filtered_by_device_and_level(
    call: Caller, deployment: Deployment, fleet: list[Device]
) -> None:
    scene.beat(fleet[0])
    path = f"/v1/deployments/{deployment.pk}/events"
    of_device = call("GET", f"{path}?device_id={fleet[0].pk}").body["items"]
    assert {item["device_id"] for item in of_device} == {fleet[0].pk}
    assert call("GET", f"{path}?device_id=abc").body["count"] == 0
    assert call("GET", f"{path}?level=error").body["count"] == 0


def test_pause_resume_and_cancel_answer_with_the_deployment_also_when_repeated(
    call: Caller, deployment: Deployment
) -> None:
    path = f"/v1/deployments/{deployment.pk}"
    for action, status in (("pause", "paused"), ("resume", "running"), ("cancel", "canceled")):
        for _ in range(2):
            reply = call("POST", f"{path}/{action}")
            assert (reply.status, DeploymentOut.model_validate(reply.body).status) == (200, status)


def test_a_move_that_is_not_legal_or_stale_is_409_with_the_current_status(
    call: Caller, deployment: Deployment
) -> None:
    path = f"/v1/deployments/{deployment.pk}"
    stale = call("POST", f"{path}/pause", {"expected_status": "queued"})
    assert (stale.status, stale.body["current_status"]) == (409, "running")
    call("POST", f"{path}/cancel", {"reason": "enough"})
    for action in ("pause", "resume"):
        refused = call("POST", f"{path}/{action}", {"reason": None})
        assert (refused.status, refused.body["current_status"]) == (409, "canceled")


def test_the_pace_is_changed_and_nothing_else(call: Caller, deployment: Deployment) -> None:
    path = f"/v1/deployments/{deployment.pk}"
    assert call("PATCH", path, {"rate": 7}).body["options"]["rate"] == 7
    for wrong in ({"rate": 0}, {"rate": 1.5}, {"rate": "7"}, {"concurrency": 100_001}, {"canary": 1}):
        assert call("PATCH", path, wrong).status == 422
    call("POST", f"{path}/cancel")
    assert call("PATCH", path, {"rate": 8}).status == 409


def test_an_act_is_logged_with_its_person_and_request(
    call: Caller, user: User, deployment: Deployment
) -> None:
    call("POST", f"/v1/deployments/{deployment.pk}/pause", {"reason": "Shop opens"}, X_Request_Id="req-7")
    event = DeploymentEvent.objects.filter(actor=f"user:{user.username}").latest("id")
    assert event.meta["request_id"] == "req-7"


# --- export ----------------------------------------------------------------------------------------------
def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def test_the_csv_has_the_fields_order_and_number_of_the_list(call: Caller, deployment: Deployment) -> None:
    path = f"/v1/deployments/{deployment.pk}"
    reply = call("GET", f"{path}/export.csv")
    header, *lines = rows(reply.content)
    items = call("GET", f"{path}/tasks").body["items"]
    assert header == list(FIELDS) == list(items[0])
    assert (len(lines), reply.headers["X-Row-Count"]) == (5, "5")
    assert sorted(int(line[0]) for line in lines) == sorted(item["id"] for item in items)
    assert reply.headers["Content-Type"].startswith("text/csv")
    assert call("GET", f"{path}/export.csv?status=succeeded").headers["X-Row-Count"] == "0"
    assert DeploymentEvent.objects.filter(message="Exported as CSV").count() == 2


@pytest.mark.parametrize(
    "alias", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "  =1+1", "%x", "|calc"]
)
def test_a_formula_in_the_csv_is_neutralised(alias: str, call: Caller) -> None:
    (device,) = scene.devices(1, alias=alias)
    deployment = scene.start([device])
    content = call("GET", f"/v1/deployments/{deployment.pk}/export.csv").content
    cell = rows(content)[1][2]
    assert cell.startswith("'"), cell


def test_null_is_empty_in_the_csv(call: Caller, deployment: Deployment) -> None:
    header, first, *_ = rows(call("GET", f"/v1/deployments/{deployment.pk}/export.csv").content)
    line = dict(zip(header, first, strict=True))
    assert (line["error_code"], line["finished_at"], line["is_canary"]) == ("", "", "false")


def test_an_export_of_nothing_known_is_404_and_of_an_unknown_status_422(
    call: Caller, deployment: Deployment
) -> None:
    assert call("GET", "/v1/deployments/999999/export.csv").status == 404
    assert call("GET", f"/v1/deployments/{deployment.pk}/export.csv?status=asleep").status == 422


# --- the fleet switch ------------------------------------------------------------------------------------
def test_the_switch_wants_a_reason_and_keeps_what_is_left_out(call: Caller, user: User) -> None:
    before = SwitchOut.model_validate(call("GET", "/v1/fleet-switch").body)
    assert (before.kill_switch, before.deployments_enabled, before.changed_by) == (False, False, None)
    for nothing in ({}, {"reason": " "}, {"reason": None}):
        assert call("PUT", "/v1/fleet-switch", {"kill_switch": True, **nothing}).status == 422
    on = SwitchOut.model_validate(
        call("PUT", "/v1/fleet-switch", {"deployments_enabled": True, "reason": "go"}).body
    )
    assert (on.kill_switch, on.deployments_enabled, on.changed_by) == (False, True, user.username)
    stale = {"kill_switch": True, "reason": "stop", "expected_changed_at": before.changed_at}
    assert call("PUT", "/v1/fleet-switch", stale).status == 409
    fresh = {**stale, "expected_changed_at": on.changed_at}
    assert call("PUT", "/v1/fleet-switch", fresh).body["kill_switch"] is True


@pytest.mark.parametrize("value", ["true", 1, 0, [], {}])
def test_the_switch_is_turned_by_true_and_false_only(value: Any, call: Caller) -> None:
    assert call("PUT", "/v1/fleet-switch", {"kill_switch": value, "reason": "x"}).status == 422
