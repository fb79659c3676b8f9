"""Status reports of one attempt, with the bad habits that a script may give them."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent_api.simulator.command import Command
from agent_api.simulator.device import Device

FINAL = frozenset({"succeeded", "failed", "skipped"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ends: a final status, its code or reason, and what goes with it."""

    status: str
    code: str | None = None
    text: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        told = {"error_code": self.code, "error": self.text}
        return {key: value for key, value in told.items() if value is not None} | self.extra


@dataclass(frozen=True, slots=True)
class Answer:
    """`over`: the server has settled this attempt; `cancel`: it asks the agent to stop."""

    over: bool = False
    cancel: bool = False


class Reports:
    def __init__(self, device: Device, command: Command) -> None:
        self._device, self._command = device, command
        self._path = f"/v1/agent/deployments/{command.deployment_id}/devices/{command.device_id}/status"
        self._seq = 0
        self._held: list[dict[str, Any]] = []

    async def step(self, status: str, **fields: Any) -> Answer:
        """A report on the way: received, downloading, installing."""
        body = self._body(status, fields)
        if self._device.behaviour.out_of_order:
            self._held.append(body)
            return Answer()
        late = self._device.behaviour.late
        if late is not None and late.reports == "all":
            self._device.world.spawn(self._deliver_late(late.sec, [body]))
            return Answer()
        return await self._deliver(body)

    async def end(self, outcome: Outcome) -> None:
        """The last report. Steps that were held back follow it, the newest first."""
        bodies = [self._body(outcome.status, outcome.fields()), *reversed(self._held)]
        late = self._device.behaviour.late
        if late is not None:
            self._device.world.spawn(self._deliver_late(late.sec, bodies))
            return
        for body in bodies:
            await self._deliver(body)

    def _body(self, status: str, fields: dict[str, Any]) -> dict[str, Any]:
        self._seq += 1
        fixed = {"status": status, "attempt": self._command.attempt, "seq": self._seq}
        return fixed | {"occurred_at": datetime.now(UTC).isoformat()} | fields

    async def _deliver_late(self, seconds: float, bodies: list[dict[str, Any]]) -> None:
        await asyncio.sleep(seconds)
        for body in bodies:
            await self._deliver(body)

    async def _deliver(self, body: dict[str, Any]) -> Answer:
        answers = [await self._post(body) for _ in range(1 + self._device.behaviour.duplicate_reports)]
        return answers[0]

    async def _post(self, body: dict[str, Any]) -> Answer:
        reply = await self._device.insist("POST", self._path, body)
        record = self._device.world.record
        record.reported(self._device.spec.serial, self._command.deployment_id, body, reply)
        if reply.ok:
            final = bool(reply.body.get("final")) and body["status"] not in FINAL
            return Answer(over=final, cancel=bool(reply.body.get("cancel")))
        if reply.status != 409:
            record.problem(self._device.spec.serial, f"a report was answered {reply.status}: {reply.body}")
        return Answer(over=True)
