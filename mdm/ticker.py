"""Once a second something looks for work that is due. Of any number of tickers one does it."""

import logging
import threading
import time
from collections.abc import Callable

from django.db import Error, connection

from mdm import worker_beat

log = logging.getLogger(__name__)

LEADER_LOCK = 0x6E65786D  # a key of its own among the database's advisory locks
EVERY_SEC = 1.0


class Beside(threading.Thread):
    """Calls `act` every few seconds in a thread and on a connection of its own: however long it takes, the tick
    goes on."""

    def __init__(self, act: Callable[[], object], every_sec: float, stopping: threading.Event) -> None:
        super().__init__(name="beside", daemon=True)
        self.act, self.every_sec, self.stopping = act, every_sec, stopping

    def run(self) -> None:
        while not self.stopping.wait(self.every_sec):
            try:
                self.act()
            except Exception:
                log.exception("What is done beside the tick failed")
                connection.close()
        connection.close()


class Ticker:
    """Calls `tick` each second while it holds the leader's lock; the lock ends with its connection.

    So another ticker takes over as soon as this one is gone, and none can lead twice.
    """

    def __init__(self, tick: Callable[[], object]) -> None:
        self.tick = tick
        self.stopping = threading.Event()
        self._leads_on: object = None
        self._next_beat = 0.0

    def run(self) -> None:
        """Until `stopping` is set. Survives the database's restarts."""
        while not self.stopping.is_set():
            begun = time.monotonic()
            self.once()
            self.stopping.wait(max(0.0, begun + EVERY_SEC - time.monotonic()))

    def once(self) -> None:
        """Beat when it is time, lead if possible, then tick."""
        try:
            self._beat()
            if self.leads():
                self.tick()
        except Error as error:
            log.warning("The tick failed, trying again: %s", error)
            connection.close()
        except Exception:
            log.exception("The tick failed")

    def leads(self) -> bool:
        """Whether this connection holds the lock, taking it where it is free."""
        connection.ensure_connection()
        if self._leads_on is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [LEADER_LOCK])
                self._leads_on = connection.connection if cursor.fetchone() == (True,) else None
        return self._leads_on is not None

    def _beat(self) -> None:
        if time.monotonic() >= self._next_beat:
            worker_beat.beat("ticker")
            self._next_beat = time.monotonic() + worker_beat.EVERY_SEC
