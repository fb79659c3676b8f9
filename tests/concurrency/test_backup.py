"""A backup taken while a rollout runs, restored elsewhere as the manual says: log and tables agree, and the fleet
goes on where it was."""

import pytest

from tests.concurrency.backup import dump, restore
from tests.concurrency.product import Product, on_air
from tests.mdm.instance import Instance, eventually

DEVICES = 40
PATIENCE_SEC = 240.0


def test_a_backup_under_load_is_restored_elsewhere_and_the_fleet_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    here, elsewhere = tmp_path_factory.mktemp("here") / "var", tmp_path_factory.mktemp("elsewhere") / "var"
    with on_air(here, DEVICES) as product:
        target = {"type": "selection", "device_ids": product.device_ids()}
        version = product.upload("com.nexmdm", 121)
        deployment = product.deploy(version, target, canary=0, rate=1000, concurrency=4)
        eventually(lambda: _succeeded(product, deployment) >= 5, "no install was reported", within=120)
        file = here.parent / "nexmdm.dump"
        dump(here, file)
        assert product.instance.process.poll() is None
        at_dump = _succeeded(product, deployment)
        eventually(lambda: _succeeded(product, deployment) > at_dump, "nothing went on", within=120)
        product.instance.stop()

        restore(here, elsewhere, file)
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
