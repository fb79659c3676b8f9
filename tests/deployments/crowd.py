"""Several at once, each with a connection of its own, held back by a row lock until all have arrived."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection, connections, transaction

# Not pg_stat_activity: inside a transaction that shows the same picture for ever.
_WAITING = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
PATIENCE_SEC = 20


def behind_a_lock(sql: str, params: list[Any], *deeds: Callable[[], Any]) -> list[Any]:
    """Starts the deeds while this transaction holds the rows of `sql`, lets them go once all wait for it, and
    returns what they returned."""
    with ThreadPoolExecutor(len(deeds)) as pool:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
            futures = [pool.submit(alone, deed) for deed in deeds]
            wait_for_waiters(len(deeds), futures)
        return [future.result(PATIENCE_SEC) for future in futures]


def wait_for_waiters(count: int, futures: list[Future[Any]]) -> None:
    """Returns once `count` sessions wait for a lock; fails where a deed is over before."""
    end = time.monotonic() + PATIENCE_SEC
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute(_WAITING)
            row = cursor.fetchone()
        if row and row[0] >= count:
            return
        for future in futures:
            if future.done():
                future.result()
                raise AssertionError("It did not wait for the lock.")
        threading.Event().wait(0.01)
    raise AssertionError(f"{count} sessions were to wait for the lock.")


def alone(deed: Callable[[], Any]) -> Any:
    try:
        return deed()
    finally:
        connections.close_all()


def at_once(*deeds: Callable[[], Any]) -> list[Any]:
    """All start together; what they returned."""
    barrier = threading.Barrier(len(deeds))

    def start(deed: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE_SEC)
        return alone(deed)

    with ThreadPoolExecutor(len(deeds)) as pool:
        futures = [pool.submit(start, deed) for deed in deeds]
        return [future.result(PATIENCE_SEC) for future in futures]
