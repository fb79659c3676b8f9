"""The core and a server that has lost something: its memory, restored from a backup, or the device, retired."""

from collections import Counter
from pathlib import Path

from tests.concurrency.backup import dump, restore
from tests.core_agents.operator import OTHER, PASSWORD, PATIENCE_SEC, Operator
from tests.mdm.instance import Instance, eventually

APK_BYTES = 100_000


def test_a_retired_device_is_taken_back_with_a_new_enrolment_token(
    operator: Operator, tmp_path: Path
) -> None:
    package = ("--package", OTHER)
    with operator.sim(tmp_path / "sim", "again", 1, *package) as sim:
        (device,) = sim.device_ids()
        operator.all_heard_of([device])
    operator.call("PATCH", f"/v1/devices/{device}", {"status": "retired"})
    with operator.sim(tmp_path / "sim", "again", 1, *package) as sim:
        eventually(
            lambda: operator.call("GET", f"/v1/devices/{device}")["status"] == "active",
            "it was not taken back",
            within=PATIENCE_SEC,
        )
        operator.all_heard_of([device])
        deployment = operator.deploy(operator.upload(OTHER, 401, APK_BYTES), {"device_ids": [device]})
        assert operator.ended(deployment)["counts"]["succeeded"] == 1
        assert (sim.device_ids(), sim.told("refused")) == ([device], [])


def test_a_server_restored_from_a_backup_learns_what_is_installed_and_what_it_gives_out_again_is_done(
    operator: Operator, tmp_path: Path
) -> None:
    package = ("--package", OTHER)
    sound = operator.sim(tmp_path / "sound", "restored", 2, *package)
    failing = operator.sim(
        tmp_path / "failing", "restored", 1, *package, "--fault", "install=install_aborted"
    )
    with sound, failing:
        ids, (failed,) = sound.device_ids(), failing.device_ids()
        operator.all_heard_of([*ids, failed])
    version = operator.upload(OTHER, 402, APK_BYTES)
    deployment = operator.deploy(version, {"device_ids": [*ids, failed]}, retry={"max": 1, "backoff_sec": 0})
    eventually(
        lambda: operator.call("GET", f"/v1/deployments/{deployment}")["status"] == "running",
        "it was not planned",
        within=PATIENCE_SEC,
    )
    here, elsewhere, file = operator.instance.data_dir, tmp_path / "elsewhere", tmp_path / "nexmdm.dump"
    dump(here, file)  # nobody was there, so nothing has been sent yet
    with sound:
        with failing:
            counts = operator.ended(deployment)["counts"]
            assert (counts["succeeded"], counts["failed"]) == (2, 1)
        assert _attempts(operator, deployment)[failed] == [(1, "failed"), (2, "failed")]
        operator.instance.stop()
        restore(here, elsewhere, file)
        with _started(operator, elsewhere) as restored, operator.sim(failing.state, "restored", 1, *package):
            operator.instance = restored
            seen = operator.ended(deployment)  # a silent device would be waited for ten minutes
            assert (seen["status"], seen["counts"]["failed"]) == ("complete", 0)
            assert _attempts(operator, deployment)[failed] == [(1, "succeeded")]
            tasks = operator.tasks(deployment)
            assert {(tasks[device]["status"], tasks[device]["reason"]) for device in ids} <= {
                ("skipped", "already_installed"),
                ("succeeded", None),
            }
            assert Counter(line["device"] for line in sound.told("installed")) == {0: 1, 1: 1}
            assert restored.manage("verify_audit", "--all").returncode == 0


def _started(operator: Operator, data_dir: Path) -> Instance:
    """Where the devices know it to be."""
    port = operator.instance.port
    instance = Instance(data_dir, ADMIN_PASSWORD=PASSWORD, CHECKIN_INTERVAL_SEC="5", PORT=str(port))
    instance.port = port
    return instance


def _attempts(operator: Operator, deployment: int) -> dict[int, list[tuple[int, str]]]:
    """By device: the numbers and outcomes of what was sent."""
    rows = operator.rows(
        """SELECT device_id, number, outcome FROM deployment_attempt WHERE deployment_id = %s
        ORDER BY device_id, number""",
        deployment,
    )
    found: dict[int, list[tuple[int, str]]] = {}
    for row in rows:
        found.setdefault(row["device_id"], []).append((row["number"], row["outcome"]))
    return found
