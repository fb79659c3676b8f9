"""Thousands of simulated devices in one event loop."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent_api.simulator.agent import Agent, push_token
from agent_api.simulator.command import from_push
from agent_api.simulator.device import Device, World
from agent_api.simulator.identities import IdentityStore
from agent_api.simulator.pacing import Backoff, seeded
from agent_api.simulator.record import FleetRecord
from agent_api.simulator.shops import DeviceSpec
from agent_api.simulator.statusline import describe
from agent_api.simulator.tokens import Fetch, TokenBook, fixed
from agent_api.simulator.wire import AgentApi

log = logging.getLogger(__name__)
CONNECTIONS = 24
STARTS_PER_SEC = 50.0
LOOK_AGAIN_SEC = 0.02
Predicate = Callable[["SimulatedFleet"], bool]


class SimulatedFleet:
    """`async with SimulatedFleet(server, token, specs) as fleet: await fleet.until(…)`.

    `token`: an enrolment token for all, or a function that gives one per profile when asked.
    `state`: a file that remembers ids and tokens (StateInUse if another fleet has it); None = memory only.
    `owner`: whose tokens they are, where the server's address may change; "" = the address's.
    `starts_per_sec` spreads enrolments and first heartbeats. Not to be shared between threads.
    """

    def __init__(
        self,
        server: str,
        token: str | Fetch,
        specs: Sequence[DeviceSpec],
        *,
        seed: int = 1,
        state: Path | None = None,
        owner: str = "",
        connections: int = CONNECTIONS,
        starts_per_sec: float = STARTS_PER_SEC,
    ) -> None:
        self.server, self.specs = server.rstrip("/"), list(specs)
        self.record = FleetRecord(spec.serial for spec in self.specs)
        self._token, self._seed = token, seed
        self._identities = IdentityStore(owner or self.server, state)
        self._connections, self._starts_per_sec = connections, starts_per_sec
        self._agents: dict[str, Agent] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._api: AgentApi | None = None

    async def __aenter__(self) -> Self:
        self._api = AgentApi(self.server, self._connections)
        book = fixed(self._token) if isinstance(self._token, str) else TokenBook(self._token)
        now = asyncio.get_running_loop().time()
        world = World(self._api, book, self._identities, self.record, now, self._spawn)
        for spec in self.specs:
            self._agents[spec.serial] = Agent(Device(spec, world, self._seed))
        self._spawn(self._start_agents(self._api))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._api is not None:
            await self._api.close()
        self._identities.close()

    async def until(self, predicate: Predicate, seconds: float) -> None:
        """Returns once `predicate(fleet)` holds; raises TimeoutError that says how far the fleet got."""
        try:
            async with asyncio.timeout(seconds):
                while not predicate(self):
                    await self.record.changed.wait()
                    self.record.changed.clear()
                    await asyncio.sleep(LOOK_AGAIN_SEC if len(self.specs) > 100 else 0)
        except TimeoutError:
            problems = "; ".join(list(self.record.problems)[-3:]) or "no problems"
            raise TimeoutError(f"after {seconds} s: {describe(self.record)}; {problems}") from None

    def beat(self, serial: str) -> None:
        """Makes a device send its next heartbeat now."""
        self._agents[serial].device.wake.set()

    def deliver_push(self, fcm_token: str, data: Mapping[str, str]) -> bool:
        """Hands a device an FCM data message; False where no device has this token.

        Raises BadCommand. `{"action": "…"}` that is no deploy_apk only wakes the device.
        """
        agent = next((a for s, a in self._agents.items() if push_token(s) == fcm_token), None)
        if agent is None:
            return False
        if data.get("action") == "deploy_apk":
            agent.take(from_push(data))
        else:
            agent.device.wake.set()
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # where it was cancelled before it began
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """A fault of our own in one device must be seen and must not stop the others."""
        try:
            await work
        except Exception as fault:
            log.exception("a simulated device broke down")
            self.record.totals["crashes"] += 1
            self.record.problems.append(f"crash: {fault!r}")
            self.record.changed.set()

    async def _start_agents(self, api: AgentApi) -> None:
        """One request tells whether the server is there; only then come the devices, evenly."""
        backoff = Backoff(seeded(self._seed), first=0.2, most=2)
        while not await api.server_is_up():
            self.record.totals["server_awaited"] += 1
            await asyncio.sleep(backoff.after_failure())
        started = time.monotonic()
        for number, agent in enumerate(self._agents.values()):
            early = number / self._starts_per_sec - (time.monotonic() - started)
            if early > 0:
                await asyncio.sleep(early)
            self._spawn(agent.run())
