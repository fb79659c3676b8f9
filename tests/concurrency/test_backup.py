"""A backup taken while a rollout runs, restored elsewhere as the manual says: log and tables agree, and the fleet
goes on where it was."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mdm.embedded_postgres import DATABASE, USER, EmbeddedPostgres, socket_folder
from mdm.postgres_binaries import find_binaries
from tests.concurrency.product import Product, on_air
from tests.mdm.instance import Instance, eventually

DEVICES = 40
PATIENCE_SEC = 240.0
LEFT_OUT = ("postgres", "log", "audit_head")  # the dump holds it, nobody needs it, it is of a later moment


def test_a_backup_under_load_is_restored_elsewhere_and_the_fleet_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    here, elsewhere = tmp_path_factory.mktemp("here") / "var", tmp_path_factory.mktemp("elsewhere") / "var"
    with on_air(here, DEVICES) as product:
        target = {"type": "selection", "device_ids": product.device_ids()}
        version = product.upload("com.nexmdm", 121)
        deployment = product.deploy(version, target, canary=0, rate=1000, concurrency=4)
        eventually(lambda: _succeeded(product, deployment) >= 5, "no install was reported", within=120)
        dump = here.parent / "nexmdm.dump"
        _pg("pg_dump", "--format=custom", f"--file={dump}", here)
        assert product.instance.process.poll() is None
        at_dump = _succeeded(product, deployment)
        eventually(lambda: _succeeded(product, deployment) > at_dump, "nothing went on", within=120)
        product.instance.stop()

        _restore(here, elsewhere, dump)
        with Instance(elsewhere, PORT=str(product.instance.port)) as restored:
            verified = restored.manage("verify_audit", "--all")
            assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
            restored.port = product.instance.port
            product.instance = restored
            seen = product.ends(deployment, within=PATIENCE_SEC)
            assert (seen["status"], seen["counts"]["total"]) == ("complete", DEVICES)
            assert seen["counts"]["failed"] == 0
            assert product.versions(product.device_ids(), "com.nexmdm") == {121}
            verified = restored.manage("verify_audit", "--all")
            assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout


def _succeeded(product: Product, deployment: int) -> int:
    product._some_beat(deployment, 4)
    found: int = product.call("GET", f"/v1/deployments/{deployment}")["counts"]["succeeded"]
    return found


def _restore(here: Path, elsewhere: Path, dump: Path) -> None:
    """Files first: artifacts, keys. Then the dump, into a new database."""
    shutil.copytree(here, elsewhere, ignore=shutil.ignore_patterns(*LEFT_OUT))
    server = EmbeddedPostgres(elsewhere)
    server.start()
    try:
        _pg("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={DATABASE}", elsewhere, str(dump))
    finally:
        server.stop()


def _pg(program: str, *options: str | Path) -> None:
    """The program against the database of the one folder among the options."""
    binaries = find_binaries()
    assert binaries is not None
    words = [str(option) for option in options if isinstance(option, str)]
    (folder,) = (option for option in options if isinstance(option, Path))
    where = ["-h", str(socket_folder(folder)), "-U", USER]
    database = [DATABASE] if program == "pg_dump" else []
    subprocess.run([binaries.folder / program, *where, *words, *database], check=True, timeout=120)
