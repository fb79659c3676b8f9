"""One tick of a deployment over 100,000 devices, in each of the situations that cost something."""

import time
from typing import Any

from benchmarks import crowd
from benchmarks.ground import running
from benchmarks.table import Row, milliseconds, show
from deployments import tick
from deployments.models import Deployment
from tests.deployments import scene

TICKS = 8
DEVICES = 100_000
NIGHT = {
    "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    "start": "00:00",
    "end": "12:00",
    "tz": "device",
}
SITUATIONS: list[tuple[str, dict[str, Any], int]] = [
    ("limit reached", {"canary": 0, "rate": 1000, "concurrency": 200}, 200),
    ("200 places free", {"canary": 0, "rate": 1000, "concurrency": 200}, 0),
    ("canary places free", {"canary": 100, "rate": 1000, "concurrency": 200}, 0),
    ("window in each device's zone", {"canary": 0, "rate": 1000, "concurrency": 200, "window": NIGHT}, 0),
]


def ticks(deployment: Deployment) -> list[float]:
    """The first one, which may have much to decide, is not counted."""
    took = []
    tick.advance(deployment.pk)
    for _ in range(TICKS):
        begun = time.perf_counter()
        tick.advance(deployment.pk)
        took.append(time.perf_counter() - begun)
    return took


def main() -> None:
    with running("web"):
        ids = crowd.fleet(DEVICES)
        rows = []
        for number, (words, options, live) in enumerate(SITUATIONS):
            deployment = crowd.started(scene.version(200 + number), ids, **options)
            crowd.send(deployment, live)
            crowd.settle_down()
            crowd.run(
                "UPDATE heartbeat SET received_at = clock_timestamp() - device_id %% 600 * interval '1 s'", []
            )
            rows.append(
                Row(f"one tick at 100,000 tasks, {words}", milliseconds(ticks(deployment)), "≤ 60 ms")
            )
            crowd.run("DELETE FROM deployment_attempt")
            crowd.run("DELETE FROM deployment_task")
            crowd.run(
                "UPDATE deployment SET status = 'canceled', finished_at = now() WHERE finished_at IS NULL"
            )
            crowd.settle_down()
        show("Tick", rows)
