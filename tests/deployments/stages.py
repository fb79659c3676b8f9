"""A deployment of one device, in every state that its task can be in."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from deployments.engine import reaper
from deployments.models import Deployment, DeploymentTask
from deployments.operations import lifecycle
from devices.models import Device
from tests.deployments import scene

Stage = tuple[Deployment, Device]
# Retries at once, so that a second attempt needs no waiting.
RETRIES: dict[str, Any] = {"retry": {"max": 3, "backoff_sec": 1}}


def started() -> Stage:
    (device,) = scene.devices(1)
    return scene.start([device], **RETRIES), device


def sending() -> Stage:
    deployment, device = started()
    assert scene.beat(device)
    return deployment, device


def after(*reports: tuple[str, str | None]) -> Stage:
    deployment, device = sending()
    for status, code in reports:
        scene.report(deployment, device, status, error_code=code)
    return deployment, device


def _canceled() -> Stage:
    deployment, device = after(("received", None))
    lifecycle.cancel(scene.admin(), deployment.pk)
    return deployment, device


def _canceled_and_stopped() -> Stage:
    deployment, device = _canceled()
    scene.report(deployment, device, "skipped", error_code="canceled")
    return deployment, device


def _canceled_and_silent() -> Stage:
    deployment, device = _canceled()
    _reap(deployment)
    return deployment, device


def _canceled_unsent() -> Stage:
    deployment, device = started()
    lifecycle.cancel(scene.admin(), deployment.pk)
    return deployment, device


def _reap(deployment: Deployment) -> None:
    scene.age(deployment, minutes=130)
    reaper.reap(timezone.now())


def _no_answer() -> Stage:
    deployment, device = sending()
    _reap(deployment)
    return deployment, device


def _timed_out() -> Stage:
    deployment, device = after(("received", None))
    _reap(deployment)
    return deployment, device


STATES: dict[str, Callable[[], Stage]] = {
    "never sent": started,
    "sending": sending,
    "received": lambda: after(("received", None)),
    "downloading": lambda: after(("downloading", None)),
    "installing": lambda: after(("installing", None)),
    "waiting for its retry": lambda: after(("failed", "install_internal")),
    "waiting after no answer": _no_answer,
    "waiting after a time-out": _timed_out,
    "waiting as the agent found the window closed": lambda: after(("skipped", "outside_window")),
    "waiting after it stopped as told": lambda: after(("skipped", "kill_switch")),
    "skipped, to be checked again": lambda: after(("skipped", "battery_low")),
    "skipped for good": lambda: after(("failed", "not_permitted")),
    "canceled before it was sent": _canceled_unsent,
    "canceled in flight": _canceled,
    "canceled, stopped as told": _canceled_and_stopped,
    "canceled, silent until its deadline": _canceled_and_silent,
    "failed": lambda: after(("failed", "apk_invalid")),
    "succeeded": lambda: after(("succeeded", None)),
}


def row(deployment: Deployment, device: Device) -> dict[str, Any]:
    """The task's whole row, to see that nothing changed."""
    return DeploymentTask.objects.filter(deployment=deployment, device=device).values().get()
