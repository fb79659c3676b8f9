"""What is done again and again beside the engine: by a thread of the ticker, and by the sweep each minute.

Every round may be lost, doubled or run by several at once: one at a time works, under a lock.
"""

import logging
from collections.abc import Callable
from typing import Final

from django.db import connection, transaction
from django.utils import timezone

from mdm import counters
from mdm.watch import alerts, causes, courier, reading, sealing

log = logging.getLogger(__name__)

WATCH_LOCK: Final = 0x6E65786F


def keep() -> None:
    """One round of everything. What fails is logged and hinders nothing else."""
    for step in (watch, sealing.seal, courier.send_what_is_due, counters.forget_old):
        _try(step)


def watch() -> None:
    """Raises and resolves. Nothing where another process is at it."""
    with transaction.atomic():
        if mine(WATCH_LOCK):
            now = timezone.now()
            reading.take(now)
            alerts.settle(causes.standing(now), now)


def mine(lock: int) -> bool:
    """Takes the lock for this transaction where it is free."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
        return bool(cursor.fetchone() == (True,))


def _try(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception:
        log.exception("%s failed", step.__name__)
        connection.close_if_unusable_or_obsolete()
