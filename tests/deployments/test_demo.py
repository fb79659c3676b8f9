"""What a demo finds at its first start, and what a second start leaves alone."""

from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from apks.dummy_apk import dummy_apk
from apks.models import Apk, ApkVersion
from deployments.models import FleetSwitch
from deployments.operations import fleet_switch
from mdm.models import AuditEvent
from mdm.people import SYSTEM
from tests.apks.forging import rsa_key, without_block

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_folder(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.MEDIA_ROOT = tmp_path / "artifacts"
    settings.BASE_DIR = tmp_path  # where no agent was built


def test_the_demo_has_two_signed_versions_of_an_allowed_package_and_the_flag_on() -> None:
    call_command("seed_demo", verbosity=0)
    assert Apk.objects.filter(managed=True).count() == 2
    assert set(ApkVersion.objects.values_list("version_code", flat=True)) == {120, 121}
    assert ApkVersion.objects.values("signer_sha256").distinct().count() == 1
    assert FleetSwitch.objects.get().deployments_enabled
    assert AuditEvent.objects.filter(action="fleet_switch", actor="system").count() == 1


def test_seeding_twice_adds_nothing() -> None:
    call_command("seed_demo", verbosity=0)
    before = (ApkVersion.objects.count(), AuditEvent.objects.count())
    call_command("seed_demo", verbosity=0)
    assert (ApkVersion.objects.count(), AuditEvent.objects.count()) == before


def test_the_flag_stays_off_once_a_person_has_switched_it_off() -> None:
    call_command("seed_demo", verbosity=0)
    fleet_switch.change(SYSTEM, deployments_enabled=False, reason="Not today")
    call_command("seed_demo", verbosity=0)
    assert not FleetSwitch.objects.get().deployments_enabled


def test_where_the_agent_was_built_the_demo_deploys_it(settings: Settings, tmp_path: Path) -> None:
    """What the build leaves is unsigned, and here a stand-in for it; the real one is in tests/agent."""
    built = tmp_path / "android-agent/app/target"
    built.mkdir(parents=True)
    agent = dummy_apk("com.nexmdm", 121, "1.0.121", key=rsa_key("a"), min_sdk=29)
    (built / "nexmdm-121-unsigned.apk").write_bytes(without_block(agent))
    call_command("seed_demo", verbosity=0)
    found = dict(ApkVersion.objects.values_list("version_code", "min_sdk"))
    assert found == {120: 26, 121: 29}
    assert ApkVersion.objects.values("signer_sha256").distinct().count() == 1
