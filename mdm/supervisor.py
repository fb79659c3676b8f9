"""Keeps the parts of an instance alive: what ends is started again, what falls silent is ended first."""

import http.client
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection

from mdm import worker_beat
from mdm.embedded_postgres import EmbeddedPostgres
from mdm.part import Part

Say = Callable[[str], None]

LOOK_EVERY_SEC = 0.1
LISTEN_EVERY_SEC = 2.0
WEB_SILENT_SEC = 30.0
STOP_WITHIN_SEC = 5.0


@dataclass
class Supervisor:
    """Owns the parts and, if given, the database. One thread: whoever forks must outlive its children."""

    say: Say
    database: EmbeddedPostgres | None = None
    parts: list[Part] = field(default_factory=list)
    _next_listen: float = 0.0

    def add(self, part: Part) -> None:
        """Start a part and keep it."""
        self.parts.append(part)
        part.start()

    def look(self) -> None:
        """One round: restart what has ended, now and then what is silent; then rest a moment."""
        self._tend_database()
        for part in self.parts:
            if part.tend():
                self.say(f"{part.name} had stopped and was started again.")
        if time.monotonic() >= self._next_listen:
            self._listen()
            self._next_listen = time.monotonic() + LISTEN_EVERY_SEC
        time.sleep(LOOK_EVERY_SEC)

    def stop(self) -> None:
        """All parts at once, by force after five seconds, then the database."""
        for part in self.parts:
            part.ask_to_stop()
        deadline = time.monotonic() + STOP_WITHIN_SEC
        for part in self.parts:
            part.make_sure_it_stopped(deadline)
        self._forget_beats()
        if self.database is not None:
            self.database.stop()

    def _forget_beats(self) -> None:
        """What was stopped is not silent. Whoever cannot say so now is forgotten at the next start."""
        with suppress(Error):
            worker_beat.forget([part.name for part in self.parts])

    def _tend_database(self) -> None:
        try:
            if self.database is not None and self.database.tend():
                self.say("The database had stopped and was started again.")
        except ImproperlyConfigured as error:
            self.say(f"{error} Trying again.")

    def _listen(self) -> None:
        self._hear_beats()
        for part in self.parts:
            part.tame_log()
            if part.name.startswith("web"):
                self._judge(part, web_answers(), WEB_SILENT_SEC)

    def _hear_beats(self) -> None:
        """Silence counts only while the database could have told us otherwise."""
        try:
            ages = worker_beat.ages("worker") | worker_beat.ages("ticker")
        except Error:
            connection.close()
            ages = {part.name: 0.0 for part in self.parts}
        for part in self.parts:
            if part.name.startswith(("worker", "ticker")):
                self._judge(
                    part, ages.get(part.name, 1e9) < worker_beat.SILENT_SEC / 2, worker_beat.SILENT_SEC
                )

    def _judge(self, part: Part, heard: bool, patience: float) -> None:
        now = time.monotonic()
        if heard:
            part.last_sign = now
        elif now - part.last_sign > patience:
            self.say(f"{part.name} has been silent for {patience:.0f} s and is ended.")
            part.restart()


def web_answers(path: str = "/healthz") -> bool:
    """Whether the web server says 200 within a second."""
    answer = http.client.HTTPConnection(local_host(), settings.PORT, timeout=1.0)
    try:
        answer.request("GET", path)
        return answer.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        answer.close()


def local_host() -> str:
    """Where the web server of this host is reached from this host."""
    host: str = settings.HOST
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
