"""The build's check of Android's API, with calls that must not pass it: all of android-all compiles silently."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.agent.conftest import ROOT

AGENT = ROOT / "android-agent"
ANNOTATION = "package com.nexmdm.agent.android; public @interface NewerApi { int level(); }"
CALLS = """
package com.example;
import android.content.Context;
import android.content.pm.PackageInstaller;
import com.nexmdm.agent.android.NewerApi;
class Calls {{
    String old(Context context) {{ return context.getPackageName(); }}
    {mark} String hidden() {{ return android.os.SystemProperties.get("ro.build.id"); }}
    {mark} void newer(PackageInstaller.SessionParams params) {{ params.setRequireUserAction(2); }}
}}
"""
CHECK = "<groupId>org.codehaus.mojo</groupId><artifactId>animal-sniffer-maven-plugin</artifactId>"


def complaints(folder: Path, mark: str) -> str:
    """What the check says of these calls in a module of the real build's parent; empty if it lets them pass."""
    for name in ("core", "sim", "platform", "app"):
        (folder / name).mkdir()
        shutil.copy(AGENT / name / "pom.xml", folder / name)
    shutil.copy(AGENT / "pom.xml", folder)
    shutil.copytree(AGENT / "stubs", folder / "stubs", ignore=shutil.ignore_patterns("target"))
    pom = folder / "stubs/pom.xml"
    pom.write_text(pom.read_text().replace("<plugins>", f"<plugins><plugin>{CHECK}</plugin>", 1))
    sources = folder / "stubs/src/main/java/com"
    (sources / "nexmdm/agent/android").mkdir(parents=True)
    (sources / "nexmdm/agent/android/NewerApi.java").write_text(ANNOTATION)
    (sources / "example").mkdir()
    (sources / "example/Calls.java").write_text(CALLS.format(mark=mark))
    command = ["mvn", "-B", "-q", "-f", str(folder / "pom.xml"), "--projects", "stubs", "process-classes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ("Undefined reference" not in done.stdout), done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("mark", "newer_passes"),
    [("", False), ("@NewerApi(level = 31)", True)],
    ids=["unmarked", "marked as newer"],
)
def test_hidden_calls_never_pass_and_newer_ones_only_marked(
    mark: str, newer_passes: bool, tmp_path: Path
) -> None:
    said = complaints(tmp_path, mark)
    assert "android.os.SystemProperties" in said
    assert ("setRequireUserAction" in said) != newer_passes
    assert "getPackageName" not in said
