"""The device is the truth: successes at any time, what they must match, and what an inventory proves."""

from typing import Any

import pytest

from deployments.models import DeploymentAttempt, DeploymentEvent
from devices.models import Device
from tests.deployments import scene, stages

pytestmark = pytest.mark.django_db


def test_a_success_updates_the_known_version_at_once() -> None:
    _, device = stages.after(("succeeded", None))
    known = Device.objects.get(pk=device.pk).current_versions[scene.PACKAGE]
    assert (known["version_code"], known["version_name"]) == (121, "1.0.121")


@pytest.mark.parametrize(
    "installed",
    [
        {"version_code": 120},
        {"version_code": 122},
        {"version_name": "1.0.120"},
        {"signer_sha256": "b" * 64},
        {"version_code": 121, "signer_sha256": "b" * 64},
        "1.0.120",
        120,
    ],
    ids=repr,
)
def test_success_with_another_version_or_signer_is_a_failure(installed: Any) -> None:
    deployment, device = stages.after(("installing", None))
    answer = scene.report(deployment, device, "succeeded", installed_version=installed)
    task = scene.task(deployment, device)
    assert answer.http_status == 409
    assert (task.status, task.error_code, task.failures) == ("queued", "result_mismatch", 1)
    assert task.acknowledged_failure_at is not None
    assert Device.objects.get(pk=device.pk).current_versions[scene.PACKAGE]["version_code"] == 120


@pytest.mark.parametrize(
    "installed",
    [None, {}, {"version_code": 121}, {"signer_sha256": "A" * 64}, {"version_name": ""}, "1.0.121", 121, ""],
    ids=repr,
)
def test_only_what_is_given_is_compared(installed: Any) -> None:
    deployment, device = stages.after(("installing", None))
    assert scene.report(deployment, device, "succeeded", installed_version=installed).http_status == 200
    assert scene.task(deployment, device).status == "succeeded"


def test_a_key_of_the_proven_lineage_is_no_mismatch() -> None:
    (device,) = scene.devices(1)
    version = scene.version()
    version.signature_info = {"schemes": ["v3"], "lineage": ["b" * 64, "a" * 64]}
    version.save()
    deployment = scene.start([device], to=version)
    assert scene.beat(device)
    said = {"version_code": 121, "signer_sha256": "b" * 64}
    assert scene.report(deployment, device, "succeeded", installed_version=said).http_status == 200


@pytest.mark.parametrize(
    "state", ["failed", "skipped for good", "waiting for its retry", "canceled in flight"]
)
def test_a_late_success_with_another_version_changes_nothing(state: str) -> None:
    deployment, device = stages.STATES[state]()
    before = stages.row(deployment, device)
    assert scene.report(deployment, device, "succeeded", installed_version=120).http_status == 409
    assert stages.row(deployment, device) == before


LATE = [
    "failed",
    "skipped for good",
    "skipped, to be checked again",
    "canceled in flight",
    "waiting after no answer",
]


@pytest.mark.parametrize("state", LATE, ids=lambda state: f"{state}, then a late success")
def test_a_late_success_is_the_truth_with_a_note(state: str) -> None:
    deployment, device = stages.STATES[state]()
    assert scene.report(deployment, device, "succeeded").http_status == 200
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.next_run_at, task.in_flight_until) == ("succeeded", "", None, None)
    note = DeploymentEvent.objects.filter(deployment=deployment, device=device).last()
    assert note is not None
    assert note.message.startswith("Succeeded after all")
    assert DeploymentAttempt.objects.get(deployment=deployment).outcome == "succeeded"


@pytest.mark.parametrize("state", ["failed", "canceled, stopped as told", "skipped, to be checked again"])
def test_unless_a_later_task_has_touched_this_package_on_this_device(state: str) -> None:
    deployment, device = stages.STATES[state]()
    scene.start([device], to=scene.version(122))
    assert scene.beat(device)
    before = stages.row(deployment, device)
    assert scene.report(deployment, device, "succeeded").http_status == 409
    assert stages.row(deployment, device) == before


def test_a_later_task_of_another_package_does_not_matter() -> None:
    deployment, device = stages.STATES["failed"]()
    scene.start([device], to=scene.version(7, package="com.nexmdm.unity"))
    assert scene.beat(device)
    assert scene.report(deployment, device, "succeeded").http_status == 200


def test_a_later_deployment_that_sent_nothing_does_not_matter() -> None:
    deployment, device = stages.STATES["failed"]()
    scene.start([device], to=scene.version(122))
    assert scene.report(deployment, device, "succeeded").http_status == 200


# --- the inventory -------------------------------------------------------------------------------------------


def _shows(device: Device, code: int = 121, **more: Any) -> dict[str, Any] | None:
    return scene.beat(device, packages=[{"package": scene.PACKAGE, "version_code": code, **more}])


@pytest.mark.parametrize("state", ["sending", "installing", *LATE, "waiting for its retry"])
def test_an_inventory_that_shows_the_version_is_a_success(state: str) -> None:
    deployment, device = stages.STATES[state]()
    assert _shows(device) is None
    task = scene.task(deployment, device)
    assert (task.status, task.installed_version_code, task.in_flight_until) == ("succeeded", 121, None)


@pytest.mark.parametrize("hours", [23.9, 24.1])
def test_an_inventory_proves_a_success_for_24_hours_after_the_send(hours: float) -> None:
    deployment, device = stages.STATES["failed"]()
    scene.age(deployment, hours=hours)
    _shows(device)
    assert scene.task(deployment, device).status == ("succeeded" if hours < 24 else "failed")


def test_an_inventory_with_another_signer_proves_nothing() -> None:
    deployment, device = stages.STATES["failed"]()
    _shows(device, signer_sha256="b" * 64)
    assert scene.task(deployment, device).status == "failed"


@pytest.mark.parametrize("packages", [[], [{"package": scene.PACKAGE, "version_code": 120}]])
def test_an_inventory_without_the_version_does_not_touch_what_is_final(packages: list[Any]) -> None:
    deployment, device = stages.STATES["succeeded"]()
    scene.beat(device, packages=packages)
    assert scene.task(deployment, device).status == "succeeded"


def test_an_inventory_of_a_device_that_was_never_sent_to_is_no_success() -> None:
    deployment, device = stages.started()
    assert _shows(device) is None
    task = scene.task(deployment, device)
    assert (task.status, task.reason) == ("skipped", "already_installed")


def test_an_inventory_does_not_revive_a_task_that_a_later_one_has_touched() -> None:
    deployment, device = stages.STATES["failed"]()
    later = scene.start([device], to=scene.version(122))
    assert scene.beat(device)
    _shows(device)
    assert scene.task(deployment, device).status == "failed"
    assert scene.task(later, device).status == "sending"
