"""kill -9 of the agents, and of the web server, in the middle of everything: what is on the disk is enough."""

from collections import Counter
from pathlib import Path

import pytest

from tests.core_agents.operator import OTHER, PATIENCE_SEC, Operator
from tests.core_agents.sim import Sim
from tests.mdm.instance import eventually, kill

DEVICES = 6
APK_BYTES = 400_000
# Slow enough to be caught in every phase; the last of a crowd are still at work when all others are done.
SLOW = ("--package", OTHER, "--fault", "drops=150", "--install-ms", "400")
SLOWEST = ("--fault", "drops=40:80-99")
VERSIONS = iter(range(200, 300))

CROWD = 100
# Web is dropped when so many devices have come so far: while most are at work, and once more near the end.
DROPS = {"received": 10, "downloading": 40, "installed": 30, "succeeded": 60}


@pytest.mark.parametrize("state", ["received", "downloading", "installing", "installed", "succeeded"])
def test_agents_killed_at_this_moment_end_well_and_each_report_counts_once(
    operator: Operator, tmp_path: Path, state: str
) -> None:
    sim = operator.sim(tmp_path / "sim", f"killed-{state}", DEVICES, *SLOW)
    with sim:
        ids = sim.device_ids()
    version = operator.upload(OTHER, next(VERSIONS), APK_BYTES)
    deployment = operator.deploy(version, {"device_ids": ids})
    for deaths in range(1, 4):
        with sim:
            eventually(
                lambda deaths=deaths: _seen(operator, deployment, sim, state, deaths), state, PATIENCE_SEC
            )
            if deaths == 2:
                _kill_web(operator)
    with sim:
        seen = operator.ended(deployment)
        assert (seen["status"], seen["counts"]["succeeded"]) == ("complete", DEVICES)
        eventually(lambda: not sim.left_sessions(), "a session was left behind", PATIENCE_SEC)
    _each_report_counted_once(operator, deployment, DEVICES)


def test_web_dropped_under_a_hundred_agents_costs_no_device_a_second_install_or_its_end(
    operator: Operator, tmp_path: Path
) -> None:
    sim = operator.sim(tmp_path / "sim", "crowd", CROWD, *SLOWEST, *SLOW)
    with sim:
        ids = sim.device_ids()
        version = operator.upload(OTHER, next(VERSIONS), APK_BYTES)
        deployment = operator.deploy(version, {"device_ids": ids})
        for state, devices in DROPS.items():
            eventually(
                lambda state=state, devices=devices: len(_devices(sim, state)) >= devices, state, PATIENCE_SEC
            )
            assert len(_devices(sim, "succeeded")) < CROWD, f"nobody was at work any more when {state}"
            _kill_web(operator)
        seen = operator.ended(deployment, within=300)
        eventually(lambda: not sim.left_sessions(), "a session was left behind", PATIENCE_SEC)
    assert (seen["status"], seen["counts"]["succeeded"], seen["counts"]["total"]) == (
        "complete",
        CROWD,
        CROWD,
    )
    once = dict.fromkeys(range(CROWD), 1)
    assert _devices(sim, "installed") == once
    assert _devices(sim, "succeeded") == once
    assert sim.told("failed") + sim.told("skipped") == []
    _each_report_counted_once(operator, deployment, CROWD)


def _devices(sim: Sim, state: str) -> Counter[int]:
    """How often each device has said so."""
    return Counter(line["device"] for line in sim.told(state))


def _seen(operator: Operator, deployment: int, sim: Sim, state: str, devices: int) -> bool:
    """So many devices have said so, or it is over: what is written down may be killed before it is said."""
    said = len({line["device"] for line in sim.told(state)})
    return said >= devices or operator.call("GET", f"/v1/deployments/{deployment}")["status"] != "running"


def _kill_web(operator: Operator) -> None:
    """The supervisor starts it again; reports that were on their way are lost or half told."""
    dropped = operator.instance.processes("manage.py web")
    assert dropped
    for process in dropped:
        kill(process)
    eventually(operator.instance.is_ready, "web did not come back", PATIENCE_SEC)


def _each_report_counted_once(operator: Operator, deployment: int, devices: int) -> None:
    assert operator.instance.manage("verify_audit", str(deployment)).returncode == 0
    doubled = operator.rows(
        """SELECT device_id, message, count(*) FROM deployment_event WHERE deployment_id = %s
        AND device_id IS NOT NULL GROUP BY device_id, message, meta -> 'attempt' HAVING count(*) > 1""",
        deployment,
    )
    assert doubled == []
    attempts = operator.rows(
        "SELECT device_id, outcome FROM deployment_attempt WHERE deployment_id = %s", deployment
    )
    assert [row for row in attempts if row["outcome"] != "succeeded"] == []
    assert len(attempts) == devices
