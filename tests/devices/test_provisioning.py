"""Android's provisioning payload, as far as the settings know it."""

import base64
import hashlib
import re
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from devices import provisioning
from mdm.environment import checked_download_url, checked_sha256
from tests.deployments.pages import signed_in
from tests.mdm.instance import CHECKOUT


def test_without_settings_the_device_has_to_bring_the_agent() -> None:
    assert provisioning.payload("nxe_x") == {
        "android.app.extra.PROVISIONING_DEVICE_ADMIN_COMPONENT_NAME": "com.nexmdm/com.nexmdm.agent.AdminReceiver",
        "android.app.extra.PROVISIONING_ADMIN_EXTRAS_BUNDLE": {
            "server_url": "http://testserver",
            "enrollment_token": "nxe_x",
        },
    }


def test_the_signer_is_written_as_android_wants_it(settings: Any) -> None:
    digest = hashlib.sha256(b"certificate").digest()
    settings.AGENT_SIGNER_SHA256 = digest.hex()
    settings.AGENT_DOWNLOAD_URL = "https://mdm.example.com/agent.apk"
    found = provisioning.payload("nxe_x")
    checksum = found["android.app.extra.PROVISIONING_DEVICE_ADMIN_SIGNATURE_CHECKSUM"]
    assert "=" not in checksum
    assert base64.urlsafe_b64decode(checksum + "=") == digest
    address = found["android.app.extra.PROVISIONING_DEVICE_ADMIN_PACKAGE_DOWNLOAD_LOCATION"]
    assert address == "https://mdm.example.com/agent.apk"


def test_the_names_are_those_that_the_agent_reads() -> None:
    """Bound to devices in the field on one side, to printed codes on the other."""
    agent = CHECKOUT / "android-agent"
    manifest = (agent / "app/src/main/AndroidManifest.xml").read_text()
    reads = (agent / "core/src/main/kotlin/com/nexmdm/agent/store/Provision.kt").read_text()
    content = provisioning.payload("nxe_x")
    receiver = content[provisioning.COMPONENT].partition("/")[2]
    assert f'android:name="{receiver}"' in manifest
    assert set(re.findall(r'SerialName\("(\w+)"\)', reads)) == set(content[provisioning.EXTRAS])


@pytest.mark.parametrize(
    "url", ["http://mdm.example.com/agent.apk", "ftp://x/a.apk", "agent.apk", "https://"]
)
def test_the_agent_is_downloaded_over_https_only(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="https"):
        checked_download_url(url)


def test_a_signer_is_taken_as_keytool_writes_it() -> None:
    assert checked_sha256("X", ":".join(["AB"] * 32)) == "ab" * 32
    assert checked_sha256("X", "") == ""
    with pytest.raises(ImproperlyConfigured, match="64 hex digits"):
        checked_sha256("X", "ab" * 31)


@pytest.mark.django_db
def test_the_page_says_when_the_device_has_to_bring_the_agent(settings: Any) -> None:
    client = signed_in("fleet admin")
    issue = "/admin/devices/enrollmenttoken/add/"
    assert "with the agent it brings" in client.post(issue, {}).content.decode()
    settings.AGENT_DOWNLOAD_URL, settings.AGENT_SIGNER_SHA256 = "https://mdm.example.com/a.apk", "ab" * 32
    assert "and downloads the agent." in client.post(issue, {}).content.decode()
