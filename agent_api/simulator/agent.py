"""The agent's main loop: enrol, beat, take commands."""

import asyncio
from typing import Any

from agent_api.simulator.command import BadCommand, Command, from_wire
from agent_api.simulator.device import Device, identity_of
from agent_api.simulator.job import Job
from agent_api.simulator.pacing import Backoff, jittered, told_interval
from agent_api.simulator.tokens import NoToken
from agent_api.simulator.wire import Reply

UNKNOWN_TO_SERVER = {401, 404}
REFUSED = {403, 409, 422}  # a person must act first; asking again at once would only fill the audit log
LONG_SEC = 600.0
RETIRED_SEC = 60.0
REMEMBERED_JOBS = 20


class Agent:
    """Runs until it is cancelled."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._backoff = Backoff(device.rng)
        self._jobs: dict[tuple[str, int], Job] = {}
        self._running: asyncio.Task[None] | None = None
        self._current: Job | None = None
        self._next: Command | None = None
        self._retired = False

    async def run(self) -> None:
        if self.device.identity is None:
            await self._enrol()
        else:
            self._record_identity(known=True)
        if self.device.behaviour.never_heartbeats:
            return
        while True:
            await self.device.pause(await self._beat())

    async def _enrol(self) -> None:
        """Repeated with back-off until the server takes the device."""
        backoff = Backoff(self.device.rng, most=600)
        while True:
            reply = await self._try_to_enrol()
            if reply.status == 201 and _identity_in(reply.body):
                self.device.known_as(reply.body["device_id"], reply.body["device_token"])
                self._record_identity(known=False)
                return
            told = LONG_SEC if reply.status in REFUSED else reply.retry_after
            await asyncio.sleep(backoff.after_failure(told))

    async def _try_to_enrol(self) -> Reply:
        device = self.device
        tokens = device.world.tokens
        try:
            token = await tokens.token_for(device.spec.profile)
        except NoToken as error:
            self._problem(str(error))
            return Reply(0)
        body = enrolment_body(device) | {"enrollment_token": token}
        await device.until_reachable()
        reply = await device.world.api.request("POST", "/v1/agent/enroll", body)
        if reply.status == 401:
            tokens.refused(token)
        if not reply.ok and not reply.try_again:
            self._problem(f"enrolment was answered {reply.status}: {reply.body.get('detail', reply.body)}")
        return reply

    def _record_identity(self, *, known: bool) -> None:
        identity = identity_of(self.device)
        self.device.world.record.enrolled(self.device.spec.serial, identity.device_id, known=known)

    async def _beat(self) -> float:
        """One heartbeat; the seconds until the next."""
        device = self.device
        device_id = identity_of(device).device_id
        body = heartbeat_body(device)
        told_packages = "packages" in body
        reply = await device.call("POST", f"/v1/agent/devices/{device_id}/heartbeat", body)
        if reply.ok:
            self._retired = False
            self._backoff.succeeded()
            device.count("heartbeats")
            device.inventory_told = device.inventory_told or told_packages
            self._listen(reply.body.get("commands"))
            return self._interval(reply.body)
        device.count("heartbeats_failed")
        self._retired = self._retired or reply.status == 403
        if reply.status in UNKNOWN_TO_SERVER and not self._retired:
            await self._forgotten()
        return self._backoff.after_failure(RETIRED_SEC if self._retired else reply.retry_after)

    def _interval(self, body: dict[str, Any]) -> float:
        own = self.device.behaviour.interval_sec
        return jittered(own or told_interval(body.get("checkin_interval_sec")), self.device.rng)

    async def _forgotten(self) -> None:
        """The server does not know the token: a new database, or the device was taken out of it."""
        self.device.inventory_told = False
        self._stop_job()
        self._jobs.clear()
        await self._enrol()

    def _listen(self, commands: object) -> None:
        for data in commands if isinstance(commands, list) else []:
            try:
                self.take(from_wire(data))
            except BadCommand as error:
                self._problem(f"a command cannot be read: {error}")

    def take(self, command: Command) -> None:
        """A command from a heartbeat or a push. The newest one counts, except in the middle of a commit. What the
        server had called over and hands out again (it was restored from a backup) is begun anew."""
        known = self._jobs.get(command.key)
        self.device.world.record.received(self.device.spec.serial, command, repeat=known is not None)
        if known is not None and not known.settled:
            self.device.world.spawn(known.repeat_last_report())
        elif self._current is not None and self._current.committing and self._busy:
            self._next = command
        else:
            self._stop_job()
            self._start(command)

    @property
    def _busy(self) -> bool:
        return self._running is not None and not self._running.done()

    def _start(self, command: Command) -> None:
        job = Job(self.device, command)
        self._current, self._jobs[command.key] = job, job
        if len(self._jobs) > REMEMBERED_JOBS:
            del self._jobs[next(iter(self._jobs))]
        self._running = self.device.world.spawn(self._work(job))

    async def _work(self, job: Job) -> None:
        await job.run()
        if self._next is not None and self._current is job:
            command, self._next = self._next, None
            self._start(command)

    def _stop_job(self) -> None:
        if self._busy and self._running is not None and self._current is not None:
            self._running.cancel()
            self._current.superseded()

    def _problem(self, text: str) -> None:
        self.device.world.record.problem(self.device.spec.serial, text)


def _identity_in(body: dict[str, Any]) -> bool:
    return isinstance(body.get("device_id"), (int, str)) and isinstance(body.get("device_token"), str)


def enrolment_body(device: Device) -> dict[str, Any]:
    """What the device says of itself when it enrols; the token is not in it."""
    spec = device.spec
    body: dict[str, Any] = {
        "serial": spec.serial,
        "model": spec.handset.model,
        "manufacturer": spec.handset.manufacturer,
        "sdk_int": spec.sdk_int,
        "abis": spec.abis,
        "agent_version": device.agent_version,
        "alias": spec.alias,
        "packages": device.inventory(),
    }
    if device.behaviour.push:
        body["fcm_token"] = push_token(spec.serial)
    return body


def heartbeat_body(device: Device) -> dict[str, Any]:
    """Sensors, and the inventory where it has changed since it was last told."""
    reading = device.reading()
    body: dict[str, Any] = {name: getattr(reading, name) for name in reading.__slots__}
    body |= {
        "max_schema": device.behaviour.max_schema,
        "agent_version": device.agent_version,
        "sdk_int": device.spec.sdk_int,
    }
    if not device.inventory_told:
        body["packages"] = device.inventory()
    for name in device.behaviour.unreported:
        body.pop(name, None)
    return body


def push_token(serial: str) -> str:
    """The FCM token of a simulated device that can be pushed to."""
    return f"simulated:{serial}"
