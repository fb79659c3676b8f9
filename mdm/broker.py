"""The queue of django-q2 in PostgreSQL, without its polling, its races for a row and its hoarding."""

import logging
import multiprocessing
import time
from datetime import timedelta
from typing import Any

from django.db import Error, connection
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.humanhash import uuid
from django_q.signals import post_execute_in_worker
from django_q.signing import SignedPackage

from mdm import worker_beat

log = logging.getLogger(__name__)

CHANNEL = "nexmdm_queue"
WAIT_SEC = 1.0  # how long a lost notification or a redelivery may wait
BEAT = "beat"  # the id of a task that is in no table: it only passes through
CLAIM = """
    UPDATE django_q_ormq SET lock = %s WHERE id IN (
        SELECT id FROM django_q_ormq WHERE key = %s AND lock <= %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING id, payload
"""

# Taken before a task is claimed, given back when the worker has done it: a cluster never holds a task that
# the idle worker of another cluster could start at once.
WORKER_FREE = multiprocessing.get_context("fork").Semaphore(1)

Packed = tuple[int | str, str]


class NotifyingBroker(ORM):  # type: ignore[misc]
    """Claims one task with SKIP LOCKED when its worker is free and waits for new ones by LISTEN.

    Every two seconds it sends a beat through its own cluster, recorded when the result has come back.
    """

    def __init__(self, list_key: str = Conf.CLUSTER_NAME) -> None:
        super().__init__(list_key)
        self._listening_on: object = None
        self._holds_worker = False
        self._next_beat = 0.0

    def enqueue(self, task: str) -> int:
        """Queue a packed task; inside a transaction it and its notification come with the commit."""
        task_id: int = super().enqueue(task)
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
        return task_id

    def dequeue(self) -> list[Packed]:
        """At most one task; empty after about a second without any, or while the worker is busy."""
        self._holds_worker = self._holds_worker or WORKER_FREE.acquire(timeout=WAIT_SEC)
        if not self._holds_worker:
            return []
        found = self._beat_due() or self._next_task()
        self._holds_worker = not found
        return found

    def acknowledge(self, task_id: int | str) -> None:
        """A result is in: forget the task, or record the beat."""
        if task_id == BEAT:
            self._record_beat()
        else:
            super().acknowledge(task_id)

    def fail(self, task_id: int | str) -> None:
        """Drop a task that cannot be read; no worker will see it."""
        super().fail(task_id)
        WORKER_FREE.release()

    def _record_beat(self) -> None:
        """A database that is away for a moment is no reason to end the cluster."""
        try:
            self.get_connection()
            worker_beat.beat("worker")
        except Error as error:
            log.warning("The beat could not be recorded: %s", error)
            connection.close()

    def _beat_due(self) -> list[Packed]:
        if time.monotonic() < self._next_beat:
            return []
        self._next_beat = time.monotonic() + worker_beat.EVERY_SEC
        return [(BEAT, packed_beat())]

    def _next_task(self) -> list[Packed]:
        try:
            self.get_connection()  # closes a connection that has died
            self._listen()
            return self._claim() or self._await_notification()
        except Error as error:
            log.warning("The queue cannot be read, trying again: %s", error)
            connection.close()
            time.sleep(WAIT_SEC)
            return []

    def _listen(self) -> None:
        connection.ensure_connection()
        if self._listening_on is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self._listening_on = connection.connection

    def _claim(self) -> list[Packed]:
        now = timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(CLAIM, [now + timedelta(seconds=Conf.RETRY), self.list_key, now])
            return list(cursor.fetchall())

    def _await_notification(self) -> list[Packed]:
        patience = max(0.0, min(WAIT_SEC, self._next_beat - time.monotonic()))
        woken = list(connection.connection.notifies(timeout=patience, stop_after=1))
        return self._claim() if woken else []


def packed_beat() -> str:
    """A task as django-q2 packs it, for the queue inside the cluster."""
    name, task_id = uuid()
    task = {
        "id": task_id,
        "name": name,
        "func": "mdm.worker_beat.pulse",
        "args": (),
        "kwargs": {},
        "started": timezone.now(),
        "save": False,
        "ack_failure": True,
    }
    packed: str = SignedPackage.dumps(task)
    return packed


def give_worker_back(**_: Any) -> None:
    """The worker has done its task, well or not."""
    WORKER_FREE.release()


post_execute_in_worker.connect(give_worker_back, dispatch_uid="mdm.broker")
