"""A bad version that reached some devices, and the way back from it."""

from typing import Any

from apks.models import ApkVersion
from deployments import tick
from deployments.models import Deployment, DeploymentTask
from deployments.operations import rollback
from deployments.operations.rollback import Consent
from devices.models import Device
from tests.deployments import scene

SHOP = "com.example.shop"
NO_RETRY: dict[str, Any] = {"max": 0, "backoff_sec": 1}


def version(code: int, package: str = scene.PACKAGE, **more: Any) -> ApkVersion:
    return scene.version(code, package=package, **more)


def on(package: str, code: int) -> dict[str, Any]:
    return {package: {"version_code": code, "version_name": f"1.0.{code}"}}


def told(package: str, code: int | None) -> list[dict[str, Any]]:
    return [{"package": package, "version_code": code}] if code else []


def tripped(
    fleet: list[Device],
    *,
    package: str = scene.PACKAGE,
    installed: int = 1,
    failed: int = 1,
    **options: Any,
) -> Deployment:
    """121 out to these devices: the first have installed it, the next have failed, and the limit has tripped."""
    chosen = {"max_failures": failed, "retry": NO_RETRY, "failure_pct": 100} | options
    deployment = scene.start(fleet, to=version(121, package), **chosen)
    for device in fleet[:installed]:
        scene.install(deployment, device)
    for device in fleet[installed : installed + failed]:
        assert scene.beat(device)
        scene.report(deployment, device, "failed", error_code="install_internal")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "failure_rate")
    return Deployment.objects.get(pk=deployment.pk)


def go_back(bad: Deployment, **consent: Any) -> Deployment:
    made = Deployment.objects.get(pk=rollback.roll_back(scene.admin(), bad.pk, Consent(**consent)))
    tick.advance(made.pk)
    return Deployment.objects.get(pk=made.pk)


def reached(deployment: Deployment) -> set[int]:
    return set(DeploymentTask.objects.filter(deployment=deployment).values_list("device_id", flat=True))


def rebuilt() -> tuple[ApkVersion, ApkVersion]:
    good = version(120)
    return good, version(122, rebuild_of=good)


def shop_tripped(count: int = 6, installed: int = 4, **options: Any) -> tuple[Deployment, list[Device]]:
    version(120, SHOP)
    fleet = scene.devices(count, current_versions=on(SHOP, 120))
    return tripped(fleet, package=SHOP, installed=installed, **options), fleet
