"""Counts that are true over any number of processes: rows, not memory.

What happens a thousand times a second (answers to agents) is gathered in the process and written every two seconds,
so that no request pays for it; a process that is killed loses at most that. What is rarer is added at once.
"""

import json
import logging
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.db import Error, connection, transaction

log = logging.getLogger(__name__)

AGENT_REQUESTS: Final = "agent_requests"  # labels: route, status
PUSHES: Final = "pushes"  # labels: outcome

FLUSH_EVERY_SEC: Final = 2.0
KEPT: Final = timedelta(hours=1)

# In one order everywhere, so that two writers never wait for each other.
_GIVEN: Final = """FROM unnest(%(names)s::text[], %(labels)s::text[], %(counts)s::bigint[]) AS g (name, labels, n)
    ORDER BY g.name, g.labels"""
_TOTAL: Final = f"""INSERT INTO counter (name, labels, total) SELECT g.name, g.labels::jsonb, g.n {_GIVEN}
    ON CONFLICT (name, labels) DO UPDATE SET total = counter.total + EXCLUDED.total"""
_RECENT: Final = f"""INSERT INTO recent_count (name, labels, slot, count)
    SELECT g.name, g.labels::jsonb, date_bin('10 seconds', clock_timestamp(), 'epoch'), g.n {_GIVEN}
    ON CONFLICT (name, slot, labels) DO UPDATE SET count = recent_count.count + EXCLUDED.count"""
_SINCE: Final = """SELECT labels, sum(count)::bigint FROM recent_count
    WHERE name = %s AND slot > clock_timestamp() - %s - interval '10 seconds' GROUP BY labels"""


class Key(NamedTuple):
    """What is counted: a name and its labels as JSON text."""

    name: str
    labels: str


@lru_cache(maxsize=1024)
def key(name: str, **labels: str) -> Key:
    return Key(name, json.dumps(labels, sort_keys=True))


def add(counts: Mapping[Key, int], *, recently: bool = True) -> None:
    """Adds these now, with the caller's transaction where there is one; `recently`: to the last hour's, too."""
    given = {of: count for of, count in counts.items() if count}
    if not given:
        return
    params: dict[str, Any] = {
        "names": [of.name for of in given],
        "labels": [of.labels for of in given],
        "counts": list(given.values()),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TOTAL, params)
        if recently:
            cursor.execute(_RECENT, params)


def recent(name: str, span: timedelta) -> list[tuple[dict[str, str], int]]:
    """Labels and count of the last `span`, to ten seconds; at most an hour."""
    params: list[Any] = [name, span]
    with connection.cursor() as cursor:
        cursor.execute(_SINCE, params)
        return [(_loaded(labels), count) for labels, count in cursor.fetchall()]


def totals(name: str) -> list[tuple[dict[str, str], int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT labels, total FROM counter WHERE name = %s ORDER BY id", [name])
        return [(_loaded(labels), total) for labels, total in cursor.fetchall()]


def _loaded(labels: Any) -> dict[str, str]:
    """jsonb comes as text on a plain cursor."""
    found: dict[str, str] = json.loads(labels) if isinstance(labels, str) else labels
    return found


def forget_old() -> None:
    params: list[Any] = [KEPT]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM recent_count WHERE slot < clock_timestamp() - %s", params)


class Gatherer:
    """This process's counts on their way to the rows."""

    def __init__(self) -> None:
        self.writes_itself = False
        self._counts: Counter[Key] = Counter()
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def count(self, of: Key) -> None:
        with self._lock:
            self._counts[of] += 1
            # A fork leaves no thread behind, so each process finds out for itself that it has none.
            if self.writes_itself and (self._writer is None or not self._writer.is_alive()):
                self._writer = threading.Thread(target=self._write_soon, name="counters", daemon=True)
                self._writer.start()

    def flush(self) -> None:
        """Writes what has come together; keeps it where the database does not take it."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        try:
            add(counts)
        except Error:
            with self._lock:
                self._counts.update(counts)
            raise

    def _write_soon(self) -> None:
        """Waits for more, writes, and ends with nothing left; the next count starts another."""
        pause = threading.Event()
        while True:
            pause.wait(FLUSH_EVERY_SEC)
            try:
                self.flush()
            except Error as error:
                log.warning("Counts are kept until the database takes them: %s", error)
                connection.close()
            with self._lock:
                if not self._counts:
                    self._writer = None
                    break
        connection.close()


gatherer: Final = Gatherer()
