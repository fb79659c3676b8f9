"""Personal API tokens for scripts: shown once, kept as a digest, with the permissions of their user."""

from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from mdm import audit, secret_tokens
from mdm.models import ApiToken
from mdm.people import SYSTEM, Actor
from mdm.problems import Forbidden, Invalid, NotFound

LIFETIME: Final = timedelta(days=365)
LAST_USE_EXACT_TO: Final = timedelta(minutes=1)


def issue(
    actor: Actor,
    user: User,
    *,
    name: str,
    read_only: bool = False,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """The token's row and its text, which is shown only now; it expires after a year unless told otherwise.

    People issue tokens for themselves; Forbidden otherwise, Invalid for a time in the past.
    """
    if actor is not SYSTEM and (actor.user != user or actor.read_only):
        raise Forbidden("API tokens are personal: sign in as that person.")
    expires_at = expires_at or timezone.now() + LIFETIME
    if expires_at <= timezone.now():
        raise Invalid(
            "The token would have expired already.", errors={"expires_at": "Must be in the future."}
        )
    text, digest = secret_tokens.make("nxa")
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=user, name=name[:100], digest=digest, read_only=read_only, expires_at=expires_at
        )
        meta = {"name": token.name, "read_only": read_only, "expires_at": expires_at.isoformat()}
        audit.record(actor, "api_token.issue", token, f"Issued an API token for {user.get_username()}", meta)
    return token, text


def authenticate(text: str) -> ApiToken | None:
    """The valid token with its active user, or None. Notes the use, at most once a minute."""
    now = timezone.now()
    found = (
        ApiToken.objects.select_related("user")
        .filter(Q(expires_at=None) | Q(expires_at__gt=now))
        .filter(digest=secret_tokens.digest(text), revoked_at=None, user__is_active=True)
        .first()
    )
    if found and (found.last_used_at is None or found.last_used_at < now - LAST_USE_EXACT_TO):
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USE_EXACT_TO)
        ApiToken.objects.filter(stale, pk=found.pk).update(last_used_at=Now())
    return found


def revoke(actor: Actor, token_id: int) -> None:
    """Void from now on. One's own, or anybody's with the permission to change tokens. Forbidden, NotFound."""
    with transaction.atomic():
        token = ApiToken.objects.filter(pk=token_id).first()
        if token is None:
            raise NotFound("There is no such API token.")
        if actor.user is None or actor.user != token.user:
            actor.require("mdm.change_apitoken")
        if ApiToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=Now()):
            audit.record(actor, "api_token.revoke", token, f"Revoked the API token {token.name}")
