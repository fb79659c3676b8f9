"""The audit log says enough to rebuild every status, and the rebuilding notices what was done behind its back."""

import pytest
from django.utils import timezone

from deployments import tick
from deployments.engine import reaper
from deployments.models import Deployment, DeploymentAttempt, DeploymentEvent, DeploymentTask
from deployments.operations import fleet_switch, lifecycle
from deployments.reading import log_replay
from devices import changes
from devices.models import Device
from tests.deployments import scene, stages

pytestmark = pytest.mark.django_db


def _differences(deployment: Deployment) -> list[str]:
    return list(log_replay.differences(deployment.pk))


@pytest.mark.parametrize("state", stages.STATES)
def test_the_log_of_a_task_in_any_state_agrees_with_the_table(state: str) -> None:
    deployment, _ = stages.STATES[state]()
    assert _differences(deployment) == []


def test_the_log_of_a_whole_rollout_agrees_with_the_tables() -> None:
    fleet = [*scene.devices(6), *scene.devices(2, sdk_int=20), *scene.devices(1, beat={"battery": 1})]
    deployment = scene.start(canary=1, concurrency=2, retry={"max": 1, "backoff_sec": 1}, max_failures=2)
    scene.install(deployment, fleet[0])
    tick.advance(deployment.pk)
    for device in fleet[1:3]:
        assert scene.beat(device)
        scene.report(deployment, device, "failed", error_code="install_internal")
    tick.advance(deployment.pk)
    lifecycle.change_pace(scene.admin(), deployment.pk, rate=7)
    lifecycle.resume(scene.admin(), deployment.pk, reason="known")
    assert scene.beat(fleet[3])
    assert scene.beat(fleet[4])
    scene.age(deployment, minutes=11)
    reaper.reap(timezone.now())
    changes.change(scene.admin(), fleet[5].pk, changes.DeviceChanges(status="retired"))
    fleet_switch.change(scene.admin(), kill_switch=True, reason="drill")
    lifecycle.cancel(scene.admin(), deployment.pk)
    scene.report(deployment, fleet[3], "succeeded", attempt=1)
    assert _differences(deployment) == []


def test_a_status_changed_behind_the_log_is_found() -> None:
    deployment, device = stages.STATES["failed"]()
    DeploymentTask.objects.update(status="succeeded")
    Deployment.objects.update(status="complete", finished_at=timezone.now())
    assert _differences(deployment) == [
        "the deployment: the log says running, the table complete",
        f"device {device.pk}: the log says failed, the table succeeded",
    ]


def test_a_task_that_vanished_is_found() -> None:
    deployment = scene.start(scene.devices(2))
    assert _differences(deployment) == []
    DeploymentTask.objects.filter(pk=DeploymentTask.objects.all()[0].pk).delete()
    assert _differences(deployment) == ["planned for 2 devices by the log, the table has 1 tasks"]


def test_a_task_with_a_history_that_vanished_is_named() -> None:
    deployment, device = stages.STATES["failed"]()
    DeploymentAttempt.objects.all().delete()
    DeploymentTask.objects.all().delete()
    assert _differences(deployment) == [
        "planned for 1 devices by the log, the table has 0 tasks",
        f"device {device.pk}: the log says failed, the table has no task",
    ]


def _forged(deployment: Deployment, device: Device, before: str, after: str) -> DeploymentEvent:
    meta = {"before": before, "after": after}
    return DeploymentEvent.objects.create(
        deployment=deployment, device=device, message="forged", actor="system", meta=meta
    )


def test_a_gap_in_the_log_is_found() -> None:
    deployment, device = stages.STATES["sending"]()
    forged = _forged(deployment, device, "waiting", "failed")
    DeploymentTask.objects.update(
        status="failed", error_code="internal", in_flight_until=None, finished_at=timezone.now()
    )
    assert _differences(deployment) == [
        f"device {device.pk}: event {forged.pk} begins at waiting, the log before it ends at sending"
    ]


def test_a_move_that_is_not_legal_is_found() -> None:
    deployment, device = stages.STATES["succeeded"]()
    forged = DeploymentEvent.objects.create(
        deployment=deployment,
        device=device,
        message="forged",
        actor="system",
        meta={"before": "succeeded", "after": "waiting"},
    )
    assert _differences(deployment) == [
        f"device {device.pk}: event {forged.pk} moves from succeeded to waiting, which is not legal",
        f"device {device.pk}: the log says waiting, the table succeeded",
    ]


def test_of_very_many_that_differ_the_first_are_explained_and_the_others_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_replay, "EXPLAINED", 1)
    fleet = scene.devices(3)
    deployment = scene.start(fleet)
    DeploymentTask.objects.update(status="succeeded", finished_at=timezone.now())
    assert _differences(deployment) == [
        f"device {fleet[0].pk}: the log says waiting, the table succeeded",
        *(f"device {device.pk}: the log does not lead to what the table says" for device in fleet[1:]),
    ]


def test_a_state_that_no_story_could_hold_is_found() -> None:
    deployment, device = stages.STATES["sending"]()
    forged = _forged(deployment, device, "sending", "x>y z")
    assert _differences(deployment) == [
        f"device {device.pk}: event {forged.pk} moves from sending to x>y z, which is not legal",
        f"device {device.pk}: the log says x>y z, the table sending",
    ]
