"""The admin pages of devices and their tokens."""

from typing import Any

import pytest

from devices import enrollment_tokens, tokens
from devices.models import Device, DeviceStatus, EnrollmentToken
from mdm.models import AuditEvent
from mdm.problems import Unauthorized
from tests.deployments import scene
from tests.deployments.pages import signed_in

pytestmark = pytest.mark.django_db

ACTS = ("edit", "retire", "activate", "lock_out")
ISSUE = "/admin/devices/enrollmenttoken/add/"


def page(device: Device, name: str = "change") -> str:
    return f"/admin/devices/device/{device.pk}/{name}/"


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "alias": "till-0",
        "external_id": "",
        "tags": "",
        "groups": "",
        "hold_until": "",
        "hold_reason": "",
    } | changes


def test_a_fleet_admin_changes_names_labels_and_holds() -> None:
    (device,) = scene.devices(1)
    body = fields(
        alias="Till 3",
        tags="kiosk\nlobby, left\n\nkiosk",
        hold_until="2099-01-31T18:00:00",
        hold_reason="stock",
    )
    assert signed_in("fleet admin").post(page(device, "edit"), body).status_code == 302
    fresh = Device.objects.get()
    assert (fresh.alias, fresh.tags, fresh.hold_reason) == ("Till 3", ["kiosk", "lobby, left"], "stock")
    assert fresh.hold_until is not None
    assert fresh.hold_until.isoformat() == "2099-01-31T18:00:00+00:00"
    assert AuditEvent.objects.filter(action="device.change", actor="user:fleet-admin").exists()


def test_saving_the_form_unchanged_changes_nothing() -> None:
    (device,) = scene.devices(1, tags=["a,b", "c"], groups=["Berlin"])
    client = signed_in("fleet admin")
    shown = client.get(page(device, "edit")).content.decode()
    assert "a,b\nc</textarea>" in shown
    client.post(page(device, "edit"), fields(tags="a,b\r\nc", groups="Berlin"))
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tags": "x" * 61}, "None may be longer than 60 characters."),
        ({"alias": "x" * 121}, "Ensure this value has at most 120 characters"),
        ({"hold_until": "9999-01-01T00:00:00"}, "between 1970 and 8999"),
        ({"hold_until": "tomorrow"}, "Enter a valid date/time."),
        ({"alias": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_beside_its_input(changes: dict[str, str], sentence: str) -> None:
    (device,) = scene.devices(1)
    answer = signed_in("fleet admin").post(page(device, "edit"), fields(**changes))
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert Device.objects.get().alias == device.alias


@pytest.mark.parametrize("group", ["", "viewer", "operator"])
@pytest.mark.parametrize("act", ACTS)
def test_nobody_else_changes_a_device(group: str, act: str) -> None:
    (device,) = scene.devices(1)
    client = signed_in(group)
    assert client.get(page(device, act)).status_code in (403, 404)
    assert client.post(page(device, act), fields(alias="mine")).status_code in (403, 404)
    fresh = Device.objects.get()
    assert (fresh.alias, fresh.status) == (device.alias, DeviceStatus.ACTIVE)


def test_a_viewer_sees_a_device_without_any_action() -> None:
    (device,) = scene.devices(1)
    shown = signed_in("viewer").get(page(device)).content.decode()
    assert "com.nexmdm 1.0.120 (120)" in shown
    for act in ACTS:
        assert f"/{act}/" not in shown


def test_a_device_is_retired_and_taken_back() -> None:
    (device,) = scene.devices(1)
    deployment, client = scene.start([device]), signed_in("fleet admin")
    assert client.post(page(device, "retire")).status_code == 302
    assert Device.objects.get().status == DeviceStatus.RETIRED
    assert scene.task(deployment, device).status == "skipped"
    assert "/activate/" in client.get(page(device)).content.decode()
    assert client.post(page(device, "activate")).status_code == 302
    assert Device.objects.get().status == DeviceStatus.ACTIVE


def test_a_device_is_locked_out() -> None:
    (device,) = scene.devices(1)
    text = tokens.issue(device.pk)
    assert signed_in("fleet admin").post(page(device, "lock_out")).status_code == 302
    with pytest.raises(Unauthorized):
        tokens.authenticate(text)


def test_what_was_never_reported_is_not_stated_as_a_fact() -> None:
    (device,) = scene.devices(1, beat={"battery": None, "received_at": None}, installed=None)
    shown = signed_in("viewer").get(page(device)).content.decode()
    assert shown.count("not reported") >= 2
    assert "never" in shown


def test_an_enrolment_token_is_shown_once_and_works() -> None:
    client = signed_in("fleet admin")
    body = {"max_uses": "2", "tags": "kiosk\nlobby", "groups": "Berlin"}
    shown = client.post(ISSUE, body).content.decode()
    text = shown.partition('<code class="nx-secret">')[2].partition("<")[0]
    token = EnrollmentToken.objects.get()
    assert enrollment_tokens.find(text, token.created_at) == token
    assert (token.max_uses, token.tags, token.groups) == (2, ["kiosk", "lobby"], ["Berlin"])
    listed = client.get("/admin/devices/enrollmenttoken/").content.decode()
    assert text not in listed
    assert token.digest not in listed


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"expires_at": "2001-01-01T00:00:00"}, "Must be in the future."),
        ({"expires_at": "9999-01-01T00:00:00"}, "between 1970 and 8999"),
        ({"device_id": "987654321"}, "There is no device with this id."),
        ({"device_id": str(2**80)}, "There is no device with this id."),
        ({"max_uses": "0"}, "Ensure this value is greater than or equal to 1."),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(body: dict[str, str], sentence: str) -> None:
    answer = signed_in("fleet admin").post(ISSUE, body)
    assert sentence in answer.content.decode()
    assert not EnrollmentToken.objects.exists()


def test_an_enrolment_token_is_revoked_by_a_fleet_admin_only() -> None:
    token = EnrollmentToken.objects.create(digest="e" * 64)
    address = f"/admin/devices/enrollmenttoken/{token.pk}/revoke/"
    assert signed_in("operator").post(address).status_code == 403
    assert EnrollmentToken.objects.get().revoked_at is None
    assert signed_in("fleet admin").post(address).status_code == 302
    assert EnrollmentToken.objects.get().revoked_at is not None
