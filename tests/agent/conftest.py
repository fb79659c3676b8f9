"""The agent's APK as the build leaves it, and signed as the demo signs it."""

import subprocess
from pathlib import Path

import pytest

from apks.dummy_apk import signed
from tests.apks.forging import rsa_key

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "android-agent/app/target"
CHECK = ROOT / "android-agent/app/src/check"
CODES = (120, 121)


def ran(*command: str | Path, **more: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=more.get("cwd", ROOT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"{command} → {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done.stdout


@pytest.fixture(scope="session")
def unsigned() -> dict[int, Path]:
    """By version code. Built only if the sources are newer."""
    ran("make", "agent-apk")
    return {code: TARGET / f"nexmdm-{code}-unsigned.apk" for code in CODES}


@pytest.fixture(scope="session")
def apks(unsigned: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Signed with one key."""
    folder = tmp_path_factory.mktemp("apks")
    made = {}
    for code, path in unsigned.items():
        made[code] = folder / f"nexmdm-{code}.apk"
        made[code].write_bytes(signed(path.read_bytes(), rsa_key("fleet")))
    return made
