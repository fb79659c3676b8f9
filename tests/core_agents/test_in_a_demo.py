"""A demo has a few devices with the real core, kept and ended like every other part."""

from pathlib import Path

import pytest

from agent_api.management.commands.core_agents import enrollment_token
from mdm import agent_build
from tests.core_agents.operator import PATIENCE_SEC
from tests.mdm.instance import Instance, eventually, kill

COUNT = """
from devices.models import Device
heard_of = Device.objects.filter(model="Kotlin Sim", heartbeat__received_at__isnull=False)
print(Device.objects.count(), heard_of.count())
"""


def test_some_of_a_demos_fleet_run_the_core_come_back_when_killed_and_go_when_it_stops(
    built: None, tmp_path: Path
) -> None:
    with Instance(tmp_path / "var", DEMO="1", FLEET="10", CORE_AGENTS="3") as demo:
        eventually(lambda: _devices(demo) == "10 2", "some device was never heard of", PATIENCE_SEC)
        (core,) = demo.processes("sim.jar")
        assert [word for word in core.cmdline() if word.startswith("--")] == [
            "--server",
            "--state",
            "--devices",
        ]
        assert core.cmdline()[-1] == "2"
        kill(core)
        eventually(lambda: demo.processes("sim.jar"), "the core agents did not come back", PATIENCE_SEC)
        demo.stop()
        assert demo.processes() == []


def _devices(demo: Instance) -> str:
    """How many there are, and how many of the core were heard of."""
    return demo.manage("shell", "-v0", "-c", COUNT).stdout.strip()


def test_without_a_built_core_the_whole_fleet_is_the_simulated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_build, "SIM_JAR", tmp_path / "none.jar")
    assert agent_build.sim_command() is None


def test_devices_with_an_account_need_no_enrolment_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_ENROLLMENT_TOKEN", "a token")
    for device in range(2):
        (tmp_path / f"{device:05}").mkdir()
        (tmp_path / f"{device:05}" / "account.json").touch()
    assert enrollment_token(tmp_path, 3) == "a token"
    assert enrollment_token(tmp_path, 2) == ""
