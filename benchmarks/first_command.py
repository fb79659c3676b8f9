"""From the start of a deployment to the first heartbeat whose answer carries its command."""

import asyncio
import time
from typing import Any

from benchmarks import crowd, heartbeats, load
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, milliseconds, show
from tests.deployments import scene
from tests.mdm.instance import Instance

FLEET = 1_200
BEATS_PER_SECOND = 20
ROUNDS = 6


def waited(instance: Instance, token: str, code: int, ids: list[int]) -> float:
    """Seconds. The fleet beats all the while; what was handed out is canceled afterwards."""
    start = Request(
        "POST",
        "/v1/deployments",
        token,
        {
            "apk_version_id": scene.version(code).pk,
            "target": {"type": "fleet"},
            "options": {"canary": 5, "rate": 1000, "concurrency": 200},
        },
    )
    found: dict[str, Any] = {}

    def heard(_request: Request, status: int, body: Any) -> None:
        assert status == 200, body
        if body["commands"] and "seconds" not in found:
            found["seconds"] = time.perf_counter() - found["begun"]

    async def story() -> None:
        beats = [heartbeats.beat(ids[(code * 97 + number) % FLEET]) for number in range(BEATS_PER_SECOND * 4)]
        beating = asyncio.create_task(load.beating(instance.port, beats, BEATS_PER_SECOND, heard))
        await asyncio.sleep(0.5)
        found["begun"] = time.perf_counter()
        line = load.Line(instance.port)
        status, body = await line.ask(start.encoded())
        assert status == 201, body
        found["started"] = body
        await beating
        line.close()

    asyncio.run(story())
    deployment_id = int(str(found["started"], "ascii").partition(":")[2].strip(" }"))
    status, _, _ = load.one(
        instance.port, Request("POST", f"/v1/deployments/{deployment_id}/cancel", token, {})
    )
    assert status == 200
    crowd.free_again()
    return float(found["seconds"])


def main() -> None:
    with running("web", "worker", "ticker") as instance:
        ids = crowd.fleet(FLEET)
        token = crowd.operator()
        took = [waited(instance, token, 200 + number, ids) for number in range(ROUNDS)]
        show("First command", [Row("start → first command, 20 beats/s", milliseconds(took), "≤ 1 s")])
