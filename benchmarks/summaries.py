"""The body of `GET /v1/deployments/{id}`: counts, reasons and canary, cold and while reports come in."""

import threading
import time

from django.core.cache import cache

from benchmarks import callbacks, crowd, load, replay
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, milliseconds, show
from deployments import summary
from deployments.models import Deployment
from tests.deployments import scene
from tests.mdm.instance import Instance

READS = 5
TARGETS = {10_000: "≤ 80 ms", 100_000: "≤ 600 ms"}


def cold(deployment: Deployment) -> list[float]:
    took = []
    for _ in range(READS):
        cache.clear()
        begun = time.perf_counter()
        summary.summary(deployment.pk)
        took.append(time.perf_counter() - begun)
    return took


def queries(deployment: Deployment) -> int:
    cache.clear()
    return len(replay.record(lambda: summary.summary(deployment.pk)))


def warm(instance: Instance, deployment: Deployment, ids: list[int]) -> list[float]:
    """One page is read forty times a second while 8 connections report; the numbers are a second old at most,
    so each web process counts anew every second."""
    chance = callbacks.dice()
    lanes = callbacks.dealt([callbacks.conversation(pk, chance) for pk in ids])
    requests = [[callbacks.request(deployment, *each) for each in lane] for lane in lanes]
    page = Request("GET", f"/v1/deployments/{deployment.pk}", crowd.operator(), None)
    reporting = threading.Thread(target=load.through, args=(instance.port, requests))
    load.one(instance.port, page)
    reporting.start()
    took = []
    while reporting.is_alive():
        status, _, seconds = load.one(instance.port, page)
        assert status == 200
        took.append(seconds)
        time.sleep(0.025)
    return took


def main() -> None:
    with running("web") as instance:
        rows = []
        for number, (devices, target) in enumerate(TARGETS.items()):
            ids = crowd.fleet(devices)
            deployment = crowd.started(
                scene.version(200 + number), ids, canary=5, rate=1000, concurrency=1000
            )
            crowd.settle_down()
            note = f"{queries(deployment)} queries (≤ 6)"
            rows.append(
                Row(f"summary, cold, {devices:,} tasks", milliseconds(cold(deployment)), target, note=note)
            )
            crowd.send(deployment, 300)
            took = warm(instance, deployment, ids[:300])
            rows.append(
                Row(f"summary over HTTP under reports, {devices:,} tasks", milliseconds(took), "p95 ≤ 15 ms")
            )
            crowd.run("UPDATE deployment_task SET in_flight_until = NULL WHERE status = 'skipped'")
        show("Summary", rows)
