"""`manage.py core_agents`: simulated devices that run the core of the Android agent."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from agent_api.management.commands.fleet import device_count, makes_tokens
from agent_api.simulator.wire import server_problem
from devices.enrollment import demo_enrollment_tokens
from mdm.agent_build import sim_command

NAME = "core_agents"
LABELS = {"groups": ["shop-berlin-1"], "tags": ["handheld"]}


class Command(BaseCommand):
    help = "Runs simulated devices with the Kotlin core of the agent, where it was built (`make agent`)."
    requires_system_checks: list[str] = []  # none of them concerns a client of the HTTP API

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--devices", type=device_count, default=3, metavar="N")
        parser.add_argument("--server", default=f"http://{settings.HOST}:{settings.PORT}", metavar="URL")
        parser.add_argument("--state", type=Path, metavar="DIR", help="default: core-agents in DATA_DIR")

    def handle(self, *args: Any, **options: Any) -> None:
        program = sim_command()
        if program is None:
            raise CommandError("The core is not built here, or there is no Java. Type: make agent")
        if problem := server_problem(options["server"]):
            raise CommandError(problem)
        state: Path = options["state"] or Path(settings.DATA_DIR) / "core-agents"
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        token = enrollment_token(state, options["devices"])
        arguments = [
            *("--server", options["server"]),
            *("--state", str(state)),
            *("--devices", str(options["devices"])),
        ]
        # The JVM takes this process's place, so that whoever supervises and ends it needs to know nothing of it.
        os.execve(program[0], [*program, *arguments], {**os.environ, "ENROLLMENT_TOKEN": token})  # noqa: S606


def enrollment_token(state: Path, devices: int) -> str:
    """One for the devices that have no account yet; a demo or a trial makes it itself. Empty where it is not needed."""
    if len(list(state.glob("*/account.json"))) >= devices:
        return ""
    given = os.environ.get("FLEET_ENROLLMENT_TOKEN", "")
    if given or not makes_tokens():
        return given
    try:
        return demo_enrollment_tokens({NAME: LABELS})[NAME]
    finally:
        connections.close_all()
