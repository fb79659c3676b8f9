"""What fifty open details pages cost the devices: how long heartbeats wait with and without them."""

import asyncio
import itertools

from benchmarks import crowd, heartbeats, load
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, milliseconds, percentile, show
from tests.deployments import scene
from tests.mdm.instance import Instance

TABS = 50
POLL_SEC = 2  # as live.js does
BEATS_PER_SECOND = 40
ROUND_SEC = 10
ROUNDS = 4


def waits(instance: Instance, ids: list[int], polls: list[Request]) -> list[float]:
    """Seconds of the heartbeats of one round, while the tabs poll."""
    took: list[float] = []

    def heard(_request: Request, status: int, _body: object) -> None:
        assert status in (200, 204), status

    async def story() -> None:
        tabs = asyncio.create_task(load.beating(instance.port, polls, TABS / POLL_SEC, heard))
        fleet = itertools.cycle(ids)
        beats = [heartbeats.beat(next(fleet)) for _ in range(BEATS_PER_SECOND * ROUND_SEC)]
        await load.beating(instance.port, beats, BEATS_PER_SECOND, heard, took)
        await tabs

    asyncio.run(story())
    return took


def main() -> None:
    with running("web", "ticker") as instance:
        ids = crowd.fleet(10_000)
        deployment = crowd.started(scene.version(), ids, canary=0, rate=1000, concurrency=1000)
        crowd.send(deployment, 300)
        crowd.settle_down()
        live = f"/admin/deployments/deployment/{deployment.pk}/live/"
        poll = Request("GET", live, "", cookie=f"sessionid={crowd.session()}")
        polls = [poll] * (TABS // POLL_SEC * ROUND_SEC)
        alone: list[float] = []
        beside: list[float] = []
        for _ in range(ROUNDS):
            alone += waits(instance, ids[300:], [])
            beside += waits(instance, ids[300:], polls)
        rise = percentile(beside, 50) / percentile(alone, 50)
        what = f"heartbeats, {BEATS_PER_SECOND}/s, beside {TABS} open details pages"
        show("Open pages", [Row(what, milliseconds(beside), "≤ 1.10×", milliseconds(alone), rise)])
