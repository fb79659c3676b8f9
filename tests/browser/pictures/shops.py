"""A fleet for pictures: the tills and kiosks of a few shops, a rollout in the middle of it, an hour old."""

from datetime import timedelta
from itertools import islice
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone

from apks.models import Apk, ApkVersion
from deployments import tick
from deployments.engine.planner import STARTING
from deployments.models import Deployment
from deployments.reading import task_list
from devices.models import Device, Heartbeat
from mdm.paging import Paging
from tests.deployments import scene

CITIES: Final = ("Berlin", "Hamburg", "Madrid", "Porto")
MODELS: Final = ("Zebra TC52", "Lenovo M8", "SM-T225", "Honeywell CT45")
PACKAGE: Final = "com.example.kiosk"
EACH: Final = 60  # devices of a city
DONE, FAILED, AT_WORK = 70, 3, 9
_BROKEN: Final = {"error_code": "install_failed", "error": "INSTALL_FAILED_INTERNAL_ERROR"}


def versions() -> ApkVersion:
    """Kiosk 4.9.0, 4.10.0, and 4.11.0, which is the newest."""
    Apk.objects.get_or_create(
        package_name=PACKAGE,
        defaults={"display_name": "Kiosk", "managed": True, "signer_sha256": "a" * 64},
    )
    ortiz, _ = User.objects.get_or_create(username="m.ortiz", defaults={"is_staff": True})
    codes = {409: "4.9.0", 410: "4.10.0", 411: "4.11.0"}
    for code, name in codes.items():
        made = scene.version(
            code, package=PACKAGE, version_name=name, size_bytes=39_000_000 + code, uploaded_by=ortiz
        )
    return made


def fleet() -> list[Device]:
    """Of each city's devices a few are away, low on battery, on mobile data, or too old for the version."""
    scene.enable()
    found = Device.objects.bulk_create(_device(city, number) for city in CITIES for number in range(EACH))
    Heartbeat.objects.bulk_create(_beat(device, place) for place, device in enumerate(found))
    cache.clear()
    return found


def _device(city: str, number: int) -> Device:
    installed = {"version_code": 409 + (number % 5 > 0), "version_name": "4.10.0" if number % 5 else "4.9.0"}
    if number == 7:
        installed = {"version_code": 411, "version_name": "4.11.0"}
    return Device(
        serial=f"R58N{CITIES.index(city)}{number:05d}",
        alias=f"{city} {number // 20 + 1} {'kiosk' if number % 4 == 0 else 'till'} {number % 20 + 1}",
        model=MODELS[number % len(MODELS)],
        sdk_int=25 if number == 11 else 33,
        abis=["arm64-v8a"],
        max_schema=1,
        groups=[city, f"shop-{city.lower()}-{number // 20 + 1}"],
        tags=["kiosk"] if number % 4 == 0 else ["till"],
        current_versions={PACKAGE: installed},
    )


def _beat(device: Device, place: int) -> Heartbeat:
    seen = timezone.now() - (timedelta(days=2) if place % 17 == 5 else timedelta(seconds=place % 50))
    readings: dict[str, Any] = {**scene.READY, "battery": 12 if place % 13 == 3 else 60 + place % 40}
    if place % 19 == 4:
        readings |= {"network": "cellular", "metered": True}
    return Heartbeat(device=device, **readings, received_at=seen)


def rollout(version: ApkVersion, devices: list[Device], **options: Any) -> Deployment:
    """To the entire fleet: a third of it done over the last three quarters of an hour, a few failed, some at work."""
    wanted = {
        "canary": 5,
        "rate": 60,
        "concurrency": 20,
        "wifi_only": True,
        "retry": {"max": 0, "backoff_sec": 300},
    }
    deployment = scene.start(to=version, **(wanted | options))
    begun = (device for device in _ready(deployment, devices) if scene.beat(device))
    for device in islice(begun, DONE):
        for step in ("received", "downloading", "installing", "succeeded"):
            scene.report(deployment, device, step)
        tick.advance(deployment.pk)
        _older(deployment)
    for device in islice(begun, FAILED):
        scene.report(deployment, device, "failed", **_BROKEN)
    _older(deployment)
    for device in islice(begun, AT_WORK):
        scene.report(deployment, device, "downloading")
    tick.advance(deployment.pk)
    scene.forget_numbers()
    return Deployment.objects.get(pk=deployment.pk)


def _older(deployment: Deployment) -> None:
    """What has been sent so far was sent half a minute ago."""
    scene.age(deployment, seconds=34)


def _ready(deployment: Deployment, devices: list[Device]) -> list[Device]:
    """Those that only wait for their turn, of all cities in turn and of all models: a canary is spread over them."""
    scene.forget_numbers()
    rows = task_list.page(deployment.pk, Paging(page_size=500))["items"]
    waiting = {row["device_id"] for row in rows if row["reason"] in STARTING}
    found = [device for device in devices if device.pk in waiting]
    return sorted(found, key=lambda device: (int(device.serial[-2:]) // len(MODELS), device.pk))


def fail(deployment: Deployment, devices: list[Device]) -> None:
    """More of them fail, until the failure limit holds the rollout."""
    for device in _ready(deployment, devices):
        if scene.state(deployment)[0] == "paused":
            break
        if scene.beat(device):
            scene.report(deployment, device, "failed", **_BROKEN)
        tick.advance(deployment.pk)
        scene.age(deployment, seconds=5)
    assert scene.state(deployment) == ("paused", "failure_rate")
    scene.forget_numbers()
