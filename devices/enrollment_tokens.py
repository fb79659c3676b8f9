"""Enrolment tokens: issued and revoked by people, counted race-safely by the devices that use them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Final

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from pydantic import ConfigDict, Field

from devices.models import Device, EnrollmentToken
from mdm import audit, secret_tokens
from mdm.people import SYSTEM, Actor
from mdm.problems import Invalid, NotFound, Unauthorized
from mdm.wire_types import AnyId, Int32, Moment, Strict, as_id, examples, listed

ISSUE: Final = "devices.issue_enrollmenttoken"
DEMO_LIFETIME: Final = timedelta(days=1)
Labels = Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=100)]


class EnrollmentTokenIn(Strict):
    """What a token is good for. Left out: for ever, for any number of devices, without tags and groups.

    One made for a known device is good for one use.
    """

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"max_uses": 20, "groups": ["shop-1"], "expires_at": "2030-01-31T18:00:00+01:00"}
        )
    )

    expires_at: Moment | None = None
    max_uses: Annotated[Int32, Field(ge=1)] | None = None
    tags: Labels | None = None
    groups: Labels | None = None
    device_id: AnyId | None = Field(default=None, description="Made for this one known device.")


def issue(actor: Actor, wanted: EnrollmentTokenIn) -> tuple[EnrollmentToken, str]:
    """The token's row and its text, which is shown only now. Invalid, Forbidden."""
    actor.require(ISSUE)
    if wanted.expires_at is not None and wanted.expires_at <= timezone.now():
        raise Invalid(
            "The token would have expired already.", errors={"expires_at": "Must be in the future."}
        )
    device = _device(wanted.device_id)
    text, digest = secret_tokens.make("nxe")
    with transaction.atomic():
        token = EnrollmentToken.objects.create(
            digest=digest,
            created_by=actor.user,
            expires_at=wanted.expires_at,
            max_uses=wanted.max_uses or (1 if device else None),
            tags=listed(wanted.tags),
            groups=listed(wanted.groups),
            device=device,
        )
        audit.record(actor, "enrollment_token.issue", token, "Issued an enrolment token", _meta(token))
    return token, text


def revoke(actor: Actor, token_id: int) -> None:
    """Nobody can enrol with it any more; who did stays enrolled. NotFound, Forbidden."""
    actor.require(ISSUE)
    with transaction.atomic():
        token = EnrollmentToken.objects.filter(pk=token_id).first()
        if token is None:
            raise NotFound("There is no such enrolment token.")
        if EnrollmentToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=Now()):
            audit.record(actor, "enrollment_token.revoke", token, "Revoked an enrolment token")


def find(text: str, now: datetime) -> EnrollmentToken:
    """The token, spent or not. Unauthorized where it is unknown, revoked or expired."""
    in_time = Q(expires_at=None) | Q(expires_at__gt=now)
    found = EnrollmentToken.objects.filter(
        in_time, digest=secret_tokens.digest(text), revoked_at=None
    ).first()
    if found is None:
        raise Unauthorized("The enrolment token is unknown, revoked or expired.", slug="bad_enrollment_token")
    return found


def count_use(token: EnrollmentToken) -> None:
    """Takes one use in this transaction; others wait for its end. Unauthorized where none is left."""
    left = Q(max_uses=None) | Q(uses__lt=F("max_uses"))
    if not EnrollmentToken.objects.filter(left, pk=token.pk).update(uses=F("uses") + 1):
        raise Unauthorized("The enrolment token is spent.", slug="bad_enrollment_token")


def for_demo(groups: Iterable[str], tags: Iterable[str]) -> str:
    """A token that nobody asked for but the demo of this instance; it is good for a day."""
    expires_at = timezone.now() + DEMO_LIFETIME
    _, text = issue(SYSTEM, EnrollmentTokenIn(expires_at=expires_at, groups=list(groups), tags=list(tags)))
    return text


def _device(given: int | str | None) -> Device | None:
    if given is None:
        return None
    number = as_id(given)
    device = Device.objects.filter(pk=number).first() if number else None
    if device is None:
        raise Invalid("There is no such device.", errors={"device_id": "There is no device with this id."})
    return device


def _meta(token: EnrollmentToken) -> dict[str, object]:
    return {
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        "max_uses": token.max_uses,
        "tags": token.tags,
        "groups": token.groups,
        "device_id": token.device_id,
    }
