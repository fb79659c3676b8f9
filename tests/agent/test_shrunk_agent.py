"""The very code of the APK, shrunk by R8 and turned back into classes, against this server over HTTP.

It proves that the shrinker left what the agent needs. It proves nothing about Android: the ports are a JVM's.
"""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.management import call_command

from apks import allowlist, publishing
from apks.models import ApkArtifact, ApkVersion
from deployments.models import Deployment
from devices.models import Device
from mdm.people import SYSTEM
from tests.agent.conftest import CHECK, ROOT, ran
from tests.apks.forging import rsa_key
from tests.deployments import scene
from tests.factories import enrollment_token

pytestmark = pytest.mark.django_db(transaction=True)

AGENT = ROOT / "android-agent"
# Interfaces with code and what the platform's verifier would otherwise look up for unused branches.
JVM = ("-Xmx128m", "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote")


@pytest.fixture(scope="module")
def shrunk(unsigned: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A classpath: the APK's classes, and a driver that was compiled against the unshrunk ones."""
    folder = tmp_path_factory.mktemp("shrunk")
    ran("/usr/bin/python3", "-I", CHECK / "classes_of_apk.py", unsigned[121], folder / "agent.jar")
    unshrunk = (AGENT / "app/target/runtime-classpath").read_text().strip()
    ran("javac", "-d", folder, "-cp", unshrunk, CHECK / "ShrunkAgent.java")
    return f"{folder}:{folder / 'agent.jar'}"


@pytest.fixture
def versions(apks: dict[int, Path], settings: Any, live_server: Any, tmp_path: Path) -> dict[int, ApkVersion]:
    settings.PUBLIC_URL, settings.CHECKIN_INTERVAL_SEC = live_server.url, 1
    settings.MEDIA_ROOT = tmp_path / "artifacts"
    allowlist.manage_package(SYSTEM, "com.nexmdm", "NexMDM")
    return {
        code: publishing.publish(SYSTEM, ContentFile(path.read_bytes(), name=path.name))[0]
        for code, path in apks.items()
    }


@pytest.fixture
def agent(shrunk: str, versions: Any, live_server: Any, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A device with version 120 that enrols, works off one command and ends."""
    signer = hashlib.sha256(rsa_key("fleet").certificate).hexdigest()
    _, token = enrollment_token()
    given = [live_server.url, token, str(tmp_path), "SHRUNK-1", "120", "121", signer]
    command = ["java", *JVM, "-cp", shrunk, "ShrunkAgent", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield process
        process.kill()


def deployed(agent: subprocess.Popen[str], to: ApkVersion) -> tuple[Deployment, Device]:
    """A deployment to the device, once it has enrolled; the agent has ended by the end of this."""
    assert agent.stdout is not None
    assert agent.stdout.readline() == "enrolled\n"
    device = Device.objects.get(serial="SHRUNK-1")
    restart = {"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {"why": "update", "count": 2}}}
    deployment = scene.start([device], to=to, post_install=restart, retry={"max": 0, "backoff_sec": 1})
    said, _ = agent.communicate(timeout=120)
    assert (agent.returncode, said) == (0, "")
    return deployment, device


def test_it_enrols_downloads_and_reports(agent: Any, versions: dict[int, ApkVersion]) -> None:
    deployment, device = deployed(agent, versions[121])
    task = scene.task(deployment, device)
    assert (task.status, task.attempt, task.error_code) == ("succeeded", 1, "")
    device.refresh_from_db()
    assert device.current_versions["com.nexmdm"]["version_code"] == 121
    assert device.agent_version == "1.0.120"
    call_command("verify_audit", str(deployment.pk))


def test_it_refuses_bytes_that_are_not_those_that_were_ordered(
    agent: Any, versions: dict[int, ApkVersion]
) -> None:
    spoil(versions[121])
    deployment, device = deployed(agent, versions[121])
    task = scene.task(deployment, device)
    assert (task.status, task.error_code) == ("failed", "checksum_mismatch")
    device.refresh_from_db()
    assert device.current_versions["com.nexmdm"]["version_code"] == 120


def spoil(version: ApkVersion) -> None:
    """One byte of the stored file, as a failing disk might."""
    stored = ApkArtifact.objects.get(apk_version=version)
    path = Path(settings.MEDIA_ROOT) / stored.storage_name
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
