"""A fleet in a thread of its own, for tests and scripts that are not asynchronous."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from agent_api.simulator.fleet import Predicate, SimulatedFleet

Result = TypeVar("Result")


class FleetThread:
    """`with FleetThread(SimulatedFleet(…)) as fleet: fleet.until(…)`; leaving it stops every device."""

    def __init__(self, fleet: SimulatedFleet) -> None:
        self.fleet = fleet
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated fleet", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._in_loop(self.fleet.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._in_loop(self.fleet.__aexit__(kind, error, trace))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def until(self, predicate: Predicate, seconds: float) -> None:
        """As SimulatedFleet.until. The predicate runs in the fleet's thread: no database in it."""
        self._in_loop(self.fleet.until(predicate, seconds))

    def do(self, act: Callable[[SimulatedFleet], Result]) -> Result:
        """Runs `act(fleet)` in the fleet's thread: a look at the record, a beat, a push."""

        async def acted() -> Result:
            return act(self.fleet)

        return self._in_loop(acted())

    def _in_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
