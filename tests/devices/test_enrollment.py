"""Enrolment: who is admitted, who is the same device again, and who is not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pydantic import ValidationError

from devices import tokens
from devices.enrollment import Enrolled, EnrollIn, SerialTaken, demo_enrollment_tokens, enroll
from devices.models import Device, DeviceToken, EnrollmentToken, Heartbeat
from devices.signals import device_re_enrolled
from mdm.models import AuditEvent
from mdm.problems import Problem, Unauthorized
from tests.factories import DeviceFactory, device_token, enrollment_token

SERIAL = "R58M12ABCDE"


def body(token: str, **more: Any) -> EnrollIn:
    said = {"enrollment_token": token, "serial": SERIAL, "model": "Orbic Joy 2", "sdk_int": 33, **more}
    return EnrollIn.model_validate(said)


def valid(text: str) -> bool:
    return tokens.owner(text) is not None


def first_beat(device_id: int) -> None:
    Heartbeat.objects.filter(device_id=device_id).update(received_at=timezone.now(), battery=50)


@pytest.fixture
def told(db: None) -> Iterator[list[int]]:
    """Devices whose re-enrolment was told."""
    found: list[int] = []

    def listen(sender: object, device_id: int, **kwargs: Any) -> None:
        found.append(device_id)

    device_re_enrolled.connect(listen)
    yield found
    device_re_enrolled.disconnect(listen)


# --- new devices -----------------------------------------------------------------------------------------
def test_a_new_device_gets_a_token_a_silent_heartbeat_and_the_labels_of_its_token(told: list[int]) -> None:
    token, text = enrollment_token(max_uses=2, tags=["kiosk"], groups=["shop-1"])
    packages = [{"package": "com.nexmdm", "version_code": 120, "signer_sha256": "AA:" * 31 + "AA"}]
    enrolled = enroll(body(text, alias="Till 3", abis=["arm64-v8a"], packages=packages, manufacturer="Orbic"))
    device = Device.objects.get(pk=enrolled.device_id)
    assert (device.serial, device.alias, device.tags, device.groups) == (
        SERIAL,
        "Till 3",
        ["kiosk"],
        ["shop-1"],
    )
    assert device.current_versions["com.nexmdm"]["signer_sha256"] == "aa" * 32
    assert device.heartbeat.received_at is None
    assert tokens.authenticate(enrolled.token).device_id == device.pk
    token.refresh_from_db()
    assert (token.uses, device.enrolled_with, told) == (1, token, [])
    assert AuditEvent.objects.get(action="device.enroll").subject_id == str(device.pk)


BAD_TOKENS: dict[str, dict[str, Any]] = {
    "revoked": {"revoked_at": timezone.now()},
    "expired": {"expires_at": timezone.now() - timedelta(seconds=1)},
    "spent": {"max_uses": 1, "uses": 1},
}


@pytest.mark.django_db
@pytest.mark.parametrize("columns", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_token_that_is_no_good_admits_nobody(columns: dict[str, Any]) -> None:
    token, text = enrollment_token(**columns)
    with pytest.raises(Unauthorized) as caught:
        enroll(body(text))
    assert caught.value.slug == "bad_enrollment_token"
    assert not Device.objects.exists()
    assert EnrollmentToken.objects.get().uses == token.uses


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["nxe_unknown", "\ud83d", "x" * 200])
def test_an_unknown_token_admits_nobody(text: str) -> None:
    with pytest.raises(Unauthorized):
        enroll(EnrollIn.model_construct(**(body("x").model_dump() | {"enrollment_token": text})))


@pytest.mark.django_db
def test_a_token_made_for_one_device_admits_no_other() -> None:
    _, text = enrollment_token(device=DeviceFactory())
    with pytest.raises(Unauthorized, match="another device"):
        enroll(body(text))


PLACEHOLDERS = [
    "unknown", "UNKNOWN", " Unknown ", "0123456789ABCDEF", "0123456789abcdef", "1234567890", "12345678", "00000000",
    "0", "xxxx", "null", "None", "n/a", "", "   ", "a\tb", "a\x00b", "a\u202eb", "x" * 101,
]  # fmt: skip


@pytest.mark.parametrize("serial", PLACEHOLDERS, ids=repr)
def test_a_placeholder_is_no_serial(serial: str) -> None:
    with pytest.raises(ValidationError, match="serial"):
        body("x", serial=serial)


@pytest.mark.parametrize("serial", ["R58M12ABCDE", "1234", "emulator-5554", "unknown-7", "0123456780", "Ä1"])
def test_an_unlikely_serial_is_one_all_the_same(serial: str) -> None:
    assert body("x", serial=f" {serial} ").serial == serial


WRONG_FORM: list[dict[str, Any]] = [
    {"sdk_int": "33"}, {"sdk_int": 0}, {"sdk_int": True}, {"sdk_int": 2**40}, {"sdk_int": None}, {"model": ""},
    {"model": None}, {"model": 5}, {"serial": 5}, {"serial": None}, {"abis": "arm64"}, {"abis": ["x" * 41]},
    {"abis": ["x"] * 17}, {"packages": {}}, {"packages": [{}]}, {"packages": [{"package": "a b", "version_code": 1}]},
    {"packages": [{"package": "a", "version_code": -1}]}, {"packages": [{"package": "a", "version_code": "1"}]},
    {"packages": [{"package": "a", "version_code": 1, "signer_sha256": "zz"}]},
    {"packages": [{"package": "a", "version_code": 2**63}]},
    {"packages": [{"package": "a", "version_code": 1}] * 201}, {"fcm_token": "x" * 4097}, {"alias": "x" * 121},
]  # fmt: skip


@pytest.mark.parametrize("more", WRONG_FORM, ids=lambda more: str(more)[:50])
def test_a_body_of_the_wrong_form_is_not_read(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        body("x", **more)


def test_what_a_newer_agent_says_besides_is_ignored() -> None:
    assert body("x", colour="red", packages=[{"package": "a", "version_code": 1, "x": 1}]).packages


# --- the same device again -------------------------------------------------------------------------------
@pytest.fixture
def known(db: None) -> Enrolled:
    """Enrolled with a token that is spent by it, and heard of since."""
    _, text = enrollment_token(max_uses=1)
    packages = [{"package": "com.nexmdm", "version_code": 120}]
    enrolled = enroll(body(text, alias="Till 3", packages=packages))
    first_beat(enrolled.device_id)
    return enrolled


def expect_renewed(old: Enrolled, new: Enrolled, told: list[int]) -> Device:
    assert (new.device_id, told) == (old.device_id, [old.device_id])
    assert not valid(old.token)
    assert tokens.authenticate(new.token).device_id == old.device_id
    return Device.objects.get()


def test_its_old_device_token_vouches_for_it_and_no_use_is_counted(known: Enrolled, told: list[int]) -> None:
    token, text = enrollment_token(max_uses=5, tags=["other"])
    new = enroll(body(text, model="Joy 3", alias="ignored"), known.token)
    device = expect_renewed(known, new, told)
    token.refresh_from_db()
    assert (token.uses, device.model, device.alias, device.tags) == (0, "Joy 3", "Till 3", [])
    assert (device.current_versions, device.heartbeat.received_at, device.heartbeat.battery) == (
        {},
        None,
        None,
    )
    assert AuditEvent.objects.filter(action="device.enroll_again").count() == 1


def test_its_own_spent_token_will_do_beside_its_device_token(known: Enrolled, told: list[int]) -> None:
    _, text = enrollment_token(max_uses=1, uses=1)
    expect_renewed(known, enroll(body(text), known.token), told)


def test_a_token_made_for_it_vouches_for_it_and_is_counted_once(known: Enrolled, told: list[int]) -> None:
    token, text = enrollment_token(max_uses=1, device=Device.objects.get())
    new = enroll(body(text))
    expect_renewed(known, new, told)
    lost_answer = enroll(body(text))
    assert not valid(new.token)
    assert valid(lost_answer.token)
    token.refresh_from_db()
    assert token.uses == 1
    first_beat(known.device_id)
    with pytest.raises(Unauthorized, match="spent"):
        enroll(body(text))
    assert valid(lost_answer.token)


@pytest.fixture
def unheard(db: None) -> tuple[Enrolled, str]:
    """Enrolled with a single-use token, its answer lost."""
    _, text = enrollment_token(max_uses=1)
    return enroll(body(text)), text


def test_after_a_lost_answer_the_same_token_works_again(
    unheard: tuple[Enrolled, str], told: list[int]
) -> None:
    first, text = unheard
    expect_renewed(first, enroll(body(text)), told)
    assert EnrollmentToken.objects.get().uses == 1


def test_a_lost_answer_is_believed_for_an_hour_only(unheard: tuple[Enrolled, str]) -> None:
    Device.objects.update(enrolled_at=timezone.now() - timedelta(hours=1, seconds=1))
    with pytest.raises(SerialTaken):
        enroll(body(unheard[1]))


def test_a_lost_answer_is_believed_until_the_first_heartbeat_only(unheard: tuple[Enrolled, str]) -> None:
    first_beat(unheard[0].device_id)
    with pytest.raises(SerialTaken):
        enroll(body(unheard[1]))


def test_a_lost_answer_is_believed_with_the_same_token_only(unheard: tuple[Enrolled, str]) -> None:
    _, other = enrollment_token()
    with pytest.raises(SerialTaken):
        enroll(body(other))


# --- takeover --------------------------------------------------------------------------------------------
def strangers(known: Enrolled) -> dict[str, tuple[str, str]]:
    other = DeviceFactory()
    revoked = device_token(Device.objects.get(pk=known.device_id), revoked_at=timezone.now())
    return {
        "with a good enrolment token alone": (enrollment_token()[1], ""),
        "with another device's token": (enrollment_token()[1], device_token(other)),
        "with a revoked token of the device": (enrollment_token()[1], revoked),
        "with an enrolment token made for another": (enrollment_token(device=other)[1], ""),
        "with an enrolment token as bearer": (enrollment_token()[1], enrollment_token()[1]),
    }


def test_nobody_takes_a_device_over_by_its_serial(known: Enrolled, told: list[int]) -> None:
    before = Device.objects.filter(pk=known.device_id).values().get()
    for name, (text, bearer) in strangers(known).items():
        with pytest.raises(SerialTaken) as caught:
            enroll(body(text, model="evil"), bearer)
        assert (caught.value.status, caught.value.slug) == (409, "serial_taken"), name
    assert Device.objects.filter(pk=known.device_id).values().get() == before
    assert valid(known.token)
    assert told == []
    rows = AuditEvent.objects.filter(action="device.serial_taken", level="warn")
    assert rows.count() == 5
    assert not EnrollmentToken.objects.exclude(uses=0).exclude(max_uses=1).exists()


@pytest.mark.parametrize("columns", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_enrolment_token_is_401_for_a_taken_serial_too(
    columns: dict[str, Any], known: Enrolled
) -> None:
    _, text = enrollment_token(**columns)
    with pytest.raises(Problem) as caught:
        enroll(body(text))
    assert caught.value.status == (409 if columns == BAD_TOKENS["spent"] else 401)


# --- retired devices -------------------------------------------------------------------------------------
def test_a_retired_device_comes_back_as_itself_with_any_good_token(known: Enrolled) -> None:
    Device.objects.update(status="retired", retired_at=timezone.now(), groups=["shop-1"])
    token, text = enrollment_token(max_uses=1, groups=["shop-2"])
    new = enroll(body(text))
    device = Device.objects.get()
    assert (new.device_id, device.status, device.retired_at) == (known.device_id, "active", None)
    assert device.groups == ["shop-1", "shop-2"]
    assert not valid(known.token)
    token.refresh_from_db()
    assert token.uses == 1


def test_a_spent_token_brings_no_retired_device_back(known: Enrolled) -> None:
    Device.objects.update(status="retired", retired_at=timezone.now())
    with pytest.raises(Unauthorized):
        enroll(body(enrollment_token(max_uses=1, uses=1)[1]))
    assert Device.objects.get().status == "retired"


# --- races -----------------------------------------------------------------------------------------------
def at_once(count: int, bodies: list[EnrollIn], bearer: str = "") -> list[Enrolled | Problem]:
    gate = Barrier(count)

    def attempt(said: EnrollIn) -> Enrolled | Problem:
        gate.wait(30)
        try:
            return enroll(said, bearer)
        except Problem as problem:
            return problem
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(attempt, bodies))


@pytest.mark.django_db(transaction=True)
def test_of_many_devices_at_once_a_limited_token_admits_exactly_as_many_as_it_may() -> None:
    token, text = enrollment_token(max_uses=3)
    answers = at_once(8, [body(text, serial=f"{SERIAL}{number}") for number in range(8)])
    assert sum(isinstance(answer, Enrolled) for answer in answers) == 3
    assert {answer.status for answer in answers if isinstance(answer, Problem)} == {401}
    token.refresh_from_db()
    assert (token.uses, Device.objects.count(), Heartbeat.objects.count()) == (3, 3, 3)


@pytest.mark.django_db(transaction=True)
def test_one_device_that_asks_many_times_at_once_is_one_device_with_one_valid_token() -> None:
    token, text = enrollment_token(max_uses=1)
    answers = at_once(6, [body(text)] * 6)
    enrolled = [answer for answer in answers if isinstance(answer, Enrolled)]
    token.refresh_from_db()
    assert (len(enrolled), token.uses, Device.objects.count()) == (6, 1, 1)
    assert sum(valid(answer.token) for answer in enrolled) == 1
    assert DeviceToken.objects.filter(revoked_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_devices_with_one_serial_and_two_tokens_are_not_both_admitted() -> None:
    answers = at_once(2, [body(enrollment_token()[1], model=name) for name in ("first", "second")])
    assert sorted(type(answer).__name__ for answer in answers) == ["Enrolled", "SerialTaken"]
    assert Device.objects.count() == 1
    assert sorted(EnrollmentToken.objects.values_list("uses", flat=True)) == [0, 1]


# --- the demo --------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_simulated_fleet_gets_a_token_for_each_of_its_names() -> None:
    found = demo_enrollment_tokens({"shop-1 till": {"groups": ("shop-1",), "tags": ("till",)}})
    enrolled = enroll(body(found["shop-1 till"]))
    device = Device.objects.get(pk=enrolled.device_id)
    assert (device.groups, device.tags) == (["shop-1"], ["till"])
