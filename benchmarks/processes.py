"""CPU and memory of an instance by part, from the kernel's own accounts."""

from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import psutil

from tests.mdm.instance import Instance

Cpu = dict[int, tuple[str, float]]  # pid -> part, seconds of user and system time so far


def tree(instance: Instance) -> list[psutil.Process]:
    root = psutil.Process(instance.process.pid)
    return [root, *root.children(recursive=True)]


def cpu(instance: Instance) -> Cpu:
    found: Cpu = {}
    for process in tree(instance):
        with suppress(psutil.NoSuchProcess):
            found[process.pid] = part_of(process), sum(process.cpu_times()[:2])
    return found


def spent(before: Cpu, after: Cpu) -> dict[str, float]:
    """Seconds by part between the two; what ended in between is left out."""
    seconds: dict[str, float] = defaultdict(float)
    for pid, (part, so_far) in after.items():
        seconds[part] += so_far - before.get(pid, (part, 0.0))[1]
    return seconds


def part_of(process: psutil.Process) -> str:
    """web, worker, ticker, database, or the supervisor that started them."""
    for each in (process, *process.parents()):
        words = each.cmdline()
        if any(word.startswith("postgres") or word.endswith("/postgres") for word in words[:1]):
            return "database"
        for kind, command in (
            ("web", "web"),
            ("worker", "qcluster"),
            ("ticker", "ticker"),
            ("supervisor", "up"),
        ):
            if command in words:
                return kind
    return "supervisor"


def memory(instance: Instance) -> dict[str, float]:
    """MB of each part: proportional set size, so that what is shared counts once."""
    found: dict[str, float] = {}
    for process in tree(instance):
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # a worker of the database that has just ended
        pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        kind = part_of(process)
        found[kind] = found.get(kind, 0.0) + pss / 1024
    return found
