"""Alerts on their way out: a row for each message and channel, sent in order, tried again until it is taken.

The row is claimed and the claim committed before anything is sent; who dies in between leaves it to the next after
LEASE. So a message may come twice (it carries the same id), and none is lost.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection
from django.utils import timezone

from mdm.watch import mail, webhook
from mdm.watch.models import AlertDelivery

log = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=60)
FIRST_PAUSE_SEC: Final = 15
LONGEST_PAUSE_SEC: Final = 3600
GIVE_UP_AFTER: Final = timedelta(days=3)
ROUND: Final = 20

_CLAIM: Final = """UPDATE alert_delivery SET tries = tries + 1, next_try_at = clock_timestamp() + %s WHERE id = (
    SELECT d.id FROM alert_delivery d
    WHERE d.channel = %s AND d.state = 'pending' AND d.next_try_at <= clock_timestamp()
        AND NOT EXISTS (SELECT 1 FROM alert_delivery e WHERE e.alert_id = d.alert_id AND e.channel = d.channel
            AND e.state = 'pending' AND e.id < d.id)
    ORDER BY d.id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id"""

_SEND: Final[Mapping[str, Callable[[AlertDelivery], None]]] = {"email": mail.send, "webhook": webhook.send}


def channels() -> list[str]:
    """Those that are set up."""
    wanted = {"email": settings.ALERT_EMAILS, "webhook": settings.ALERT_WEBHOOK_URL}
    return [name for name, where in wanted.items() if where]


def destinations() -> list[str]:
    """Where alerts go, a sentence for each channel; of the webhook's address only the host, the rest may be secret."""
    found = []
    if settings.ALERT_EMAILS:
        found.append(f"By e-mail to {', '.join(settings.ALERT_EMAILS)}.")
    if settings.ALERT_WEBHOOK_URL:
        signed = "signed" if settings.ALERT_WEBHOOK_SECRET else "unsigned"
        found.append(f"By webhook to {urlsplit(settings.ALERT_WEBHOOK_URL).hostname}, {signed}.")
    return found or ["Nowhere: neither ALERT_EMAILS nor ALERT_WEBHOOK_URL is set."]


def enqueue(alert_id: int, event: str) -> None:
    """In the transaction that raises or resolves. `event`: opened or resolved."""
    AlertDelivery.objects.bulk_create(
        AlertDelivery(alert_id=alert_id, event=event, channel=channel) for channel in channels()
    )


def due() -> list[str]:
    """Channels that have something to send now."""
    found = AlertDelivery.objects.filter(state="pending", next_try_at__lte=timezone.now())
    return list(found.order_by().values_list("channel", flat=True).distinct())


def deliver(channel: str) -> int:
    """Sends what is due there; how many were taken. Ends with the first that is not: the others would fail alike."""
    taken = 0
    for _ in range(ROUND):
        delivery = _claim(channel)
        if delivery is None or not _sent(delivery):
            break
        taken += 1
    return taken


def _claim(channel: str) -> AlertDelivery | None:
    params: list[Any] = [LEASE, channel]
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, params)
        row = cursor.fetchone()
    related = AlertDelivery.objects.select_related("alert__acknowledged_by")
    return related.get(pk=row[0]) if row else None


def _sent(delivery: AlertDelivery) -> bool:
    row = AlertDelivery.objects.filter(pk=delivery.pk)
    try:
        _SEND[delivery.channel](delivery)
    except Exception as error:  # noqa: BLE001 - a far end that is down, lies or is set up wrongly; it is tried again
        row.update(**_after_failure(delivery, error, timezone.now()))
        log.warning("Alert %s by %s not sent: %s", delivery.alert_id, delivery.channel, error)
        return False
    row.update(state="sent", sent_at=timezone.now(), last_error="")
    return True


def _after_failure(delivery: AlertDelivery, error: Exception, now: datetime) -> dict[str, Any]:
    said = f"{type(error).__name__}: {error}"[:500]
    if now - delivery.created_at > GIVE_UP_AFTER:
        return {"state": "given_up", "last_error": said}
    return {"last_error": said, "next_try_at": now + timedelta(seconds=pause_sec(delivery.tries))}


def pause_sec(tries: int) -> int:
    """Before the next try: 15 s, doubled each time, at most an hour."""
    return min(FIRST_PAUSE_SEC << min(tries - 1, 16), LONGEST_PAUSE_SEC)
