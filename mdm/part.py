"""One process group of an instance: web, a worker, the ticker or the fleet."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from mdm.lifeline import tied
from mdm.worker_beat import NAME_VARIABLE

LOG_BYTES = 20_000_000
QUICK_DEATH_SEC = 5.0
LONGEST_PAUSE_SEC = 5.0


@dataclass
class Part:
    """Started, restarted when it ends, and ended as a whole. Dies with the process that started it.

    `log`: the file its output goes to; None = where ours goes.
    """

    name: str
    arguments: list[str]
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    last_sign: float = 0.0
    _quick_deaths: int = field(default=0, repr=False)
    _not_before: float = field(default=0.0, repr=False)

    def start(self) -> None:
        """Start it now."""
        self.started = self.last_sign = time.monotonic()
        output = self.log.open("ab") if self.log else None
        self.process = subprocess.Popen(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, NAME_VARIABLE: self.name},
            preexec_fn=tied(signal.SIGKILL),  # noqa: PLW1509 - the supervisor has one thread
        )
        if output:
            output.close()

    def tend(self) -> bool:
        """Start it again if it has ended, after a pause that grows while it ends at once. True if started."""
        if self.process is not None and self.process.poll() is not None:
            self._bury()
        if self.process is not None or time.monotonic() < self._not_before:
            return False
        self.start()
        return True

    def restart(self) -> None:
        """End it by force; `tend` starts it again."""
        if self.process is not None:
            self._signal_group(signal.SIGKILL)
            self.process.wait()

    def ask_to_stop(self) -> None:
        """A polite request to the process that leads the group, which ends the others."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def make_sure_it_stopped(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic seconds), then use force. Nothing of the group is left."""
        if self.process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        self._signal_group(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def tame_log(self) -> None:
        """Keep one older file; those who write go on at the start of the emptied one."""
        if self.log and self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def _bury(self) -> None:
        """Clear what is left of the group and decide when to start again."""
        self._signal_group(signal.SIGKILL)
        self.process = None
        quick = time.monotonic() - self.started < QUICK_DEATH_SEC
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        self._not_before = time.monotonic() + pause_sec(self._quick_deaths)

    def _signal_group(self, signum: int) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signum)


def pause_sec(quick_deaths: int) -> float:
    """How long to wait before the next start after so many deaths in a row that came at once."""
    return min(0.25 * 2 ** min(quick_deaths, 16), LONGEST_PAUSE_SEC) if quick_deaths > 1 else 0.0
