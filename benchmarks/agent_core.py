"""The core of the Android agent: 100 MB from the server to installed beside curl and sha256sum, and what it weighs."""

import re
import statistics
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx

from apks.artifacts import signed_url
from apks.models import ApkVersion
from benchmarks import DATA_DIR
from benchmarks.ground import running
from benchmarks.table import Row, show
from mdm.agent_build import SIM_JAR
from tests.core_agents.operator import OTHER, PASSWORD, Operator
from tests.core_agents.sim import Line, Sim
from tests.mdm.instance import CHECKOUT

MB = 1024 * 1024
LARGE, SMALL = 100 * MB, MB
ROUNDS = 5
AGENTS = 100
HEAP_MB = 32
TEST_REPORTS = "android-agent/core/target/surefire-reports/TEST-*.xml"


def main() -> None:
    subprocess.run(["make", "--silent", str(SIM_JAR)], cwd=CHECKOUT, check=True)
    with running(ADMIN_PASSWORD=PASSWORD, CHECKIN_INTERVAL_SEC="1") as instance:
        token = instance.manage("api_token", "admin").stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{instance.port}", headers=headers, timeout=120) as api:
            operator = Operator(instance, api).ready()
            rows = [*transfer(operator), crowd(operator), *tests()]
        show("The core of the Android agent", rows)


def transfer(operator: Operator) -> list[Row]:
    """Both sides take turns; the heap is no larger than it may be, and the collector tells how much was used."""
    log = DATA_DIR / "gc.log"
    sim = operator.sim(DATA_DIR / "one", "one", 1, "--package", OTHER, "--install-ms", "0")
    sim.java(f"-Xmx{HEAP_MB}m", f"-Xlog:gc:file={log}")
    ours, theirs = [], []
    with sim:
        (device,) = sim.device_ids()
        for code in range(200, 200 + ROUNDS):
            version = operator.upload(OTHER, code, LARGE)
            theirs.append(curl(operator, version, device))
            deployment = operator.deploy(version, {"device_ids": [device]})
            assert operator.ended(deployment)["status"] == "complete"
            ours.append(seconds(sim.lines, deployment))
    (core, plain) = statistics.median(ours), statistics.median(theirs)
    heap = max(int(used) for used in re.findall(r"(\d+)M->", log.read_text()))
    spread = ", ".join(f"{one:.1f}/{other:.1f}" for one, other in zip(ours, theirs, strict=True))
    return [
        Row(
            "100 MB downloaded, verified, installed",
            f"{core:.2f} s",
            "≤ 1.2×",
            f"curl to disk, synced, and sha256sum {plain:.2f} s",
            core / plain,
            spread,
        ),
        Row("heap while it does", f"peak {heap} MB of {HEAP_MB}", "≤ 32 MB"),
    ]


def curl(operator: Operator, version: int, device: int) -> float:
    """Seconds for the same bytes from the same server, on the disk when it ends, as ours are."""
    signed = httpx.URL(signed_url(ApkVersion.objects.get(pk=version).sha256, device))
    address = f"{operator.api.base_url}{signed.raw_path.decode()}"
    target = DATA_DIR / "curl.apk"
    script = 'set -eo pipefail; curl -sSf "$1" | tee "$2" | sha256sum; sync -d "$2"'
    begun = time.perf_counter()
    subprocess.run(["bash", "-c", script, "-", address, str(target)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def seconds(lines: list[Line], deployment: int) -> float:
    """From the first byte asked for to the package on the device."""
    begun = next(
        line["at"]
        for line in lines
        if line["state"] == "downloading" and line["deployment_id"] == str(deployment)
    )
    done = [line["at"] for line in lines if line["state"] == "installed"][-1]
    return (instant(done) - instant(begun)).total_seconds()


def instant(text: str) -> datetime:
    """Java gives nanoseconds, Python takes microseconds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", text))


def crowd(operator: Operator) -> Row:
    """Memory of a process with a hundred agents that all install, as the kernel counts it."""
    sim = operator.sim(DATA_DIR / "crowd", "crowd", AGENTS, "--package", OTHER)
    with sim, watched(sim) as memory:
        ids = sim.device_ids()
        version = operator.upload(OTHER, 300, SMALL)
        deployment = operator.deploy(version, {"device_ids": ids})
        assert operator.ended(deployment, within=300)["counts"]["succeeded"] == AGENTS
        memory.append(sim.memory_bytes())
    return Row(f"{AGENTS} agents in one process", f"peak {max(memory) / MB:.0f} MB (PSS)", "≤ 256 MB")


@contextmanager
def watched(sim: Sim) -> Iterator[list[int]]:
    """Sizes of the process, looked at whenever it says something."""
    sizes: list[int] = []

    def look(_line: Line) -> None:
        if len(sim.lines) % 20 == 0:
            sizes.append(sim.memory_bytes())

    sim.listener = look
    yield sizes
    sim.listener = None


def tests() -> list[Row]:
    """What the last `make agent-test` took for the core."""
    suites = [ET.parse(path).getroot() for path in Path(CHECKOUT).glob(TEST_REPORTS)]
    if not suites:
        return []
    total = sum(float(suite.attrib["time"]) for suite in suites)
    count = sum(int(suite.attrib["tests"]) for suite in suites)
    return [Row(f"the core's {count} tests", f"{total:.0f} s", "≤ 60 s")]
