"""Devices and enrolment tokens at the door."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.api import DeviceOut, EnrollmentTokenOut
from devices.models import Device, EnrollmentToken
from devices.provisioning import EXTRAS
from devices.signals import device_retired
from mdm.models import AuditEvent
from mdm.wire_schemas import Items
from tests.calls import Caller, as_user
from tests.factories import AdminFactory, DeviceFactory, member

pytestmark = pytest.mark.django_db


@pytest.fixture
def call() -> Caller:
    return as_user(member("fleet admin"))


def test_the_list_shows_what_the_last_heartbeat_said(call: Caller) -> None:
    device = DeviceFactory(beat={"battery": 12, "network": "cellular"}, tags=["kiosk"])
    page = Items[DeviceOut].model_validate(call("GET", "/v1/devices").body)
    (shown,) = page.items
    assert (shown.id, shown.battery, shown.network, shown.tags) == (device.pk, 12, "cellular", ["kiosk"])
    assert shown.current_versions == {"com.nexmdm": {"version_code": 120, "version_name": "1.0.120"}}
    assert datetime.fromisoformat(shown.last_seen_at or "").tzinfo is not None


def test_a_device_never_heard_of_has_no_readings(call: Caller) -> None:
    device = DeviceFactory(beat={"received_at": None, "battery": None})
    shown = DeviceOut.model_validate(call("GET", f"/v1/devices/{device.pk}").body)
    assert (shown.last_seen_at, shown.battery) == (None, None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "abcd"),
        ("tags=red", "ab"),
        ("tags=red,blue", "abc"),
        ("tags=red&tags=blue", "abc"),
        ("tags=red&groups=shop-1", "a"),
        ("groups=shop-1,shop-2", "abd"),
        ("query=TILL", "ab"),
        ("query=r58", "abc"),
        ("query=joy", "abcd"),
        ("query=%25", "d"),
        ("query=_", "d"),
        ("query=%5C", "d"),
        ("status=active", "abc"),
        ("status=retired", "d"),
        ("tags=&groups=&query=&status=", "abcd"),
        ("tags=,%20,", "abcd"),
        ("tags=nothing", ""),
    ],
)
def test_the_filters_of_the_list(query: str, found: str, call: Caller) -> None:
    DeviceFactory(alias="till-a", serial="R58A", external_id="a", tags=["red"], groups=["shop-1"])
    DeviceFactory(alias="Till B", serial="R58B", external_id="b", tags=["red", "blue"], groups=["shop-2"])
    DeviceFactory(alias="", serial="R58C", external_id="c", tags=["blue"])
    retired = {"status": "retired", "retired_at": timezone.now()}
    DeviceFactory(alias="100%_\\", serial="X", external_id="d", groups=["shop-1"], **retired)
    reply = call("GET", f"/v1/devices?{query}")
    assert "".join(item["external_id"] for item in reply.body["items"]) == found
    assert reply.body["count"] == len(found)


def test_pages_by_number_and_by_cursor_hold_every_device_once(call: Caller) -> None:
    made = [DeviceFactory().pk for _ in range(7)]
    by_number = [
        item["id"]
        for page in (1, 2, 3, 4)
        for item in call("GET", f"/v1/devices?page={page}&page_size=3").body["items"]
    ]
    by_cursor, after = [], ""
    while after is not None:
        page = call("GET", f"/v1/devices?page_size=3&after={after}").body
        by_cursor += [item["id"] for item in page["items"]]
        after = page["next_after"]
    assert by_number == by_cursor == made


def test_a_list_takes_the_same_few_queries_for_any_number_of_devices(
    call: Caller, django_assert_max_num_queries: Any
) -> None:
    for _ in range(20):
        DeviceFactory()
    call("GET", "/v1/devices")
    with django_assert_max_num_queries(5):
        assert len(call("GET", "/v1/devices").body["items"]) == 20


# --- changes ---------------------------------------------------------------------------------------------
def test_a_change_keeps_what_is_left_out_and_leaves_one_audit_row(call: Caller) -> None:
    device = DeviceFactory(alias="old", tags=["red"])
    reply = call("PATCH", f"/v1/devices/{device.pk}", {"alias": " Till 3 ", "groups": ["b", "a", "b", " "]})
    assert (reply.body["alias"], reply.body["groups"], reply.body["tags"]) == ("Till 3", ["b", "a"], ["red"])
    event = AuditEvent.objects.get(action="device.change")
    assert event.meta["before"] == {"alias": "old", "groups": []}
    assert event.meta["after"] == {"alias": "Till 3", "groups": ["b", "a"]}
    assert event.actor.startswith("user:person-")


def test_a_change_that_changes_nothing_leaves_no_row(call: Caller) -> None:
    device = DeviceFactory(alias="same")
    assert call("PATCH", f"/v1/devices/{device.pk}", {"alias": "same"}).status == 200
    assert call("PATCH", f"/v1/devices/{device.pk}", {}).status == 200
    assert not AuditEvent.objects.filter(action="device.change").exists()


def test_a_hold_is_set_and_emptied_with_its_reason(call: Caller) -> None:
    device = DeviceFactory()
    path = f"/v1/devices/{device.pk}"
    held = call("PATCH", path, {"hold_until": "2030-01-31T18:00:00+01:00", "hold_reason": "Inventory"}).body
    assert (held["hold_until"], held["hold_reason"]) == ("2030-01-31T17:00:00Z", "Inventory")
    free = call("PATCH", path, {"hold_until": None}).body
    assert (free["hold_until"], free["hold_reason"]) == (None, "")


@pytest.mark.parametrize(
    "body",
    [
        {"hold_until": "2030-01-31T18:00:00"},
        {"hold_until": "9999-12-31T23:59:59-12:00"},
        {"hold_until": "0001-01-01T00:00:00+12:00"},
        {"hold_until": 1893456000},
        {"status": "asleep"},
        {"alias": "x" * 121},
        {"tags": "red"},
        {"tags": ["x" * 61]},
        {"serial": "new"},
        {"hold_reason": "x" * 201},
    ],
    ids=str,
)
def test_a_change_of_the_wrong_form_is_422_and_changes_nothing(body: dict[str, Any], call: Caller) -> None:
    device = DeviceFactory(alias="same")
    assert call("PATCH", f"/v1/devices/{device.pk}", {"external_id": "new", **body}).status == 422
    assert Device.objects.get().external_id == ""


def test_retiring_tells_once_and_a_device_comes_back(call: Caller) -> None:
    told: list[int] = []

    def listen(sender: object, device_id: int, **kwargs: Any) -> None:
        told.append(device_id)

    device = DeviceFactory()
    path = f"/v1/devices/{device.pk}"
    device_retired.connect(listen)
    try:
        retired = call("PATCH", path, {"status": "retired"}).body
        call("PATCH", path, {"status": "retired"})
    finally:
        device_retired.disconnect(listen)
    assert (retired["status"], retired["retired_at"] is not None, told) == ("retired", True, [device.pk])
    back = call("PATCH", path, {"status": "active"}).body
    assert (back["status"], back["retired_at"]) == ("active", None)


# --- enrolment tokens ------------------------------------------------------------------------------------
def test_an_enrolment_token_is_shown_once_and_kept_as_a_digest(call: Caller) -> None:
    expires = (timezone.now() + timedelta(days=1)).isoformat()
    body = {"expires_at": expires, "max_uses": 20, "tags": ["kiosk"], "groups": ["shop-1", ""]}
    reply = call("POST", "/v1/enrollment-tokens", body)
    shown = EnrollmentTokenOut.model_validate(reply.body)
    kept = EnrollmentToken.objects.get()
    assert reply.status == 201
    assert shown.provisioning[EXTRAS] == {"server_url": "http://testserver", "enrollment_token": shown.token}
    assert reply.headers["Cache-Control"] == "no-store"
    assert (kept.max_uses, kept.tags, kept.groups, kept.device) == (20, ["kiosk"], ["shop-1"], None)
    assert shown.token not in f"{EnrollmentToken.objects.values()}{AuditEvent.objects.values()}"


def test_the_body_of_an_enrolment_token_may_be_absent(call: Caller) -> None:
    assert call("POST", "/v1/enrollment-tokens").status == 201
    assert EnrollmentToken.objects.get().max_uses is None


def test_a_token_made_for_one_device_is_good_for_one_use(call: Caller) -> None:
    device = DeviceFactory()
    assert call("POST", "/v1/enrollment-tokens", {"device_id": str(device.pk)}).status == 201
    kept = EnrollmentToken.objects.get()
    assert (kept.device_id, kept.max_uses) == (device.pk, 1)


@pytest.mark.parametrize(
    "body",
    [
        {"device_id": 999_999},
        {"device_id": "abc"},
        {"device_id": True},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "tomorrow"},
        {"max_uses": 0},
        {"max_uses": "5"},
        {"max_uses": 2**31},
        {"max_uses": True},
        {"tags": {"a": 1}},
    ],
    ids=str,
)
def test_an_enrolment_token_of_the_wrong_form_is_422(body: dict[str, Any]) -> None:
    assert as_user(AdminFactory())("POST", "/v1/enrollment-tokens", body).status == 422
    assert not EnrollmentToken.objects.exists()
