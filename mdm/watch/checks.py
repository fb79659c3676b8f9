"""What an administrator should know before the product starts, though it starts all the same."""

from typing import Any

from django.conf import settings
from django.core import checks

from mdm.watch import webhook


@checks.register()
def webhook_is_signed(**_: Any) -> list[checks.CheckMessage]:
    if not settings.ALERT_WEBHOOK_URL or settings.ALERT_WEBHOOK_SECRET:
        return []
    return [checks.Warning(webhook.UNSIGNED, id="watch.W001")]
