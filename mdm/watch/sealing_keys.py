"""Keys of the audit log's seals. They live outside the database, else whoever owns it could seal anew."""

import hashlib
import hmac
from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class SealingKey:
    """`id` is stored with each seal: eight digits that tell which key it was, and nothing more."""

    id: str
    secret: bytes

    def mac(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()


def all_keys() -> list[SealingKey]:
    """The first one seals; the others only check what was sealed before the key was changed.

    `AUDIT_KEY`, else one derived from SECRET_KEY, which every host of an installation has.
    """
    texts = settings.AUDIT_KEY or [settings.SECRET_KEY]
    return [_key(text) for text in texts]


def _key(text: str) -> SealingKey:
    secret = hmac.new(text.encode(), b"nexmdm audit seals", hashlib.sha256).digest()
    return SealingKey(hmac.new(secret, b"id", hashlib.sha256).hexdigest()[:8], secret)
