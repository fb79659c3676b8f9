"""The audit log: what sealing and cutting cost beside reports, how fast and small verify_audit and a cut are."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import psutil
from django.conf import settings
from django.db import connection

from benchmarks import callbacks, crowd, history, load, processes
from benchmarks.ground import running
from benchmarks.table import Row, percentile, show
from deployments.models import DeploymentEvent
from mdm.watch import cutting, sealing
from tests.deployments import scene
from tests.mdm.instance import Instance
from tests.watch import old_log

ROUNDS = 8  # every second one with company
SEALED_EVERY_SEC = 3.0
CUT_EVERY_SEC = 0.05
OLD_DAYS, OLDER_DAYS = 200, 400


@dataclass
class Beside:
    """Reports with (True) and without company: per second of each round, seconds of each; CPU seconds of the company
    and of web and database meanwhile."""

    rates: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    took: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    own_cpu: float = 0.0
    others_cpu: float = 0.0

    def row(self, what: str, target: str, note: str = "") -> Row:
        without, beside = (sorted(self.rates[which])[len(self.rates[which]) // 2] for which in (False, True))
        late, usual = (percentile(self.took[which], 95) * 1000 for which in (True, False))
        words = (
            f"CPU of it and its connection {self.own_cpu * 100 / self.others_cpu:.1f} % of web and database;"
            f" a report's p95 {late:.0f} ms, without {usual:.0f} ms{note}"
        )
        return Row(what, f"{beside:.0f}/s", target, f"{without:.0f}/s", beside / without, words)


def _again_and_again(act: Callable[[], object], every_sec: float, stop: Any, cpu: Any) -> None:
    """As a thread of the ticker or a worker does, in a process whose CPU is its own; with that of its database
    connection."""
    connection.close()
    connection.ensure_connection()
    backend = psutil.Process(connection.connection.info.backend_pid)
    while not stop.wait(every_sec):
        act()
    act()
    own = psutil.Process(os.getpid())
    cpu.value = sum(sum(process.cpu_times()[:2]) for process in (own, backend))
    connection.close()


def beside_reports(instance: Instance, act: Callable[[], object], every_sec: float) -> Beside:
    ids = crowd.fleet(ROUNDS * callbacks.DEVICES)[: ROUNDS * callbacks.DEVICES]
    deployment = crowd.started(scene.version(), ids, failure_pct=100)
    crowd.send(deployment, len(ids))
    crowd.settle_down()
    chance = callbacks.dice()
    conversations = [callbacks.conversation(device_id, chance) for device_id in ids]
    found = Beside()
    for number in range(ROUNDS):
        part = conversations[number * callbacks.DEVICES : (number + 1) * callbacks.DEVICES]
        lanes = [[callbacks.request(deployment, *each) for each in lane] for lane in callbacks.dealt(part)]
        accompanied = number % 2 == 1
        before = processes.cpu(instance)
        loaded, spent = _loaded(instance, lanes, act if accompanied else None, every_sec)
        found.rates[accompanied].append(loaded.per_second)
        found.took[accompanied] += loaded.took
        if accompanied:
            parts = processes.spent(before, processes.cpu(instance))
            found.own_cpu += spent
            found.others_cpu += parts["web"] + parts["database"]
    return found


def _loaded(
    instance: Instance, lanes: Any, act: Callable[[], object] | None, every_sec: float
) -> tuple[load.Load, float]:
    if act is None:
        return load.through(instance.port, lanes), 0.0
    context = multiprocessing.get_context("fork")
    connection.close()
    stop, cpu = context.Event(), context.Value("d", 0.0)
    company = context.Process(target=_again_and_again, args=(act, every_sec, stop, cpu))
    company.start()
    found = load.through(instance.port, lanes)
    stop.set()
    company.join()
    return found, cpu.value


def sealed() -> tuple[int, float]:
    """Everything; how many events, in how many seconds."""
    begun, count = time.perf_counter(), 0
    while more := sealing.seal():
        count += more
    return count, time.perf_counter() - begun


def million() -> list[Row]:
    ids = crowd.fleet(history.TASKS)
    deployment = crowd.started(scene.version(), ids, concurrency=200, rate=1000)
    history.write(deployment, finish=True)
    crowd.settle_down()
    count, took = sealed()
    events = DeploymentEvent.objects.filter(deployment=deployment).count()
    return [
        Row(
            "sealing a log that was never sealed",
            f"{count / took:,.0f} events/s",
            "",
            note=f"{count:,} events",
        ),
        _command(
            ["verify_audit", str(deployment.pk)],
            events,
            "verify_audit over 1,000,000 events, start included",
            "≥ 50,000 events/s, ≤ 200 MB",
        ),
    ]


def _command(arguments: list[str], count: int, what: str, target: str, **environment: str) -> Row:
    """How many events per second a command of ours gets through, and its memory (resident) at most."""
    command = [sys.executable, "manage.py", *arguments]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    peak, own = 0, psutil.Process(process.pid)
    pause = threading.Event()
    while process.poll() is None:
        try:
            peak = max(peak, own.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        pause.wait(0.05)
    took = time.perf_counter() - begun
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return Row(
        what, f"{count / took:,.0f} events/s, {peak / 1e6:.0f} MB", target, note=" ".join(said.split())
    )


def ended_long_ago() -> int:
    """Eleven deployments of 10,000 tasks, all sealed; two ended longer ago than the others. How many events."""
    ids = crowd.fleet(history.TASKS // 10)
    for number, days in enumerate([OLDER_DAYS] * 2 + [OLD_DAYS] * 9):
        deployment = crowd.started(scene.version(121 + number), ids)
        history.write(deployment, finish=True)
        crowd.run(
            "UPDATE deployment SET status = 'complete', finished_at = now() WHERE id = %s", [deployment.pk]
        )
        old_log.long_ago(deployment, timedelta(days=days))
    crowd.settle_down()
    count, _ = sealed()
    crowd.settle_down()
    return count


def cut(instance: Instance) -> list[Row]:
    total = ended_long_ago()
    settings.KEEP_EVENTS_DAYS = OLDER_DAYS - 1
    count = cutting.count()
    words = f"cutting {count:,} of {total:,} sealed events, start included"
    rows = [_command(["retention"], count, words, "", KEEP_EVENTS_DAYS=str(settings.KEEP_EVENTS_DAYS))]
    assert cutting.count() == 0
    settings.KEEP_EVENTS_DAYS = OLD_DAYS - 1
    before = cutting.count()
    found = beside_reports(instance, partial(cutting.run, 1.0), CUT_EVERY_SEC)
    left = cutting.count()
    assert left, "it was done before the last round"
    note = f"; {before - left:,} events cut in {ROUNDS // 2} rounds"
    return [*rows, found.row("reports/s while cutting", "", note)]


def sealing_beside() -> None:
    with running("web") as instance:
        found = beside_reports(instance, sealing.seal, SEALED_EVERY_SEC)
        show("Sealing", [found.row("reports/s while sealing", "≥ 0.95×")])


def verifying() -> None:
    with running("web"):
        show("Verifying", million())


def cutting_old() -> None:
    with running("web") as instance:
        show("Cutting", cut(instance))
