from typing import Any, Final

from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand

from apks import allowlist, publishing
from apks.agent_apk import PACKAGE, agent_apk, demo_key
from apks.dummy_apk import dummy_apk
from apks.models import ApkVersion
from deployments.operations import fleet_switch
from mdm.models import AuditEvent
from mdm.people import SYSTEM

PACKAGES: Final = {PACKAGE: "NexMDM", "com.example.speedtest": "Speedtest"}
# What most of the simulated fleet runs, and what there is to deploy: the agent itself where it was built here, else
# an APK without code.
CODES: Final = (120, 121)
PADDING_BYTES: Final = 2_000_000  # a download that takes a moment


class Command(BaseCommand):
    help = "Prepares a demo: packages on the allowlist, two signed APKs, the flag on once. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        for package, name in PACKAGES.items():
            allowlist.manage_package(SYSTEM, package, name)
        for code in CODES:
            self._publish(code)
        self._enable_once()

    def _publish(self, code: int) -> None:
        if ApkVersion.objects.filter(apk__package_name=PACKAGE, version_code=code).exists():
            return
        key = demo_key()
        apk = agent_apk(code, key) or dummy_apk(
            PACKAGE, code, f"1.0.{code}", key=key, min_sdk=26, padding_bytes=PADDING_BYTES
        )
        publishing.publish(SYSTEM, ContentFile(apk, name=f"nexmdm-{code}.apk"), notes="Made for the demo.")
        self.stdout.write(f"Uploaded NexMDM 1.0.{code}")

    def _enable_once(self) -> None:
        """Never again after anybody has turned the switch, whichever way."""
        if AuditEvent.objects.filter(action="fleet_switch").exists():
            return
        fleet_switch.change(SYSTEM, deployments_enabled=True, reason="Switched on for the demo")
        self.stdout.write("Deployments are switched on for the demo")
