"""Real processes of a test: each forked, with a connection of its own, held at gates, killed at the end.

A fork starts in milliseconds and its deed may be any function of the test, so patches in it harm nobody else.
"""

import multiprocessing
import os
import random
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NoReturn, Self

from django.db import connection, connections

from tests.fakes import FcmAnswer, LoopbackFcm
from tests.mdm.instance import eventually

PATIENCE_SEC = 60.0
IDS = ("deployment_id", "device_id", "attempt")
_FORK = multiprocessing.get_context("fork")
_SESSIONS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = %s"
# The parent's own connections: a child that let them go would say goodbye to the server in the parent's name.
_inherited: list[object] = []


class Gate:
    """A place in a child at which it tells that it has come and waits until it may go on."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def __call__(self) -> None:
        self.pipe.send(("here", None))
        self.pipe.recv()


class Raised(Exception):
    """What a child died of."""


class Child:
    """One process that does `deed(gate)`; at the end of its `with` it is killed."""

    def __init__(self, deed: Callable[[Gate], Any]) -> None:
        self._pipe, theirs = _FORK.Pipe()
        self.process = _FORK.Process(target=_live, args=(deed, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        self._pipe.close()

    def kill(self) -> None:
        """SIGKILL; returns once the server has noticed and rolled back."""
        self.process.kill()
        self.process.join()
        eventually(lambda: not self._session(), "the session outlived its process", PATIENCE_SEC)

    def died(self) -> None:
        """Waits until the process has killed itself."""
        self.process.join(PATIENCE_SEC)
        assert self.process.exitcode == -signal.SIGKILL, "it was to kill itself on the way"
        self.kill()

    def comes(self) -> None:
        """Waits until it has come to its gate."""
        kind, value = self._said()
        assert kind == "here", f"it did not come to its gate: {kind} {value}"

    def opens(self, word: object = None) -> None:
        """Lets it through the gate."""
        self._pipe.send(word)

    def result(self) -> Any:
        """What the deed returned; Raised where it raised."""
        kind, value = self._said()
        if kind == "raised":
            raise Raised(value)
        assert kind == "returned", f"it waits at a gate: {kind}"
        return value

    def waits_or_is_done(self) -> bool:
        """Returns once it waits for a lock (True) or has done its deed without (False)."""
        eventually(lambda: self._done() or any(self._session()), "it neither waits nor ends", PATIENCE_SEC)
        return not self._done()

    def _said(self) -> tuple[str, Any]:
        assert self._pipe.poll(PATIENCE_SEC), "it says nothing"
        answer: tuple[str, Any] = self._pipe.recv()
        return answer

    def _done(self) -> bool:
        return self._pipe.poll(0) or not self.process.is_alive()

    def _session(self) -> list[bool]:
        with connection.cursor() as cursor:
            cursor.execute(_SESSIONS, [f"child-{self.process.pid}"])
            return [row[0] for row in cursor.fetchall()]


def _live(deed: Callable[[Gate], Any], pipe: Connection) -> None:
    random.seed()
    os.environ["PGAPPNAME"] = f"child-{os.getpid()}"
    for alias in connections:
        _inherited.append(connections[alias])
        del connections[alias]
    try:
        answer: tuple[str, Any] = ("returned", deed(Gate(pipe)))
    except Exception as error:  # noqa: BLE001 - the parent decides
        traceback.print_exc()
        answer = ("raised", f"{type(error).__name__}: {error}")
    connections.close_all()
    pipe.send(answer)


def patch(module: object, name: str, stand_in: object) -> None:
    """For the rest of this process; so only in a child."""
    setattr(module, name, stand_in)


def as_ever() -> None:
    """In a child: with every lock."""


def waits_at(gate: Gate, module: object, name: str) -> None:
    """In a child: this function does its work, then the process waits at its gate."""
    original = getattr(module, name)

    def and_waits(*given: Any, **named: Any) -> Any:
        found = original(*given, **named)
        gate()
        return found

    patch(module, name, and_waits)


def dies_after(module: object, name: str, calls: int = 1) -> None:
    """This function still does its work so many times, then the process is gone."""
    original, left = getattr(module, name), [calls]

    def last_deeds(*given: Any, **named: Any) -> Any:
        found = original(*given, **named)
        left[0] -= 1
        return found if left[0] else die()

    patch(module, name, last_deeds)


def die(*_: object, **__: object) -> NoReturn:
    """As `kill -9` does it: nothing is cleaned up, nobody is told."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


@contextmanager
def far_end() -> Iterator["FarEnd"]:
    """FCM's far end in a process of its own: a process that forks must have one thread."""
    with Child(_serve_fcm) as child:
        yield FarEnd(child)


class FarEnd:
    def __init__(self, child: Child) -> None:
        self._child = child
        self.url = str(child.result())

    def answers(self, answer: FcmAnswer) -> None:
        """To everything from now on."""
        self._child.opens(answer)
        self._child.result()

    def pushed(self) -> list[tuple[int, int, int]]:
        """(deployment, device, attempt) of every command that has arrived, in order."""
        self._child.opens()
        found: list[tuple[int, int, int]] = self._child.result()
        return found


def _serve_fcm(gate: Gate) -> None:
    with LoopbackFcm() as fcm:
        gate.pipe.send(("returned", fcm.url))
        while True:
            fcm.otherwise = gate.pipe.recv() or fcm.otherwise
            commands = [request.message["data"] for request in fcm.received if request.message]
            deploy = [data for data in commands if data["action"] == "deploy_apk"]
            gate.pipe.send(("returned", [tuple(int(data[name]) for name in IDS) for data in deploy]))
