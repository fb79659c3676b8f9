"""One attempt of one deployment on one device, from the command to the final report."""

import asyncio
from typing import NoReturn

from agent_api.simulator.behaviour import Behaviour, Installed, Sometimes
from agent_api.simulator.command import Apk, BadCommand, Command, from_wire
from agent_api.simulator.device import FOR_GOOD, Device
from agent_api.simulator.download import Download, DownloadFailed
from agent_api.simulator.hardware import obstacle
from agent_api.simulator.reports import Outcome, Reports
from agent_api.simulator.shops import AGENT_PACKAGE

# Knobs that hold or do not hold for an attempt as a whole.
DRAWN = ("fail", "skip", "silent", "restart", "vanish", "left_without")


class Ended(Exception):
    """The attempt ends here, with this outcome to report."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.status)
        self.outcome = outcome


class Settled(Exception):
    """The server says that this attempt is over: nothing more is reported."""


class GoneSilent(Exception):
    """From here on the device reports nothing about this attempt."""


class Job:
    """`committing`: from here on the attempt is no longer given up for a newer one. `settled`: the server has said
    that it is over, or a newer one took its place."""

    def __init__(self, device: Device, command: Command) -> None:
        self.device, self.command = device, command
        self.committing = False
        self.settled = False
        self.outcome: Outcome | None = None
        self._reports = Reports(device, command)
        self._execution = device.world.record.started(device.spec.serial, command)
        drawn = {name: getattr(self._behaviour, name) for name in DRAWN}
        self._drawn = {name: self._draw(knob) for name, knob in drawn.items()}
        self._progress_told = 0

    @property
    def _behaviour(self) -> Behaviour:
        return self.device.behaviour

    @property
    def _apk(self) -> Apk:
        assert self.command.apk is not None
        return self.command.apk

    def _draw(self, knob: Sometimes | None) -> bool:
        """Once per attempt, so that a probability is that of the attempt and not of each of its steps."""
        return knob is not None and knob.applies(self.command.attempt, self.device.rng)

    async def run(self) -> None:
        try:
            await self._steps()
        except Ended as end:
            await self._end(end.outcome)
        except Settled:
            self.superseded()
        except GoneSilent:
            await self._fall_silent()

    async def repeat_last_report(self) -> None:
        """The same command came again although its end was reported: the report may have been lost."""
        if self.outcome is not None:
            await self._reports.end(self.outcome)

    def superseded(self) -> None:
        self.settled = True
        self._finished("settled")

    async def _steps(self) -> None:
        self._at("command")
        await self.device.linger(self._behaviour.latency.start)
        await self._confirm()
        await self._tell("received")
        self._at("received")
        self._check_conditions()
        await self._download()
        await self._maybe_restart("downloading")
        self._at("downloading")
        await self._confirm()
        self._check_conditions()
        self.committing = True
        await self._tell("installing")
        self._at("installing")
        await self._install()
        raise Ended(self._success())

    def _at(self, step: str) -> None:
        """Where a script lets the attempt go wrong."""
        silent, fail = self._behaviour.silent, self._behaviour.fail
        if silent is not None and self._drawn["silent"] and silent.after == step:
            raise GoneSilent
        if fail is not None and self._drawn["fail"] and fail.at == step:
            raise Ended(Outcome("failed", fail.code, fail.text or f"simulated: {fail.code}"))

    async def _confirm(self) -> None:
        """The agent's own GET, before it starts and before it commits."""
        path = f"/v1/agent/deployments/{self.command.deployment_id}/devices/{self.command.device_id}"
        reply = await self.device.insist("GET", f"{path}?attempt={self.command.attempt}")
        if self._behaviour.ignore_cancel and not reply.ok:
            return
        if reply.status == 410:
            reason = str(reply.body.get("reason") or reply.body.get("status") or "canceled")
            raise Ended(Outcome("skipped", reason, "stopped as told"))
        if not reply.ok:
            self._problem(f"the command was answered {reply.status}")
            raise Settled
        self._take(reply.body)

    def _take(self, body: dict[str, object]) -> None:
        try:
            command = from_wire(body)
        except BadCommand as error:
            self._give_up(f"the command cannot be read: {error}")
        if command.apk is None or command.key != self.command.key:
            self._give_up(f"asked for {self.command.key}, got {command.key}")
        self.command = command
        if body.get("window_open") is False:
            raise Ended(Outcome("skipped", "outside_window", "the maintenance window is closed"))

    def _give_up(self, text: str) -> NoReturn:
        self._problem(text)
        raise Ended(Outcome("failed", "internal", text))

    def _check_conditions(self) -> None:
        skip = self._behaviour.skip
        if skip is not None and self._drawn["skip"]:
            raise Ended(Outcome("skipped", skip.reason, skip.text or f"simulated: {skip.reason}"))
        if self.command.install_mode == "reinstall" and self._apk.package == AGENT_PACKAGE:
            raise Ended(Outcome("failed", "install_blocked", "the agent cannot remove itself"))
        installed = self.device.packages.get(self._apk.package)
        reading = self.device.reading()
        reason = obstacle(reading, self.command, installed)
        if reason is not None:
            raise Ended(Outcome("skipped", reason, f"the device says {reason}"))
        if not reading.device_owner:
            raise Ended(
                Outcome("failed", "not_permitted", "not device owner, and nobody answered the prompt")
            )
        self._check_signer(installed)

    def _check_signer(self, installed: Installed | None) -> None:
        signer = installed.signer_sha256 if installed else None
        if signer is not None and signer not in self._apk.signer_sha256:
            raise Ended(
                Outcome("failed", "signature_mismatch", "signed by another key than what is installed")
            )

    async def _download(self) -> None:
        await self._progress(0)
        try:
            await self._fetch()
        except DownloadFailed as error:
            if error.code != "url_expired":
                raise Ended(Outcome("failed", error.code, str(error))) from error
            await self._fetch_with_a_fresh_url()
        await self.device.linger(self._behaviour.latency.download)
        await self._progress(100)

    async def _fetch_with_a_fresh_url(self) -> None:
        await self._confirm()
        try:
            await self._fetch()
        except DownloadFailed as error:
            raise Ended(Outcome("failed", error.code, str(error))) from error

    async def _fetch(self) -> None:
        await self.device.until_reachable()
        client = self.device.world.api.downloads
        download = Download(client, self._apk, self.device.rng, self._behaviour.broken_downloads)
        if self._behaviour.download == "head":
            await download.head()
        elif self._behaviour.download == "verify":
            await download.verify(self._progress)

    async def _progress(self, percent: int) -> None:
        """The first report says 0; the others come at even distances, where the download passes them."""
        told, wanted = self._progress_told, self._behaviour.progress_reports
        if told < wanted and percent * wanted >= told * 100:
            self._progress_told += 1
            await self._tell("downloading", progress=percent)

    async def _install(self) -> None:
        if self.command.install_mode == "reinstall":
            self.device.remove(self._apk.package)  # Android lets nobody downgrade in place
        await self.device.linger(self._behaviour.latency.install)
        self._maybe_left_without()
        if self._behaviour.lie is None or self._behaviour.lie.in_inventory:
            self.device.install(self._claimed(), self._apk.size_bytes)
        await self._maybe_restart("installing")

    def _maybe_left_without(self) -> None:
        """Whatever fails while the app is off the device is an incomplete reinstall."""
        if self.command.install_mode == "reinstall" and self._drawn["left_without"]:
            raise Ended(
                Outcome("failed", "reinstall_incomplete", "simulated: the app could not be installed")
            )

    def _claimed(self) -> Installed:
        """What the device says it has now: the truth, unless a script makes it lie."""
        truth: dict[str, object] = {
            "package": self._apk.package,
            "version_code": self._apk.version_code,
            "version_name": self._apk.version_name,
            "signer_sha256": self._apk.signer_sha256[0] if self._apk.signer_sha256 else None,
        }
        lie = self._behaviour.lie
        false = lie.model_dump(exclude_none=True, exclude={"in_inventory"}) if lie else {}
        return Installed.model_validate(truth | false)

    def _success(self) -> Outcome:
        version = self._claimed().model_dump(exclude_none=True, exclude={"package"})
        extra: dict[str, object] = {"installed_version": version}
        if self._restart_is_told and not self._behaviour.restart_takes_sec:
            extra["post_install"] = self._behaviour.post_install
        return Outcome("succeeded", extra=extra)

    @property
    def _restart_is_told(self) -> bool:
        return self.command.restart_intent and self._behaviour.post_install != "unsaid"

    def _after_success(self, outcome: Outcome) -> None:
        vanish = self._behaviour.vanish
        if vanish is not None and self._drawn["vanish"]:
            self.device.go_down(FOR_GOOD if vanish.for_sec is None else vanish.for_sec)
        if self._restart_is_told and self._behaviour.restart_takes_sec:
            self.device.world.spawn(self._tell_of_the_restart(outcome))

    async def _tell_of_the_restart(self, outcome: Outcome) -> None:
        """The app takes its time to come up: the success once more, with how the restart went."""
        await asyncio.sleep(self._behaviour.restart_takes_sec)
        self.outcome = Outcome(
            outcome.status, extra=outcome.extra | {"post_install": self._behaviour.post_install}
        )
        await self._reports.end(self.outcome)

    async def _maybe_restart(self, step: str) -> None:
        """The process dies and comes back: a heartbeat first, then it goes on where it stood."""
        restart = self._behaviour.restart
        if restart is None or not self._drawn["restart"] or restart.at != step:
            return
        self.device.count("restarts")
        self.device.go_down(restart.down_sec)
        await self.device.until_reachable()
        self.device.wake.set()

    async def _tell(self, status: str, **fields: object) -> None:
        answer = await self._reports.step(status, **fields)
        if self._behaviour.ignore_cancel:
            return
        if answer.over:
            raise Settled
        if answer.cancel:
            await self._confirm()

    async def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._finished(outcome.status, outcome.code)
        await self._reports.end(outcome)
        if outcome.status == "succeeded":
            self._after_success(outcome)

    async def _fall_silent(self) -> None:
        self._finished("silent")
        silent = self._behaviour.silent
        assert silent is not None
        if silent.installs:
            await self._install()
        if not silent.heartbeats:
            self.device.go_down(FOR_GOOD if silent.for_sec is None else silent.for_sec)

    def _finished(self, outcome: str, code: str | None = None) -> None:
        self.device.world.record.finished(self.device.spec.serial, self._execution, outcome, code)

    def _problem(self, text: str) -> None:
        self.device.world.record.problem(self.device.spec.serial, text)
