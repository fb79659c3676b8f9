"""The queue of django-q2 in PostgreSQL, without its polling and its races for a row."""

from datetime import timedelta

from django.db import connection
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf

CHANNEL = "nexmdm_queue"
WAIT_SEC = 1.0  # how long a lost notification or a redelivery may wait
CLAIM = """
    UPDATE django_q_ormq SET lock = %s WHERE id IN (
        SELECT id FROM django_q_ormq WHERE key = %s AND lock <= %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    ) RETURNING id, payload
"""

Packed = tuple[int | str, str]


class NotifyingBroker(ORM):  # type: ignore[misc]
    """Takes tasks with SKIP LOCKED and waits for new ones by LISTEN instead of asking five times a second."""

    _listening_on: object = None

    def enqueue(self, task: str) -> int:
        """Queue a packed task; inside a transaction it and its notification come with the commit."""
        task_id: int = super().enqueue(task)
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
        return task_id

    def dequeue(self) -> list[Packed]:
        """Up to `bulk` tasks, oldest first; empty after a second without any."""
        self.get_connection()  # closes a connection that has died
        self._listen()
        return self._claim() or self._await_notification()

    def _listen(self) -> None:
        connection.ensure_connection()
        if self._listening_on is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self._listening_on = connection.connection

    def _claim(self) -> list[Packed]:
        now = timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(CLAIM, [now + timedelta(seconds=Conf.RETRY), self.list_key, now, Conf.BULK])
            return sorted(cursor.fetchall())

    def _await_notification(self) -> list[Packed]:
        for _ in connection.connection.notifies(timeout=WAIT_SEC, stop_after=1):
            return self._claim()
        return []
