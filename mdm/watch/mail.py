"""Alerts by e-mail: one message over one connection, done after twenty seconds whatever the far end does."""

import smtplib
import socket
import threading
from contextlib import suppress
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend

from mdm.watch import message
from mdm.watch.kinds import KINDS
from mdm.watch.models import AlertDelivery

TOTAL_SEC: Final = 20.0


class _HangsUp:
    """Mixed into smtplib's classes: their time-out is counted anew for every read."""

    sock: socket.socket | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._guard = threading.Timer(TOTAL_SEC, self._hang_up)
        self._guard.daemon = True
        self._guard.start()
        super().__init__(*args, **kwargs)

    def _hang_up(self) -> None:
        with suppress(OSError):
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._guard.cancel()
        super().close()  # type: ignore[misc]  # smtplib's


class _Smtp(_HangsUp, smtplib.SMTP):
    pass


class _SmtpOverTls(_HangsUp, smtplib.SMTP_SSL):
    pass


class BoundedSmtp(EmailBackend):
    """Django's own, over connections that end."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return _SmtpOverTls if self.use_ssl else _Smtp


def send(delivery: AlertDelivery) -> None:
    """Raises what smtplib raises where it is not taken."""
    facts = message.facts(delivery)
    kind = KINDS[delivery.alert.kind]
    word = "Alert" if delivery.event == "opened" else "Resolved"
    lines = [
        delivery.alert.message,
        "",
        f"Look: {facts['url']}",
        f"What to do: docs/runbook.md, {kind.slug}",
        "",
        f"The audit log was sealed up to {facts['audit_head'] or 'nothing yet'} when this was sent.",
    ]
    host = settings.ALERT_FROM.rpartition("@")[2]
    headers = {
        "Message-ID": f"<alert-{delivery.pk}@{host}>",
        "Auto-Submitted": "auto-generated",
    }
    EmailMessage(
        f"[NexMDM] {word}: {kind.title}",
        "\n".join(lines),
        settings.ALERT_FROM,
        settings.ALERT_EMAILS,
        headers=headers,
    ).send()
