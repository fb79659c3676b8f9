import subprocess
from collections.abc import Iterator

import httpx
import pytest

from mdm.agent_build import SIM_JAR
from tests.core_agents.operator import PASSWORD, Operator
from tests.mdm.instance import CHECKOUT, Instance


@pytest.fixture(scope="session")
def built() -> None:
    """`make` knows whether there is anything to build."""
    subprocess.run(["make", "--silent", str(SIM_JAR)], cwd=CHECKOUT, check=True, timeout=540)


@pytest.fixture(scope="module")
def operator(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A started product with deployments enabled, and somebody who may do everything."""
    data_dir = tmp_path_factory.mktemp("core") / "var"
    with Instance(data_dir, ADMIN_PASSWORD=PASSWORD, CHECKIN_INTERVAL_SEC="5") as instance:
        token = instance.manage("api_token", "admin").stdout.strip()
        address = f"http://127.0.0.1:{instance.port}"
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60) as api:
            yield Operator(instance, api).ready()
