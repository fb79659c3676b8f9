"""Alerts by webhook: one signed POST, bounded in time, to an address that was looked up once.

No redirect is followed and no proxy asked, so the request goes to that address and nowhere else. The answer's body
is not read: its status says all.
"""

import hashlib
import hmac
import json
import time
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from urllib3 import HTTPConnectionPool, Timeout

from mdm.deadline_http import HttpPool, HttpsPool
from mdm.watch import message, public_address
from mdm.watch.models import AlertDelivery

TOTAL_SEC: Final = 10.0
UNSIGNED: Final = (
    "Alerts go out by webhook unsigned: whoever learns its address can forge them. Set ALERT_WEBHOOK_SECRET, unless the"
    " far end (a chat service, say) has no use for a signature."
)


class NotTakenError(Exception):
    """The far end answered, but not with a 2xx."""


def send(delivery: AlertDelivery) -> None:
    """Raises what keeps it from being taken."""
    body = json.dumps(message.facts(delivery), cls=DjangoJSONEncoder, ensure_ascii=False).encode()
    post(settings.ALERT_WEBHOOK_URL, body, headers(body, delivery.pk))


def headers(body: bytes, delivery_id: int) -> dict[str, str]:
    """With a secret the signature is over the time and the body, so that neither can be exchanged."""
    now = str(int(time.time()))
    found = {
        "Content-Type": "application/json",
        "User-Agent": "NexMDM",
        "X-NexMDM-Delivery": str(delivery_id),
        "X-NexMDM-Timestamp": now,
    }
    if settings.ALERT_WEBHOOK_SECRET:
        found["X-NexMDM-Signature"] = f"sha256={signature(settings.ALERT_WEBHOOK_SECRET, now, body)}"
    return found


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 in hexadecimal over `timestamp.body`."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(url: str, body: bytes, given: dict[str, str]) -> None:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    address = public_address.look_up(host, port, settings.ALERT_WEBHOOK_NETWORKS)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with _pool(parts, address, port) as pool:
        answer = pool.urlopen(
            "POST",
            path,
            body=body,
            headers={"Host": parts.netloc.rpartition("@")[2], **given},
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=Timeout(connect=TOTAL_SEC / 2, total=TOTAL_SEC),
        )
        status = answer.status
        answer.close()
    if not 200 <= status < 300:
        moved = " (redirects are not followed)" if 300 <= status < 400 else ""
        raise NotTakenError(f"answered {status}{moved}")


def _pool(parts: SplitResult, address: str, port: int) -> HTTPConnectionPool:
    """Connects to the address, and asks for a certificate of the host that was named."""
    if parts.scheme == "https":
        return HttpsPool(
            address, port, maxsize=1, server_hostname=parts.hostname, assert_hostname=parts.hostname
        )
    return HttpPool(address, port, maxsize=1)
