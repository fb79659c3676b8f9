"""Nothing that the agent uses is hidden or gone in the newest Android, and its table of failures is Android's own."""

import re
from pathlib import Path

import pytest

from tests.agent.conftest import ROOT, ran
from tests.agent.newest_android import is_public, named_constants, touched

AGENT = ROOT / "android-agent"
MODULES = ("platform", "app")
STATUS = AGENT / "core/src/main/kotlin/com/nexmdm/agent/policy/InstallStatus.kt"
FRAMEWORK = Path.home() / ".m2/repository/org/robolectric/android-all"


def test_every_member_of_android_that_the_code_touches_is_public(unsigned: dict[int, Path]) -> None:
    found = touched([AGENT / module / "target/classes" for module in MODULES])
    assert len(found) > 100
    assert sorted(member for member in found if not is_public(member)) == []


def test_every_constant_of_android_that_the_code_names_is_public() -> None:
    found = named_constants([AGENT / module / "src/main" for module in MODULES])
    assert len(found) > 40
    assert sorted(member for member in found if not is_public(member)) == []


@pytest.mark.parametrize(
    ("owner", "member", "public"),
    [
        ("android.os.SystemProperties", "get", False),
        ("android.content.Context", "getUserId", False),
        ("android.content.pm.PackageInstaller.SessionParams", "setInstallAsInstantApp", False),
        ("android.content.pm.PackageManager", "INSTALL_FAILED_ABORTED", False),
        ("android.content.pm.PackageInstaller.SessionParams", "setRequireUserAction", True),
        ("android.app.Activity", "getString", True),  # inherited, twice removed
        ("android.os.Build", "VERSION", True),
    ],
)
def test_the_list_tells_public_from_hidden(owner: str, member: str, public: bool) -> None:
    assert is_public((owner, member)) == public


def test_every_failure_of_the_platform_has_its_place_in_the_agents_table(unsigned: dict[int, Path]) -> None:
    version = re.search(r"<android.version>(.*)<", (AGENT / "pom.xml").read_text())
    assert version
    jar = FRAMEWORK / version[1] / f"android-all-{version[1]}.jar"
    declared = ran("javap", "-p", "-constants", "-cp", jar, "android.content.pm.PackageManager")
    codes = re.findall(r"final int (INSTALL_(?:PARSE_|ACTIVATION_)?FAILED\w*) = (-\d+);", declared)
    assert len(codes) > 50
    known = re.findall(r'Known\((-\d+), "(\w+)"', STATUS.read_text())
    assert {(int(code), name) for name, code in codes} - {(int(code), name) for code, name in known} == set()
    newer = {"INSTALL_FAILED_MULTI_ARCH_NOT_MATCH_ALL_NATIVE_ABIS"}  # of Android 15
    assert {name for _, name in known} - {name for name, _ in codes} == newer


LEVELS = {"P": 28, "Q": 29, "R": 30, "S": 31, "TIRAMISU": 33, "UPSIDE_DOWN_CAKE": 34}
NEWER = re.compile(r"@NewerApi\((\d+)\)\s+(?:private |internal )*fun (?:\w+\.)?(\w+)\(")


def unguarded(source: str) -> list[str]:
    """Calls of what is marked as newer whose nearest check, on that line or the one before, is of another version."""
    lines = source.splitlines()
    found = []
    for level, name in NEWER.findall(source):
        for number, line in enumerate(lines):
            if not re.search(rf"(?<!fun )\b{name}\(", line):
                continue
            checked = re.findall(
                r"SDK_INT >= Build\.VERSION_CODES\.(\w+)", "".join(lines[number - 1 : number + 1])
            )
            if [LEVELS[code] for code in checked[-1:]] != [int(level)]:
                found.append(f"{name}: {line.strip()}")
    return found


def test_every_call_of_what_is_newer_stands_behind_a_check_of_the_version() -> None:
    sources = [path.read_text() for path in sorted((AGENT / "platform/src/main").rglob("*.kt"))]
    assert sum(len(NEWER.findall(source)) for source in sources) >= 8
    assert [call for source in sources for call in unguarded(source)] == []
    marked = "@NewerApi(31)\n    private fun late() = 1\n    fun call() = {}late()"
    assert unguarded(marked.format("")) == ["late: fun call() = late()"]
    assert unguarded(marked.format("if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) ")) != []
    assert unguarded(marked.format("if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) ")) == []
