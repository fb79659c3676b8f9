"""The immutable files by their SHA-256, and the URLs under which one device may fetch one for a while."""

import hmac
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.utils import timezone
from django.utils.crypto import salted_hmac

LIFETIME: Final = timedelta(minutes=30)
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def store(path: Path, sha256: str) -> str:
    """Puts the file at `path` into the store unless it is there, and returns its name in the storage."""
    name = f"{sha256}.apk"
    if not default_storage.exists(name):
        with path.open("rb") as file:
            default_storage.save(name, File(file))
    return name


def plain_path(sha256: str) -> str:
    """The path without a signature, which serves nobody."""
    return f"/v1/artifacts/{sha256}.apk"


def signed_url(sha256: str, device_id: int, now: datetime | None = None) -> str:
    """An absolute URL, bound to that device, that serves the file for 30 minutes from `now`."""
    expires = int(((now or timezone.now()) + LIFETIME).timestamp())
    signature = _signature(sha256, device_id, expires)
    query = urlencode({"device": device_id, "expires": expires, "sig": signature})
    return f"{settings.PUBLIC_URL.rstrip('/')}{plain_path(sha256)}?{query}"


def read_signed(sha256: str, device: str, expires: str, signature: str) -> tuple[int, int] | None:
    """The device id and the end of a URL's time in Unix seconds, None if any part was changed."""
    if not (_SHA256.fullmatch(sha256) and _NUMBER.fullmatch(device) and _NUMBER.fullmatch(expires)):
        return None
    expected = _signature(sha256, int(device), int(expires))
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        return None
    return int(device), int(expires)


def _signature(sha256: str, device_id: int, expires: int) -> str:
    message = f"{sha256} {device_id} {expires}"
    return salted_hmac("apks.artifacts", message, algorithm="sha256").hexdigest()
