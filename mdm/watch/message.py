"""What an alert says outside: the same facts in a mail and in a webhook's JSON."""

from typing import Any

from django.conf import settings

from mdm.watch import seal_head
from mdm.watch.models import AlertDelivery


def facts(delivery: AlertDelivery) -> dict[str, Any]:
    """`delivery_id` stays the same when a message comes twice; `audit_head` is the newest seal of the audit log."""
    head = seal_head.current()
    return {
        "event": f"alert.{delivery.event}",
        "delivery_id": delivery.pk,
        "alert": delivery.alert.facts(),
        "url": address(delivery),
        "audit_head": str(head) if head else None,
    }


def address(delivery: AlertDelivery) -> str:
    return f"{settings.PUBLIC_URL}/admin/watch/alert/{delivery.alert_id}/change/"
