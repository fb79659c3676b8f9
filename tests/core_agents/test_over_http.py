"""The core of the Android agent against the started product, over HTTP, with really signed APKs."""

from collections import Counter
from pathlib import Path
from typing import Any

from tests.concurrency.product import TRACE
from tests.core_agents.operator import AGENT, OTHER, PATIENCE_SEC, Operator
from tests.mdm.instance import eventually

APK_BYTES = 400_000
# At this speed the pauses between tries of a broken download, minutes in all, pass in seconds.
HURRY = ("--speed", "40")


def test_an_upgrade_of_the_agent_on_a_test_group_leaves_every_other_device_untouched(
    operator: Operator, tmp_path: Path
) -> None:
    with (
        operator.sim(tmp_path / "testers", "testers", 6) as testers,
        operator.sim(tmp_path / "others", "others", 6) as others,
    ):
        members, outside = testers.device_ids(), others.device_ids()
        operator.all_heard_of(members + outside)
        before = _trace(operator, outside)
        deployment = operator.deploy(
            operator.upload(AGENT, 121, APK_BYTES), {"filters": {"groups": ["testers"]}}, canary=2
        )
        seen = operator.ended(deployment)
        assert (seen["status"], seen["counts"]["succeeded"], seen["counts"]["total"]) == ("complete", 6, 6)
        assert seen["canary"]["state"] == "passed"
        assert set(operator.tasks(deployment)) == set(members)
        assert _trace(operator, outside) == before
        assert Counter(line["device"] for line in testers.told("installed")) == dict.fromkeys(range(6), 1)
        assert others.lines == []
        eventually(lambda: not testers.left_sessions(), "a session was left behind", PATIENCE_SEC)
    assert operator.instance.manage("verify_audit", str(deployment)).returncode == 0


# What a device is made to suffer, and what the server must be told of it: status, and code or reason.
SUFFERED = {
    "": ("succeeded", None),
    "checksum": ("failed", "checksum_mismatch"),
    "signer": ("failed", "signature_mismatch"),
    "no_space": ("failed", "insufficient_storage"),
    "no_space=200": ("failed", "insufficient_storage"),
    "not_permitted": ("skipped", "not_permitted"),
    "declines": ("skipped", "user_declined"),
    "drops=100": ("succeeded", None),
    "drops=0": ("failed", "download_network"),
    "install=verifier_blocked": ("failed", "verifier_blocked"),
    "install=install_conflict": ("failed", "install_conflict"),
    "call_comes": ("skipped", "in_call"),
    "clock=-9000": ("succeeded", None),
    "clock=9000": ("succeeded", None),
    "crash": ("succeeded", None),
}


def test_each_fault_is_seen_with_its_code(operator: Operator, tmp_path: Path) -> None:
    scripted = [word for number, fault in enumerate(SUFFERED) if fault for word in _fault(fault, number)]
    package = ("--package", OTHER)
    with operator.sim(tmp_path / "sim", "faulty", len(SUFFERED), *package, *HURRY, *scripted) as sim:
        ids = sim.device_ids()
        operator.all_heard_of(ids)
        deployment = operator.deploy(
            operator.upload(OTHER, 121, APK_BYTES), {"device_ids": ids}, deadline_hours=0
        )
        assert operator.ended(deployment)["status"] == "complete"
        eventually(lambda: not sim.left_sessions(), "a session was left behind", PATIENCE_SEC)
    tasks = operator.tasks(deployment)
    found = {fault: _end(tasks[device]) for fault, device in zip(SUFFERED, ids, strict=True)}
    assert found == SUFFERED
    page = operator.details_page(deployment)
    assert [code for _, code in SUFFERED.values() if code and code not in page] == []
    assert operator.instance.manage("verify_audit", str(deployment)).returncode == 0


def _fault(fault: str, device: int) -> tuple[str, str]:
    return "--fault", f"{fault}:{device}"


def _end(task: dict[str, Any]) -> tuple[str, str | None]:
    code = task["error_code"] if task["status"] == "failed" else task["reason"]
    return task["status"], code or None


def test_a_restart_intent_is_told_as_it_went_and_decides_health(operator: Operator, tmp_path: Path) -> None:
    intent = {"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {"why": "update"}}}
    package = ("--package", OTHER, "--fault", "no_restart:1")
    with operator.sim(tmp_path / "sim", "restarted", 2, *package) as sim:
        ids = sim.device_ids()
        operator.all_heard_of(ids)
        asked = {"target": {"device_ids": ids}, "post_install": intent}
        plain = operator.deploy(operator.upload(OTHER, 131, APK_BYTES), **asked)
        assert operator.ended(plain)["counts"]["succeeded"] == 2
        # Who is well has time to say so, who is not is not waited for.
        version = operator.upload(OTHER, 132, APK_BYTES)
        within = {ids[0]: 5, ids[1]: 0.1}
        healthy = {
            device: operator.deploy(
                version, {"device_ids": [device]}, post_install=intent, health_within_min=minutes
            )
            for device, minutes in within.items()
        }
        for deployment in healthy.values():
            operator.ended(deployment)
    told = operator.rows(
        """SELECT device_id, meta ->> 'post_install' AS said FROM deployment_event
        WHERE deployment_id = %s AND meta ? 'post_install'""",
        plain,
    )
    assert {row["device_id"]: row["said"] for row in told} == {ids[0]: "ok", ids[1]: "failed"}
    ends = [_end(operator.tasks(deployment)[device]) for device, deployment in healthy.items()]
    assert ends == [("succeeded", None), ("failed", "not_healthy")]


def _trace(operator: Operator, ids: list[int]) -> list[dict[str, Any]]:
    return operator.rows(TRACE, ids)


def test_a_rollback_by_reinstall_takes_the_device_back(operator: Operator, tmp_path: Path) -> None:
    good = operator.upload(OTHER, 140, APK_BYTES)
    bad = operator.upload(OTHER, 141, APK_BYTES)
    package = ("--package", OTHER, "--code", "140")
    broken = operator.sim(tmp_path / "broken", "back", 3, *package, "--fault", "install=install_conflict:0-2")
    with operator.sim(tmp_path / "sound", "back", 1, *package) as sound:
        with broken:  # is heard of, and away until the sound one has the bad version
            ids = sound.device_ids() + broken.device_ids()
            operator.all_heard_of(ids)
        forth = operator.deploy(bad, {"device_ids": ids}, canary=4, allow_rollback=True)
        eventually(lambda: sound.told("succeeded"), "no device has the bad version", PATIENCE_SEC)
        with broken:
            seen = operator.ended(forth)
            assert (seen["paused_reason"], seen["rollback"]["kind"]) == ("canary_failed", "reinstall")
            body = {"accept_data_loss": True, "confirm_version": "1.0.140", "reason": "test"}
            back = operator.call("POST", f"/v1/deployments/{forth}/rollback", body)["deployment_id"]
            assert operator.ended(back)["to_version"]["id"] == good
        assert operator.tasks(back)[ids[0]]["status"] == "succeeded"
        assert [line["version_code"] for line in sound.told("installed")] == [141, 140]
        eventually(lambda: not sound.left_sessions(), "a session was left behind", PATIENCE_SEC)
