"""`manage.py fleet`: simulated devices against a server's real HTTP API."""

import argparse
import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from agent_api.simulator import (
    PROFILES,
    ScriptError,
    SimulatedFleet,
    demo_script,
    load_script,
    make_specs,
)
from agent_api.simulator.identities import StateInUse
from agent_api.simulator.statusline import Meter
from agent_api.simulator.tokens import Fetch, NoToken
from agent_api.simulator.wire import server_problem
from devices.enrollment import demo_enrollment_tokens
from mdm.environment import is_loopback

STATUS_LINE_SEC = 5.0
MOST_DEVICES = 20_000
OWN_INSTANCE = "this instance"


class Command(BaseCommand):
    help = "Runs simulated devices: they enrol, send heartbeats and carry out what is deployed to them."
    requires_system_checks: list[str] = []  # none of them concerns a client of the HTTP API

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--devices", type=device_count, default=settings.FLEET or 25, metavar="N")
        parser.add_argument("--server", default=f"http://{settings.HOST}:{settings.PORT}", metavar="URL")
        parser.add_argument("--script", type=Path, metavar="FILE", help="who misbehaves, JSON or TOML")
        parser.add_argument("--state", type=Path, metavar="FILE", help="default: fleet.jsonl in DATA_DIR")
        parser.add_argument(
            "--enrollment-token",
            default=os.environ.get("FLEET_ENROLLMENT_TOKEN", ""),
            metavar="T",
            help="default: FLEET_ENROLLMENT_TOKEN; a demo or trial instance makes its own (same database)",
        )
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="another seed, other devices")

    def handle(self, *args: Any, **options: Any) -> None:
        problem = server_problem(options["server"])
        if problem:
            raise CommandError(problem)
        try:
            fleet = make_fleet(options)
        except (ScriptError, StateInUse) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"The state file cannot be written: {error}.") from error
        asyncio.run(self._run(fleet))

    async def _run(self, fleet: SimulatedFleet) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self._say(f"fleet: {len(fleet.specs)} simulated devices for {fleet.server}")
        async with fleet:
            await self._watch(fleet, stop)
        self._say("fleet: stopped")

    async def _watch(self, fleet: SimulatedFleet, stop: asyncio.Event) -> None:
        meter, told = Meter(), 0
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), STATUS_LINE_SEC)
            except TimeoutError:
                self._say(meter.line(fleet.record))
                told = self._tell_problems(fleet, told)

    def _tell_problems(self, fleet: SimulatedFleet, told: int) -> int:
        """The newest problem, where there are new ones; the sum of all so far."""
        total = fleet.record.totals["problems"] + fleet.record.totals["crashes"]
        if total > told:
            self._say(f"fleet: {total - told} new problems, the last: {fleet.record.problems[-1]}")
        return total

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def make_fleet(options: Mapping[str, Any]) -> SimulatedFleet:
    """Raises ScriptError, StateInUse, OSError and (no token to be had) CommandError."""
    script = load_script(options["script"]) if options["script"] else demo_script()
    specs = script.cast(make_specs(options["devices"], options["seed"]), options["seed"])
    return SimulatedFleet(
        options["server"],
        options["enrollment_token"] or own_tokens(),
        specs,
        seed=options["seed"],
        state=options["state"] or Path(settings.DATA_DIR) / "fleet.jsonl",
        owner=OWN_INSTANCE if is_own(options["server"]) else "",
    )


def is_own(server: str) -> bool:
    """Whether this instance's own web server is meant: its devices stay the same when its port changes."""
    parts = urlsplit(server)
    return parts.port == settings.PORT and parts.hostname in ("127.0.0.1", "localhost", "::1", settings.HOST)


def makes_tokens() -> bool:
    """Not where real devices can reach the instance: nobody gets simulated ones among them by mistake."""
    return bool(settings.DEMO) or is_loopback(settings.PUBLIC_HOST)


def own_tokens() -> Fetch:
    """Tokens out of this instance's database, one for each shop and role."""
    if not makes_tokens():
        raise CommandError(
            "Give --enrollment-token or FLEET_ENROLLMENT_TOKEN: only a demo, or an instance whose PUBLIC_URL is this"
            " machine, makes tokens of its own."
        )
    wanted = {name: {"groups": profile.groups, "tags": profile.tags} for name, profile in PROFILES.items()}

    def fetch() -> Mapping[str, str]:
        try:
            return demo_enrollment_tokens(wanted)
        except DatabaseError as error:
            raise NoToken(f"the database gives no enrolment token: {error}") from error
        finally:
            connections.close_all()

    return fetch


def device_count(text: str) -> int:
    """For argparse."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DEVICES:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MOST_DEVICES}")
    return int(text)
