"""What happened to each simulated device, as it saw it itself. Tests and the status line read it."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from agent_api.simulator.command import Command, Id
from agent_api.simulator.wire import Reply

KEPT_PER_DEVICE = 200


@dataclass(frozen=True, slots=True)
class Received:
    """A command as handed out; `repeat`: the device had this attempt before. `at` in Unix seconds."""

    at: float
    device_id: Id
    deployment_id: Id
    attempt: int
    issued_at: str
    package: str | None
    version_code: int | None
    repeat: bool


@dataclass(slots=True)
class Execution:
    """One attempt as carried out. `finished` is taken just before the final report leaves the device.

    So [started, finished] lies inside the time for which the server counts the device as in flight.
    `outcome`: succeeded, failed, skipped, `settled` (told that it is over), `silent`; None while it runs.
    """

    deployment_id: Id
    attempt: int
    started: float
    finished: float | None = None
    outcome: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """A status report and the server's answer (`status` 0: none came)."""

    at: float
    deployment_id: Id
    body: dict[str, Any]
    status: int
    answer: dict[str, Any]


def _kept() -> deque[Any]:
    return deque(maxlen=KEPT_PER_DEVICE)


@dataclass(slots=True)
class DeviceRecord:
    """One device; the three lists keep the last 200 entries."""

    serial: str
    device_id: Id | None = None
    counts: Counter[str] = field(default_factory=Counter)
    received: deque[Received] = field(default_factory=_kept)
    executions: deque[Execution] = field(default_factory=_kept)
    reports: deque[Reported] = field(default_factory=_kept)


class FleetRecord:
    """All devices by serial, the sums over them, and a bell that rings at each change."""

    def __init__(self, serials: Iterable[str]) -> None:
        self.devices = {serial: DeviceRecord(serial) for serial in serials}
        self.totals: Counter[str] = Counter()
        self.problems: deque[str] = deque(maxlen=50)
        self.changed = asyncio.Event()

    def count(self, serial: str, what: str) -> None:
        self.devices[serial].counts[what] += 1
        self.totals[what] += 1
        self.changed.set()

    def problem(self, serial: str, text: str) -> None:
        self.problems.append(f"{serial}: {text}")
        self.count(serial, "problems")

    def enrolled(self, serial: str, device_id: Id, *, known: bool) -> None:
        self.devices[serial].device_id = device_id
        self.count(serial, "known" if known else "enrolled")

    def received(self, serial: str, command: Command, *, repeat: bool) -> None:
        apk = command.apk
        self.devices[serial].received.append(
            Received(
                time.time(),
                command.device_id,
                command.deployment_id,
                command.attempt,
                command.issued_at,
                apk.package if apk else None,
                apk.version_code if apk else None,
                repeat,
            )
        )
        self.count(serial, "commands_repeated" if repeat else "commands")

    def started(self, serial: str, command: Command) -> Execution:
        execution = Execution(command.deployment_id, command.attempt, time.time())
        self.devices[serial].executions.append(execution)
        self.count(serial, "started")
        return execution

    def finished(self, serial: str, execution: Execution, outcome: str, code: str | None) -> None:
        if execution.outcome is None:
            execution.finished, execution.outcome, execution.code = time.time(), outcome, code
            self.count(serial, outcome)

    def reported(self, serial: str, deployment_id: Id, body: dict[str, Any], reply: Reply) -> None:
        entry = Reported(time.time(), deployment_id, body, reply.status, reply.body)
        self.devices[serial].reports.append(entry)
        self.count(serial, "reports")
        if reply.status == 409:
            self.count(serial, "reports_refused")

    @property
    def running(self) -> int:
        """Attempts under way now."""
        return self.totals["started"] - sum(self.totals[outcome] for outcome in OUTCOMES)

    def touched(self) -> set[str]:
        """The serials of all devices that were ever handed a command."""
        return {serial for serial, device in self.devices.items() if device.counts["commands"]}

    def executions(self, keep: Callable[[Execution], bool] = lambda _: True) -> list[Execution]:
        return [e for device in self.devices.values() for e in device.executions if keep(e)]

    def arrivals(self) -> list[float]:
        """When each command first reached its device, in Unix seconds, sorted."""
        return sorted(r.at for d in self.devices.values() for r in d.received if not r.repeat)


OUTCOMES = ("succeeded", "failed", "skipped", "settled", "silent")


def peak_concurrency(executions: Iterable[Execution]) -> int:
    """The most attempts that ran at one moment. Never more than the server had in flight then."""
    edges: list[tuple[float, int]] = []
    for execution in executions:
        edges.append((execution.started, 1))
        if execution.finished is not None:
            edges.append((execution.finished, -1))
    running = peak = 0
    for _, step in sorted(edges):
        running += step
        peak = max(peak, running)
    return peak


def peak_per_window(times: Iterable[float], seconds: float = 60.0) -> int:
    """The most of `times` within any half-open interval of this length."""
    ordered = sorted(times)
    first = peak = 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - seconds:
            first += 1
        peak = max(peak, last - first + 1)
    return peak
