"""An install that is reported as done while the app has not been seen to run yet."""

from typing import Any

from django.utils import timezone

from deployments.engine import reaper
from deployments.models import Deployment
from deployments.reading import log_replay
from devices.models import Device
from tests.deployments import scene, stages

NEW = [{"package": scene.PACKAGE, "version_code": 121, "version_name": "1.0.121"}]
OLD = [{"package": scene.PACKAGE, "version_code": 120, "version_name": "1.0.120"}]
RESTART: dict[str, Any] = {"post_install": {"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {}}}}


def at_work(**options: Any) -> stages.Stage:
    """One device that installs, under health_within_min 30."""
    (device,) = scene.devices(1)
    deployment = scene.start([device], **{**stages.RETRIES, "health_within_min": 30, **options})
    assert scene.beat(device)
    scene.report(deployment, device, "installing")
    return deployment, device


def verifying(**options: Any) -> stages.Stage:
    deployment, device = at_work(**options)
    answer = scene.report(deployment, device, "succeeded")
    assert (answer.http_status, answer.body) == (200, NOT_YET)
    return deployment, device


NOT_YET = {"status": "installing", "attempt": 1, "final": False, "cancel": False}


def now_is(deployment: Deployment, device: Device) -> tuple[str, str]:
    assert list(log_replay.differences(deployment.pk)) == []
    task = scene.task(deployment, device)
    return task.status, task.phase or task.error_code


def reap() -> int:
    return reaper.reap(timezone.now())
