"""/metrics, and one round of the watch, at 100,000 live tasks and 1,000,000 events."""

import time

from django.utils import timezone

from benchmarks import crowd, history, load, processes
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, milliseconds, show
from mdm.watch import reading, rounds, sealing
from tests.deployments import scene
from tests.mdm.instance import Instance

ASKED = 60
ROUNDS = 6


def scraped(instance: Instance) -> Row:
    """Whichever of the two web processes answers; the first of each, which connects, is not counted."""
    took, before = [], processes.cpu(instance)
    for number in range(ASKED + 4):
        if number % 10 == 0:
            reading.take(timezone.now())
        status, _, seconds = load.one(instance.port, Request("GET", "/metrics", ""), parsed=False)
        assert status == 200, status
        took.append(seconds)
    spent = processes.spent(before, processes.cpu(instance))
    shares = ", ".join(f"{part} {spent[part] / len(took) * 1000:.0f} ms" for part in ("web", "database"))
    words = "/metrics at 100,000 tasks and 1,000,000 events"
    return Row(words, milliseconds(took[4:]), "≤ 50 ms", note=f"CPU: {shares}")


def watched() -> list[float]:
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        rounds.watch()
        took.append(time.perf_counter() - begun)
    return took


def main() -> None:
    with running("web") as instance:
        ids = crowd.fleet(history.TASKS)
        deployment = crowd.started(scene.version(), ids, concurrency=200, rate=1000)
        history.write(deployment)
        while sealing.seal():
            pass
        crowd.settle_down()
        show(
            "Metrics",
            [
                scraped(instance),
                Row("one round of the watch, every three seconds", milliseconds(watched()), ""),
            ],
        )
