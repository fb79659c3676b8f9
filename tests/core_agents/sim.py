"""The simulation of the Android agent's core, as the process that it is."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil

from mdm.agent_build import sim_command

Line = dict[str, Any]


class Sim:
    """A folder of devices and the process that runs them; it may be killed and started as often as a test likes."""

    def __init__(self, server: str, state: Path, token: str, *arguments: str) -> None:
        program = sim_command()
        assert program, "make agent"
        self.state = state
        self.lines: list[Line] = []
        self.listener: Callable[[Line], None] | None = None
        self._lock = threading.Lock()
        self._command = [*program, "--server", server, "--state", str(state), *arguments]
        self._environment = {**os.environ, "ENROLLMENT_TOKEN": token}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """SIGKILL: what is on the disk is all that the next process gets."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._reader.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for text in output:
                with self._lock:
                    self.lines.append(json.loads(text))
                if self.listener:
                    self.listener(self.lines[-1])

    def java(self, *options: str) -> None:
        """For the next start, in place of what the product gives the JVM where they say the same thing."""
        java, *rest = self._command
        given = tuple(option[:4] for option in options)
        self._command = [java, *options, *(word for word in rest if not word.startswith(given))]

    def memory_bytes(self) -> int:
        """What the process costs: proportional set size."""
        size: int = psutil.Process(self._process.pid).memory_full_info().pss
        return size

    def told(self, state: str) -> list[Line]:
        with self._lock:
            return [line for line in self.lines if line["state"] == state]

    def device_ids(self) -> list[int]:
        """Of all devices, in their order, once each has an account."""
        deadline = time.monotonic() + 120
        wanted = int(self._command[self._command.index("--devices") + 1])
        while True:
            accounts = [json.loads(path.read_text()) for path in sorted(self.state.glob("*/account.json"))]
            if len(accounts) == wanted:
                return [int(account["deviceId"]) for account in accounts]
            assert time.monotonic() < deadline, accounts
            time.sleep(0.05)

    def left_sessions(self) -> list[Path]:
        """Files of sessions that nobody needs any more."""
        return [*self.state.glob("*/*.session"), *self.state.glob("*/*.committed")]
