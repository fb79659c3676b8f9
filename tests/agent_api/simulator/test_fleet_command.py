import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from agent_api.management.commands.fleet import own_tokens
from agent_api.simulator import PROFILES, parse_script
from devices.models import EnrollmentToken
from tests.agent_api.simulator.stand_in import StandIn

ROOT = Path(__file__).parents[3]


async def start_fleet(server: StandIn, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "manage.py", "fleet", "--devices", "3", "--server", server.url),
        cwd=ROOT,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "mdm.settings",
            "DATA_DIR": str(folder),
            "FLEET_ENROLLMENT_TOKEN": "secret",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def stop_after_three_beats(server: StandIn, process: asyncio.subprocess.Process) -> None:
    """Also returns when the process ends by itself."""
    ended = asyncio.create_task(process.wait())
    ended.add_done_callback(lambda _: server.arrived.set())
    while server.seen["heartbeat"] < 3 and not ended.done():
        await server.arrived.wait()
        server.arrived.clear()
    if not ended.done():
        process.terminate()


def test_the_command_beats_until_it_is_asked_to_stop_and_leaves_at_once(tmp_path: Path) -> None:
    async def act() -> None:
        async with StandIn() as server:
            process = await start_fleet(server, tmp_path)
            try:
                async with asyncio.timeout(120):
                    await stop_after_three_beats(server, process)
                    output, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        assert output.decode().splitlines()[-1] == "fleet: stopped"
        assert process.returncode == 0
        assert "secret" not in output.decode()
        assert {body["enrollment_token"] for body in server.bodies["enroll"]} == {"secret"}
        assert (tmp_path / "fleet.jsonl").stat().st_mode & 0o777 == 0o600

    asyncio.run(act())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--server", "nowhere"], "is not the address of a server", id="no address"),
        pytest.param(["--script", "missing.json"], "cannot be read", id="no such script"),
        pytest.param(["--devices", "0"], "from 1 to 20000", id="no devices"),
        pytest.param(["--devices", "20001"], "from 1 to 20000", id="too many devices"),
        pytest.param(["--state", "/dev/null/state"], "state file cannot be written", id="no place to write"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("fleet", *arguments, "--enrollment-token", "t")


def test_where_real_devices_may_be_a_token_must_be_given(settings: Settings) -> None:
    settings.DEMO = False
    settings.PUBLIC_HOST = "mdm.example.com"
    with pytest.raises(CommandError, match="only a demo, or an instance whose PUBLIC_URL is this machine"):
        call_command("fleet")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("demo", "host"), [(True, "mdm.example.com"), (False, "127.0.0.1")], ids=["demo", "trial"]
)
def test_a_demo_or_a_trial_makes_a_token_for_each_shop_and_role(
    demo: bool, host: str, settings: Settings
) -> None:
    settings.DEMO = demo
    settings.PUBLIC_HOST = host
    tokens = asyncio.run(asyncio.to_thread(own_tokens()))
    assert tokens.keys() == PROFILES.keys()
    made = {(tuple(token.groups), tuple(token.tags)) for token in EnrollmentToken.objects.all()}
    assert made == {(profile.groups, profile.tags) for profile in PROFILES.values()}


def test_the_example_in_the_manual_is_a_script_that_works() -> None:
    manual = (ROOT / "docs" / "simulated-fleet.md").read_text()
    for example in re.findall(r"```toml\n(.*?)```", manual, re.DOTALL):
        assert parse_script(example, "example.toml").groups
