"""Enrolment: an enrolment token is exchanged for a device token; nobody takes a device over by its serial."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone
from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from devices import enrollment_tokens, tokens
from devices.inventory import FromAgent, Packages, SdkInt, current_versions
from devices.models import Device, DeviceStatus, EnrollmentToken, Heartbeat
from devices.signals import device_re_enrolled, serial_taken
from mdm import audit
from mdm.people import Actor
from mdm.problems import Conflict, Unauthorized
from mdm.wire_types import examples

# The answer to an enrolment got lost: the same token may ask again so long, until the first heartbeat.
LOST_ANSWER: Final = timedelta(hours=1)

# What firmware reports where it has no serial; thousands of devices would be one.
PLACEHOLDERS: Final = frozenset(
    {"android", "default", "emulator", "generic", "n/a", "nil", "none", "null", "undefined", "unknown"}
)
COUNTING: Final = ("0123456789abcdef" * 2, "1234567890" * 2, "1234567890abcdef")
COUNTING_FROM: Final = 8
_BLANK_HEARTBEAT: Final = dict.fromkeys(
    field.attname for field in Heartbeat._meta.concrete_fields if not field.primary_key
)


def _own_serial(value: str) -> str:
    serial = value.strip()
    if not serial or not serial.isprintable():
        raise PydanticCustomError("serial", "Must be the device's printable serial number.")
    if _is_placeholder(serial.lower()):
        raise PydanticCustomError("placeholder_serial", "This serial is a placeholder, not the device's own.")
    return serial


def _is_placeholder(serial: str) -> bool:
    """A word for nothing, one character throughout (`00000000`), or a count (`0123456789abcdef`)."""
    counts = len(serial) >= COUNTING_FROM and any(serial in row for row in COUNTING)
    return serial in PLACEHOLDERS or len(set(serial)) == 1 or counts


class EnrollIn(FromAgent):
    """What a device says of itself when it is enrolled; `packages` left out = unknown."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "enrollment_token": "nxe_…",
                "serial": "R58M12ABCDE",
                "model": "Orbic Joy 2",
                "sdk_int": 33,
                "abis": ["arm64-v8a"],
                "agent_version": "1.0.120",
                "packages": [{"package": "com.nexmdm", "version_code": 120, "version_name": "1.0.120"}],
            }
        )
    )

    enrollment_token: Annotated[str, Field(min_length=1, max_length=200)]
    serial: Annotated[str, Field(max_length=100), AfterValidator(_own_serial)]
    model: Annotated[str, Field(min_length=1, max_length=100)]
    manufacturer: Annotated[str, Field(max_length=100)] | None = None
    sdk_int: SdkInt
    abis: Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=16)] | None = None
    agent_version: Annotated[str, Field(max_length=60)] | None = None
    alias: Annotated[str, Field(max_length=120)] | None = None
    fcm_token: Annotated[str, Field(max_length=4096)] | None = None
    packages: Packages | None = None


@dataclass(frozen=True, slots=True)
class Enrolled:
    """`token` is shown only now."""

    device_id: int
    token: str


class SerialTaken(Conflict):
    """Another device is enrolled under this serial."""

    slug = "serial_taken"


def enroll(body: EnrollIn, bearer: str = "") -> Enrolled:
    """Admits a device, or the same device again. `bearer`: its old device token, if it still has one.

    Unauthorized for a bad or spent token; SerialTaken, and a warning in the audit log, for another's serial.
    """
    try:
        return _decided(body, bearer)
    except Unauthorized as refusal:
        refusal.given = body.enrollment_token
        raise
    except SerialTaken as refusal:
        meta = {"serial": body.serial, "model": body.model}
        audit.record(
            Actor("unknown device"), "device.serial_taken", "device", refusal.detail, meta, level="warn"
        )
        device_id = Device.objects.values_list("pk", flat=True).get(serial=body.serial)
        serial_taken.send(sender=Device, device_id=device_id, serial=body.serial)
        raise


def _decided(body: EnrollIn, bearer: str) -> Enrolled:
    try:
        return _admitted(body, bearer)
    except IntegrityError:  # enrolled by another request between our look and our insert: known by now
        return _admitted(body, bearer)


def _admitted(body: EnrollIn, bearer: str) -> Enrolled:
    now = timezone.now()
    with transaction.atomic():
        token = enrollment_tokens.find(body.enrollment_token, now)
        device = Device.objects.select_for_update(no_key=True).filter(serial=body.serial).first()
        if device is None:
            return _new(body, token, now)
        if device.status == DeviceStatus.RETIRED:
            return _back_from_retirement(device, body, token, now)
        return _again(device, body, token, bearer, now)


def _new(body: EnrollIn, token: EnrollmentToken, now: datetime) -> Enrolled:
    if token.device_id is not None:
        raise Unauthorized("The enrolment token was made for another device.", slug="bad_enrollment_token")
    device = Device.objects.create(
        serial=body.serial,
        alias=body.alias or "",
        tags=token.tags,
        groups=token.groups,
        **_traits(body, token, now),
    )
    # After the insert: who asked twice at once fails there and is known on the second look, not spent here.
    enrollment_tokens.count_use(token)
    Heartbeat.objects.create(device=device)
    audit.record(
        Actor.device(device.pk), "device.enroll", device, f"Enrolled {device.serial}", {"token": token.pk}
    )
    return Enrolled(device.pk, tokens.issue(device.pk))


def _again(device: Device, body: EnrollIn, token: EnrollmentToken, bearer: str, now: datetime) -> Enrolled:
    """The same device once more; only a token made for it is counted, and that once."""
    lost_answer = _answer_was_lost(device, token, now)
    made_for_it = token.device_id == device.pk
    if tokens.owner(bearer) != device.pk and not lost_answer:
        if not made_for_it:
            raise SerialTaken(f"A device with the serial {device.serial} is enrolled already.")
        enrollment_tokens.count_use(token)
    return _renew(device, body, token, now, "Enrolled again")


def _answer_was_lost(device: Device, token: EnrollmentToken, now: datetime) -> bool:
    return (
        device.enrolled_with_id == token.pk
        and device.enrolled_at > now - LOST_ANSWER
        and not Heartbeat.objects.filter(device=device, received_at__isnull=False).exists()
    )


def _back_from_retirement(device: Device, body: EnrollIn, token: EnrollmentToken, now: datetime) -> Enrolled:
    if token.device_id not in (None, device.pk):
        raise Unauthorized("The enrolment token was made for another device.", slug="bad_enrollment_token")
    enrollment_tokens.count_use(token)
    Device.objects.filter(pk=device.pk).update(
        status=DeviceStatus.ACTIVE,
        retired_at=None,
        tags=_union(device.tags, token.tags),
        groups=_union(device.groups, token.groups),
    )
    return _renew(device, body, token, now, "Enrolled again after it was retired")


def _renew(device: Device, body: EnrollIn, token: EnrollmentToken, now: datetime, message: str) -> Enrolled:
    """It stays the same device: alias, tags and groups are a person's, all else is as after a reset."""
    Device.objects.filter(pk=device.pk).update(
        alias=device.alias or body.alias or "", max_schema=None, tz="", **_traits(body, token, now)
    )
    # Made anew where it is gone: readings of retired devices are not kept for ever.
    Heartbeat.objects.update_or_create(device=device, defaults=_BLANK_HEARTBEAT)
    device_re_enrolled.send(sender=Device, device_id=device.pk)
    tokens.void_all(device.pk)
    audit.record(Actor.device(device.pk), "device.enroll_again", device, message, {"token": token.pk})
    return Enrolled(device.pk, tokens.issue(device.pk))


def _traits(body: EnrollIn, token: EnrollmentToken, now: datetime) -> dict[str, Any]:
    return {
        "model": body.model,
        "manufacturer": body.manufacturer or "",
        "sdk_int": body.sdk_int,
        "abis": body.abis or [],
        "agent_version": body.agent_version or "",
        "fcm_token": body.fcm_token or "",
        "current_versions": current_versions(body.packages),
        "enrolled_at": now,
        "enrolled_with": token,
    }


def _union(ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*ours, *theirs]))


def demo_enrollment_tokens(wanted: Mapping[str, Mapping[str, Iterable[str]]]) -> dict[str, str]:
    """A fresh token for each name, with its `groups` and `tags`, for the simulated fleet of a demo or a trial."""
    return {name: enrollment_tokens.for_demo(**labels) for name, labels in wanted.items()}
