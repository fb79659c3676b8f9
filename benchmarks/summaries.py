"""The body of `GET /v1/deployments/{id}`: counts, reasons and canary, cold and while reports come in."""

import threading
import time

from benchmarks import callbacks, crowd, load, replay
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, milliseconds, show
from deployments.models import Deployment
from deployments.reading import summary
from tests.deployments import scene
from tests.mdm.instance import Instance

READS = 5
REPORTING = 1_000  # devices, a bit over four reports each
TARGETS = {10_000: "≤ 80 ms", 100_000: "≤ 600 ms"}


def cold(deployment: Deployment) -> list[float]:
    took = []
    for _ in range(READS):
        scene.forget_numbers()
        begun = time.perf_counter()
        summary.summary(deployment.pk)
        took.append(time.perf_counter() - begun)
    return took


def queries(deployment: Deployment) -> int:
    scene.forget_numbers()
    asked = [sql for sql, _ in replay.record(lambda: summary.summary(deployment.pk))]
    return sum(sql not in ("BEGIN", "COMMIT") for sql in asked)


def warm(instance: Instance, deployment: Deployment, ids: list[int]) -> tuple[list[float], list[float]]:
    """One deployment is read twenty times a second while 16 connections report: over HTTP, where it waits for its
    turn behind the reports, and beside the web server, which shows what the reading itself takes."""
    chance = callbacks.dice()
    lanes = callbacks.dealt([callbacks.conversation(pk, chance) for pk in ids])
    requests = [[callbacks.request(deployment, *each) for each in lane] for lane in lanes]
    page = Request("GET", f"/v1/deployments/{deployment.pk}", crowd.operator(), None)
    reporting = threading.Thread(target=load.through, args=(instance.port, requests))
    load.one(instance.port, page)
    reporting.start()
    waited, took = [], []
    while reporting.is_alive():
        status, _, seconds = load.one(instance.port, page)
        assert status == 200
        waited.append(seconds)
        begun = time.perf_counter()
        summary.summary(deployment.pk)
        took.append(time.perf_counter() - begun)
        time.sleep(0.05)
    return waited, took


def main() -> None:
    with running("web", "ticker") as instance:
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
            crowd.send(deployment, REPORTING)
            waited, took = warm(instance, deployment, ids[:REPORTING])
            rows.append(Row(f"… warm, under reports, {devices:,} tasks", milliseconds(took), "p95 ≤ 15 ms"))
            rows.append(Row("… the same over HTTP, behind the reports", milliseconds(waited), ""))
            crowd.run("UPDATE deployment_task SET in_flight_until = NULL WHERE status = 'skipped'")
        show("Summary", rows)
