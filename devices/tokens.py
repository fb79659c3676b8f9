"""A device's credential: issued, authenticated in one query, rotated, revoked."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from devices.models import Device, DeviceStatus, DeviceToken
from mdm import audit, prepared, secret_tokens
from mdm.people import Actor
from mdm.problems import Forbidden, NotFound, Unauthorized

# So long a retired device may report what was sent to it before.
RETIRED_MAY_REPORT: Final = timedelta(hours=24)

_BY_DIGEST: Final = """SELECT d.id, t.id, t.first_used_at IS NULL, d.status, d.retired_at, d.fcm_token,
        d.agent_version, d.sdk_int, d.max_schema, d.tz
    FROM device_token t JOIN device d ON d.id = t.device_id
    WHERE t.digest = %s AND t.revoked_at IS NULL"""


@dataclass(frozen=True, slots=True)
class DeviceCredential:
    """Who speaks, and what is cheap to know of it on the way. `retired_at` is set where it is retired."""

    device_id: int
    token_id: int
    unused: bool
    status: str
    retired_at: datetime | None
    fcm_token: str
    agent_version: str
    sdk_int: int
    max_schema: int | None
    tz: str

    @property
    def active(self) -> bool:
        return self.status == DeviceStatus.ACTIVE

    def require_active(self) -> None:
        """Forbidden for a retired device."""
        if not self.active:
            raise Forbidden("The device is retired.", slug="device_retired")


def authenticate(text: str) -> DeviceCredential:
    """The device whose token this is; its first use voids the older ones. Unauthorized."""
    found = _read(text)
    if found is None:
        raise Unauthorized("The device token is missing, unknown or void.")
    if found.retired_at is not None and found.retired_at < timezone.now() - RETIRED_MAY_REPORT:
        raise Unauthorized("The device was retired more than a day ago.")
    if found.unused:
        _first_use(found)
    return found


def owner(text: str) -> int | None:
    """Id of the device whose valid token this is. No use of it."""
    found = _read(text)
    return found.device_id if found else None


def _read(text: str) -> DeviceCredential | None:
    if not text:
        return None
    with prepared.cursor() as cursor:
        cursor.execute(_BY_DIGEST, [secret_tokens.digest(text)])
        row = cursor.fetchone()
    return DeviceCredential(*row) if row else None


def _first_use(credential: DeviceCredential) -> None:
    """Only now the device is known to hold the new token, so only now the older ones go."""
    with transaction.atomic():
        DeviceToken.objects.filter(pk=credential.token_id, first_used_at=None).update(first_used_at=Now())
        older = DeviceToken.objects.filter(device_id=credential.device_id, pk__lt=credential.token_id)
        older.filter(revoked_at=None).update(revoked_at=Now())


def issue(device_id: int) -> str:
    """A further valid token for this device, as text."""
    text, digest = secret_tokens.make("nxd")
    DeviceToken.objects.create(device_id=device_id, digest=digest)
    return text


def rotate(credential: DeviceCredential) -> str:
    """A new token; the one that asked stays valid until the new one is used."""
    credential.require_active()
    with transaction.atomic():
        # A lost answer leaves a token that nobody holds; without this they would pile up.
        never_used = Q(first_used_at=None) & ~Q(pk=credential.token_id)
        DeviceToken.objects.filter(never_used, device_id=credential.device_id).delete()
        text = issue(credential.device_id)
        actor = Actor.device(credential.device_id)
        audit.record(actor, "device.rotate_token", Device(pk=credential.device_id), "Asked for a new token")
    return text


def void_all(device_id: int) -> None:
    """None of the tokens issued so far is valid any more."""
    DeviceToken.objects.filter(device_id=device_id, revoked_at=None).update(revoked_at=Now())


def revoke(actor: Actor, device_id: int) -> None:
    """Locks a device out until it is enrolled again, of which it needs an enrolment token made for it."""
    actor.require("devices.change_device")
    with transaction.atomic():
        if not Device.objects.filter(pk=device_id).exists():
            raise NotFound("There is no such device.")
        void_all(device_id)
        audit.record(actor, "device.revoke_tokens", Device(pk=device_id), "Revoked the device's tokens")
