"""One tick of a deployment over 100,000 devices, in each of the situations that cost something."""

import time
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks import crowd
from benchmarks.ground import running
from benchmarks.table import Row, milliseconds, show
from deployments import tick
from deployments.models import Deployment
from tests.deployments import scene

TICKS = 8
DEVICES = 100_000
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def window(zone: str, before_hours: int, after_hours: int) -> dict[str, Any]:
    """Open on every clock that shows what this zone's shows now, or so many hours less or more."""
    here = datetime.now(ZoneInfo(zone))
    start, end = here - timedelta(hours=before_hours), here + timedelta(hours=after_hours)
    return {"days": DAYS, "start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "tz": "device"}


def situations() -> list[tuple[str, dict[str, Any], int]]:
    """Words, options, and how many devices are in flight. The fleet is in Berlin, New York, Tokyo and UTC."""
    free = {"canary": 0, "rate": 1000, "concurrency": 200}
    return [
        ("limit reached", free, 200),
        ("200 places free", free, 0),
        ("canary places free", free | {"canary": 100}, 0),
        ("window shut for one device in four", free | {"window": window("UTC", 6, 3)}, 0),
        ("window shut for three devices in four", free | {"window": window("Asia/Tokyo", 2, 2)}, 0),
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
        for number, (words, options, live) in enumerate(situations()):
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
