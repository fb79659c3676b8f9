"""Device tokens: one query, rotation that survives lost answers, revocation, retirement."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices import tokens
from devices.models import Device, DeviceToken
from mdm.models import AuditEvent
from mdm.problems import Forbidden, NotFound, Unauthorized
from tests.factories import DeviceFactory, actor, device_token

pytestmark = pytest.mark.django_db


@pytest.fixture
def device() -> Device:
    return DeviceFactory(fcm_token="f", tz="Europe/Berlin", agent_version="1.0.120")


def valid(text: str) -> bool:
    try:
        tokens.authenticate(text)
    except Unauthorized:
        return False
    return True


def test_a_token_in_use_is_one_query_and_brings_what_a_heartbeat_needs(
    device: Device, django_assert_num_queries: Any
) -> None:
    text = device_token(device)
    with django_assert_num_queries(1):
        found = tokens.authenticate(text)
    assert (found.device_id, found.active, found.retired_at) == (device.pk, True, None)
    assert (found.fcm_token, found.agent_version, found.sdk_int) == ("f", "1.0.120", 33)
    assert (found.max_schema, found.tz) == (1, "Europe/Berlin")


@pytest.mark.parametrize("text", ["", "x", "nxd_wrong", "\0", "ä", "\ud800", "x" * 100_000])
def test_what_is_no_token_is_nobody(text: str) -> None:
    assert not valid(text)


def test_only_the_digest_is_kept(device: Device) -> None:
    text = tokens.issue(device.pk)
    assert text not in str(DeviceToken.objects.values())
    assert len(text) > 43


def test_the_old_token_is_valid_until_the_new_one_is_used(device: Device) -> None:
    old = device_token(device)
    new = tokens.rotate(tokens.authenticate(old))
    assert valid(old)
    assert valid(new)
    assert not valid(old)
    assert valid(new)


def test_a_lost_answer_to_a_rotation_locks_nobody_out_and_leaves_no_pile(device: Device) -> None:
    old = device_token(device)
    lost = tokens.rotate(tokens.authenticate(old))
    again = tokens.rotate(tokens.authenticate(old))
    assert DeviceToken.objects.count() == 2
    assert not valid(lost)
    assert valid(old)
    assert valid(again)
    assert not valid(old)


def test_the_first_use_writes_and_the_second_does_not(device: Device, django_assert_num_queries: Any) -> None:
    text = tokens.issue(device.pk)
    tokens.authenticate(text)
    used = DeviceToken.objects.get().first_used_at
    assert used is not None
    with django_assert_num_queries(1):
        tokens.authenticate(text)


def test_a_new_token_of_one_device_does_not_touch_another(device: Device) -> None:
    other = device_token(DeviceFactory())
    assert valid(tokens.issue(device.pk))
    assert valid(other)


def test_revoking_voids_every_token_and_needs_the_permission(device: Device) -> None:
    first, second = device_token(device), tokens.issue(device.pk)
    with pytest.raises(Forbidden):
        tokens.revoke(actor("operator"), device.pk)
    with pytest.raises(NotFound):
        tokens.revoke(actor("fleet admin"), 999_999)
    tokens.revoke(actor("fleet admin"), device.pk)
    assert not valid(first)
    assert not valid(second)
    assert AuditEvent.objects.filter(action="device.revoke_tokens", subject_id=str(device.pk)).count() == 1


def retire(device: Device, ago: timedelta) -> None:
    Device.objects.filter(pk=device.pk).update(status="retired", retired_at=timezone.now() - ago)


def test_a_retired_device_is_known_for_a_day_and_gets_no_new_token(device: Device) -> None:
    text = device_token(device)
    retire(device, timedelta(hours=23, minutes=59))
    found = tokens.authenticate(text)
    assert not found.active
    with pytest.raises(Forbidden, match="retired"):
        tokens.rotate(found)
    retire(device, timedelta(hours=24, seconds=1))
    assert not valid(text)
