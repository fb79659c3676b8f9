"""A running instance in a folder of its own, driven the way an operator or a drill does: by processes."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

import psutil

CHECKOUT = Path(__file__).parents[2]
MARK = "NEXMDM_TEST_MARK"


class Instance:
    """`manage.py up` with a free port. Every process it starts carries a mark in its environment."""

    def __init__(self, data_dir: Path, *only: str, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.mark = uuid.uuid4().hex
        self.environment = environ(data_dir, self.port) | {MARK: self.mark} | environment
        self.output = ""
        self.only = ["--only", *only] if only else []

    def start(self) -> Self:
        """Start and return once it says that it is ready."""
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", *self.only],
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        while "Stop   Ctrl-C" not in self.output:
            line = self.process.stdout.readline()
            assert line, self.output
            self.output += line
        return self

    def stop(self) -> None:
        """SIGTERM, as a service manager does it; fails where that takes more than ten seconds."""
        self.process.terminate()
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        for left in self.processes():
            left.kill()

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those of this instance whose command line has all the words."""
        return [process for process in marked(self.mark) if all(word in line(process) for word in words)]

    def status(self, path: str) -> int:
        """The HTTP status of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status

    def is_ready(self) -> bool:
        try:
            return self.status("/readyz") == 200
        except (OSError, http.client.HTTPException):
            return False

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return manage(*arguments, environment=self.environment | environment)


def manage(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One `manage.py` command in that environment."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environ(data_dir: Path, port: int) -> dict[str, str]:
    """Ours without what this test run has set for itself."""
    own = {
        "DJANGO_SETTINGS_MODULE": "mdm.settings",
        "ENV_FILE": "",
        "DATA_DIR": str(data_dir),
        "PORT": str(port),
    }
    quiet = {
        "DEMO": "0",
        "FLEET": "0",
        "CORE_AGENTS": "0",
        "WORKERS": "2",
        "PUBLIC_URL": "",
        "DATABASE_URL": "",
        "SECRET_KEY": "",
    }
    return {**os.environ, **own, **quiet}


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(holds: Callable[[], object], what: str, within: float = 30.0) -> None:
    """Wait for something that other processes do; fail with `what` if it does not come."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
