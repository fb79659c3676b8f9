"""A deployment of one device, in every state that its task can be in."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from apks import allowlist
from deployments import tick
from deployments.engine import reaper
from deployments.models import Deployment, DeploymentTask
from deployments.operations import fleet_switch, lifecycle
from devices import changes
from devices.models import Device
from devices.signals import device_re_enrolled
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


def _retired() -> Stage:
    deployment, device = after(("received", None))
    changes.change(scene.admin(), device.pk, changes.DeviceChanges(status="retired"))
    return deployment, device


def _enrolled_anew() -> Stage:
    deployment, device = after(("received", None))
    device_re_enrolled.send(sender=Device, device_id=device.pk)
    return deployment, device


def _called_back() -> Stage:
    device, other = scene.devices(2)
    deployment = scene.start([device, other], max_failures=1, **RETRIES)
    assert scene.beat(device)
    assert scene.beat(other)
    scene.report(deployment, other, "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "failure_rate")
    return deployment, device


def _while_the_switch_is_on() -> Stage:
    deployment, device = after(("received", None))
    fleet_switch.change(scene.admin(), kill_switch=True, reason="drill")
    return deployment, device


def _of_a_withdrawn_version() -> Stage:
    deployment, device = after(("received", None))
    allowlist.withdraw(scene.admin(), deployment.to_version_id, "bad")
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
    "retired in flight": _retired,
    "enrolled anew in flight": _enrolled_anew,
    "called back by a gate": _called_back,
    "at work while the switch is on": _while_the_switch_is_on,
    "at work on a withdrawn version": _of_a_withdrawn_version,
    "failed": lambda: after(("failed", "apk_invalid")),
    "succeeded": lambda: after(("succeeded", None)),
}


def row(deployment: Deployment, device: Device) -> dict[str, Any]:
    """The task's whole row, to see that nothing changed."""
    return DeploymentTask.objects.filter(deployment=deployment, device=device).values().get()
