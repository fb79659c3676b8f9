"""The audit log: what sealing costs beside reports, and how fast and small verify_audit is at 1,000,000 events."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import Any

import psutil
from django.db import connection

from benchmarks import callbacks, crowd, history, load, processes
from benchmarks.ground import running
from benchmarks.table import Row, show
from deployments.models import Deployment, DeploymentEvent
from mdm.watch import sealing
from tests.deployments import scene
from tests.mdm.instance import Instance

ROUNDS = 8  # every second one with the sealer
EVERY_SEC = 3.0


def _seal_for_ever(stop: Any, cpu: Any) -> None:
    """As the ticker's thread does, in a process whose CPU is its own; with that of its database connection."""
    connection.close()
    connection.ensure_connection()
    backend = psutil.Process(connection.connection.info.backend_pid)
    while not stop.wait(EVERY_SEC):
        sealing.seal()
    sealing.seal()
    own = psutil.Process(os.getpid())
    cpu.value = sum(sum(process.cpu_times()[:2]) for process in (own, backend))
    connection.close()


def beside_reports(instance: Instance) -> Row:
    ids = crowd.fleet(ROUNDS * callbacks.DEVICES)
    deployment = crowd.started(scene.version(), ids, failure_pct=100)
    crowd.send(deployment, len(ids))
    crowd.settle_down()
    chance = callbacks.dice()
    conversations = [callbacks.conversation(device_id, chance) for device_id in ids]
    rates: dict[bool, list[float]] = {False: [], True: []}
    sealer_cpu = others_cpu = 0.0
    for number in range(ROUNDS):
        part = conversations[number * callbacks.DEVICES : (number + 1) * callbacks.DEVICES]
        lanes = [[callbacks.request(deployment, *each) for each in lane] for lane in callbacks.dealt(part)]
        sealing_too = number % 2 == 1
        before = processes.cpu(instance)
        found, spent = _loaded(instance, lanes, sealing_too=sealing_too)
        rates[sealing_too].append(found.per_second)
        if sealing_too:
            parts = processes.spent(before, processes.cpu(instance))
            sealer_cpu, others_cpu = sealer_cpu + spent, others_cpu + parts["web"] + parts["database"]
    without, beside = (sorted(rates[which])[len(rates[which]) // 2] for which in (False, True))
    note = f"CPU of the sealer and its connection {sealer_cpu * 100 / others_cpu:.1f} % of web and database"
    return Row(
        "reports/s while sealing", f"{beside:.0f}/s", "≥ 0.95×", f"{without:.0f}/s", beside / without, note
    )


def _loaded(instance: Instance, lanes: Any, *, sealing_too: bool) -> tuple[load.Load, float]:
    if not sealing_too:
        return load.through(instance.port, lanes), 0.0
    context = multiprocessing.get_context("fork")
    connection.close()
    stop, cpu = context.Event(), context.Value("d", 0.0)
    sealer = context.Process(target=_seal_for_ever, args=(stop, cpu))
    sealer.start()
    found = load.through(instance.port, lanes)
    stop.set()
    sealer.join()
    return found, cpu.value


def million() -> list[Row]:
    ids = crowd.fleet(history.TASKS)
    deployment = crowd.started(scene.version(), ids, concurrency=200, rate=1000)
    history.write(deployment, finish=True)
    crowd.settle_down()
    begun, sealed = time.perf_counter(), 0
    while more := sealing.seal():
        sealed += more
    took = time.perf_counter() - begun
    count = DeploymentEvent.objects.filter(deployment=deployment).count()
    return [
        Row(
            "sealing a log that was never sealed",
            f"{sealed / took:,.0f} events/s",
            "",
            note=f"{sealed:,} events",
        ),
        _verified(deployment, count),
    ]


def _verified(deployment: Deployment, count: int) -> Row:
    command = [sys.executable, "manage.py", "verify_audit", str(deployment.pk)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
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
    measured = f"{count / took:,.0f} events/s, {peak / 1e6:.0f} MB"
    target = "≥ 50,000 events/s, ≤ 200 MB"
    return Row(
        "verify_audit over 1,000,000 events, start included", measured, target, note=" ".join(said.split())
    )


def sealing_beside() -> None:
    with running("web") as instance:
        show("Sealing", [beside_reports(instance)])


def verifying() -> None:
    with running("web"):
        show("Verifying", million())
