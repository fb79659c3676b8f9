"""How long a place stays empty: from a final report to the next send, by push and by heartbeat."""

import asyncio
import json
import time
from typing import Any

from benchmarks import crowd, heartbeats, load
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, milliseconds, show
from tests.deployments import scene
from tests.fakes import LoopbackFcm
from tests.mdm.instance import Instance

FLEET = 1_200
BEATS_PER_SECOND = 20
PLACES = 5
INSTALL_SEC = 1.0
SECONDS = 15
# The n-th place to become free is filled by the n-th send after the first filling.
_GAPS = """SELECT extract(epoch FROM s.sent_at - f.finished_at)::float FROM
    (SELECT finished_at, row_number() OVER (ORDER BY finished_at) AS n FROM deployment_attempt
        WHERE deployment_id = %(id)s AND finished_at IS NOT NULL) f
    JOIN (SELECT sent_at, row_number() OVER (ORDER BY sent_at, id) - %(places)s AS n FROM deployment_attempt
        WHERE deployment_id = %(id)s) s USING (n)"""


async def install(line: load.Line, deployment_id: int, device_id: int) -> None:
    """The device's side of it, once it has the command."""
    path = f"/v1/agent/deployments/{deployment_id}/devices/{device_id}/status"
    for status in ("received", "succeeded"):
        answer, body = await line.ask(
            Request("POST", path, crowd.token(device_id), {"status": status, "attempt": 1}).encoded()
        )
        assert answer == 200, body
        if status == "received":
            await asyncio.sleep(INSTALL_SEC)
    line.close()


async def by_heartbeat(port: int, ids: list[int]) -> None:
    installs: set[asyncio.Task[None]] = set()

    def heard(_request: Request, status: int, body: Any) -> None:
        assert status == 200, body
        for command in body["commands"]:
            work = install(load.Line(port), command["deployment_id"], command["device_id"])
            installs.add(asyncio.create_task(work))

    beats = [heartbeats.beat(ids[number % FLEET]) for number in range(BEATS_PER_SECOND * SECONDS)]
    await load.beating(port, beats, BEATS_PER_SECOND, heard)
    await asyncio.gather(*installs)


async def by_push(port: int, fcm: LoopbackFcm) -> None:
    end, seen = time.perf_counter() + SECONDS, 0
    installs: set[asyncio.Task[None]] = set()
    while time.perf_counter() < end:
        for request in fcm.received[seen:]:
            data = request.message["data"]
            device_id, deployment_id = (json.loads(data[name]) for name in ("device_id", "deployment_id"))
            installs.add(asyncio.create_task(install(load.Line(port), deployment_id, device_id)))
            seen += 1
        await asyncio.sleep(0.005)
    await asyncio.gather(*installs)


def measured(instance: Instance, fcm: LoopbackFcm | None) -> Row:
    ids = crowd.fleet(FLEET, push=fcm is not None)
    options = {"canary": 0, "rate": 100_000, "concurrency": PLACES}
    deployment = crowd.requested(scene.version(200), ids, **options)
    asyncio.run(by_push(instance.port, fcm) if fcm else by_heartbeat(instance.port, ids))
    gaps = [row[0] for row in crowd.run(_GAPS, {"id": deployment.pk, "places": PLACES})]
    assert gaps, "nothing was sent"
    if fcm:
        return Row("slot freed → claimed again by push", milliseconds(gaps), "p95 ≤ 100 ms")
    return Row("slot freed → claimed again by heartbeat, 20 beats/s", milliseconds(gaps), "p95 ≤ 250 ms")


def pushed() -> None:
    with LoopbackFcm() as fcm:
        environment = {"PUSH_TRANSPORT": "fcm", "FCM_ENDPOINT": fcm.url}
        with running("web", "worker", "ticker", **environment) as instance:
            show("Slots, push", [measured(instance, fcm)])


def checked_in() -> None:
    with running("web", "worker", "ticker") as instance:
        show("Slots, heartbeat", [measured(instance, None)])
