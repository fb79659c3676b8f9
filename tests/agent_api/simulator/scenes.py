"""One fleet against one stand-in, and the moments that the tests wait for."""

import asyncio
from collections.abc import Awaitable, Callable

from agent_api.simulator import INSTANT, Behaviour, DeviceSpec, SimulatedFleet, make_specs
from tests.agent_api.simulator.stand_in import StandIn

Scene = Callable[[StandIn, SimulatedFleet], Awaitable[None]]


def play(scene: Scene, specs: list[DeviceSpec] | None = None, **knobs: object) -> None:
    """Runs a scene with one fleet against one stand-in; a crash of the simulator fails it."""

    async def act() -> None:
        behaviour = Behaviour.model_validate({"latency": INSTANT} | knobs)
        cast = specs or make_specs(1, behaviour=behaviour)
        async with StandIn() as server, SimulatedFleet(server.url, "enrol-me", cast) as fleet:
            await scene(server, fleet)
            assert fleet.record.totals["crashes"] == 0, list(fleet.record.problems)

    asyncio.run(act())


async def send_to_first(server: StandIn, fleet: SimulatedFleet, **changes: object) -> None:
    await fleet.until(lambda f: f.record.totals["heartbeats"] >= 1, 10)
    server.send(1, **changes)


def ended(status: str) -> Callable[[SimulatedFleet], bool]:
    return lambda fleet: fleet.record.totals[status] >= 1 and fleet.record.running == 0


def reported(count: int) -> Callable[[SimulatedFleet], bool]:
    return lambda fleet: fleet.record.totals["reports"] >= count
