"""One simulated device: its sensors, its inventory, its link to the server."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from agent_api.simulator.behaviour import Installed, Span
from agent_api.simulator.command import Id
from agent_api.simulator.hardware import Hardware, Reading
from agent_api.simulator.identities import Identity, IdentityStore
from agent_api.simulator.pacing import Backoff, seeded
from agent_api.simulator.record import FleetRecord
from agent_api.simulator.shops import AGENT_PACKAGE, DeviceSpec
from agent_api.simulator.tokens import TokenBook
from agent_api.simulator.wire import AgentApi, Reply

FOR_GOOD = float("inf")


@dataclass(frozen=True, slots=True)
class World:
    """What all devices share. `started`: the loop's time that script seconds count from."""

    api: AgentApi
    tokens: TokenBook
    identities: IdentityStore
    record: FleetRecord
    started: float
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Device:
    def __init__(self, spec: DeviceSpec, world: World, seed: int) -> None:
        self.spec, self.world = spec, world
        self.behaviour = spec.behaviour
        self.rng = seeded(seed, spec.serial)
        self._hardware = Hardware(
            self.rng, network=spec.handset.network, tz=spec.tz, fixed=self.behaviour.readings
        )
        self.identity = world.identities.get(spec.serial)
        known = (
            self.identity.packages if self.identity and self.behaviour.packages is None else spec.inventory
        )
        self.packages = {package.package: package for package in known}
        self.inventory_told = False
        self.wake = asyncio.Event()
        self._down_until = 0.0

    @property
    def elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self.world.started

    @property
    def agent_version(self) -> str:
        own = self.packages.get(AGENT_PACKAGE)
        return (own.version_name if own else None) or "1.0.0"

    def reading(self) -> Reading:
        return self._hardware.look(self.elapsed)

    def count(self, what: str) -> None:
        self.world.record.count(self.spec.serial, what)

    def known_as(self, device_id: Id, device_token: str) -> None:
        packages = tuple(self.packages.values())
        self.identity = self.world.identities.put(self.spec.serial, device_id, device_token, packages)

    def install(self, package: Installed, size_bytes: int = 0) -> None:
        """The inventory changes now and is told in the next heartbeat."""
        self.packages[package.package] = package
        self.inventory_told = False
        self._hardware.use_storage(size_bytes)
        if self.identity is not None:
            self.known_as(self.identity.device_id, self.identity.device_token)

    def remove(self, package: str) -> None:
        """The app and its data are gone until something installs it again."""
        self.packages.pop(package, None)
        self.inventory_told = False
        if self.identity is not None:
            self.known_as(self.identity.device_id, self.identity.device_token)

    def inventory(self) -> list[dict[str, Any]]:
        return [package.model_dump(exclude_none=True) for package in self.packages.values()]

    def go_down(self, seconds: float) -> None:
        self._down_until = max(self._down_until, self.elapsed + seconds)

    async def until_reachable(self) -> None:
        """Returns once the device is on and has a network; for good offline means never."""
        while (gone := self._gone_for()) > 0:
            await (asyncio.Event().wait() if gone == FOR_GOOD else asyncio.sleep(gone))

    def _gone_for(self) -> float:
        now, offline = self.elapsed, self.behaviour.offline
        until = self._down_until
        if offline is not None and now >= offline.from_sec:
            until = max(until, FOR_GOOD if offline.until_sec is None else offline.until_sec)
        return until - now

    async def linger(self, span: Span) -> None:
        await asyncio.sleep(span.draw(self.rng) * self.behaviour.slow)

    async def pause(self, seconds: float) -> None:
        """Until the time is up or somebody wakes the device."""
        timer = asyncio.get_running_loop().call_later(seconds, self.wake.set)
        try:
            await self.wake.wait()
        finally:
            timer.cancel()
            self.wake.clear()

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        """One request with the device's token, as soon as the device is reachable."""
        await self.until_reachable()
        token = self.identity.device_token if self.identity else None
        return await self.world.api.request(method, path, body, token)

    async def insist(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        """The same, repeated with back-off until the server has given an answer that counts."""
        backoff = Backoff(self.rng)
        while (reply := await self.call(method, path, body)).try_again:
            self.count("retries")
            await asyncio.sleep(backoff.after_failure(reply.retry_after))
        return reply


def identity_of(device: Device) -> Identity:
    """The identity of a device that has enrolled."""
    assert device.identity is not None
    return device.identity
