"""The main story, end to end through the engine."""

import pytest

from deployments import tick
from deployments.models import DeploymentAttempt
from deployments.reading import summary
from tests.deployments import scene

pytestmark = pytest.mark.django_db


def test_a_selection_without_canary_runs_to_complete() -> None:
    fleet = scene.devices(3)
    deployment = scene.start(fleet)
    for device in fleet:
        scene.install(deployment, device)
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("complete", "")
    assert summary.summary(deployment.pk)["counts"]["succeeded"] == 3
    assert DeploymentAttempt.objects.filter(outcome="succeeded").count() == 3


def test_the_canary_goes_first_and_the_rest_follows_when_it_has_passed() -> None:
    fleet = scene.devices(6)
    deployment = scene.start(canary=2)
    scene.install(deployment, fleet[0])
    scene.install(deployment, fleet[1])
    assert scene.beat(fleet[2]) is not None
    assert scene.task(deployment, fleet[0]).is_canary
    assert not scene.task(deployment, fleet[2]).is_canary


def test_while_the_canary_is_out_nobody_else_is_sent_to() -> None:
    fleet = scene.devices(6)
    deployment = scene.start(canary=2)
    assert scene.beat(fleet[0]) is not None
    assert scene.beat(fleet[1]) is not None
    assert scene.beat(fleet[2]) is None
    reasons = {row["reason"]: row["count"] for row in summary.summary(deployment.pk)["reasons"]}
    assert reasons == {"canary_gate": 4}


def test_a_failed_canary_pauses_the_deployment() -> None:
    fleet = scene.devices(6)
    deployment = scene.start(canary=2, retry={"max": 0, "backoff_sec": 1})
    assert scene.beat(fleet[0]) is not None
    scene.report(deployment, fleet[0], "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "canary_failed")


def test_a_device_with_a_low_battery_is_skipped_and_comes_back_with_a_better_heartbeat() -> None:
    (device,) = scene.devices(1, beat={"battery": 12})
    deployment = scene.start([device])
    assert scene.beat(device, battery=12) is None
    task = scene.task(deployment, device)
    assert (task.status, task.reason) == ("skipped", "battery_low")
    assert task.next_run_at is not None
    assert scene.beat(device, battery=80) is not None
