"""What an instance costs that has nothing to do: memory by part, and CPU."""

import time

from benchmarks import processes
from benchmarks.ground import running
from benchmarks.table import Row, show

SETTLE_SEC = 10
WATCHED_SEC = 30


def main() -> None:
    with running() as instance:
        time.sleep(SETTLE_SEC)
        before = processes.cpu(instance)
        time.sleep(WATCHED_SEC)
        spent = processes.spent(before, processes.cpu(instance))
        memory = processes.memory(instance)
        up = memory.pop("supervisor")
        by_part = ", ".join(f"{part} {size:.0f}" for part, size in sorted(memory.items()))
        work = ", ".join(f"{part} {seconds / WATCHED_SEC:.1%}" for part, seconds in sorted(spent.items()))
        rows = [
            Row(
                "idle memory (PSS)",
                f"{sum(memory.values()):.0f} MB, and `up` itself {up:.0f} MB",
                "≤ 450 MB",
                note=by_part,
            ),
            Row("idle CPU", f"{sum(spent.values()) / WATCHED_SEC:.1%} of a core", "≤ 5 %", note=work),
        ]
        show("Idle", rows)
