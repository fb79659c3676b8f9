"""What the processes of a rollout do: workers that push, web processes that take heartbeats and reports."""

import random
import time
from collections.abc import Callable
from typing import Any

from django.db import connection
from django.utils import timezone

import devices.fcm  # noqa: F401 - once, before the forks, instead of in each of them
from deployments import tasks
from deployments.engine import measures, reaper
from deployments.models import Deployment, DeploymentAttempt, DeploymentTask
from devices.models import Device
from tests.concurrency.processes import Gate
from tests.deployments import scene


def slow_measuring() -> None:
    """Time between measuring and claiming, in which another could do the same."""
    measure = measures.measure_pace

    def slowly(*given: Any) -> measures.Pace:
        found = measure(*given)
        if connection.in_atomic_block:
            time.sleep(random.uniform(0, 0.02))
        return found

    measures.measure_pace = slowly  # type: ignore[assignment]


def worker(locks: Callable[[], None], ids: list[int], _gate: Gate) -> None:
    locks()
    slow_measuring()
    while True:
        reaper.reap(timezone.now())
        for deployment_id in ids:
            tasks.advance(deployment_id)
        time.sleep(0.05)  # leaves the machine to the others


def web(locks: Callable[[], None], fleet: list[Device], _gate: Gate) -> None:
    """What the agents of these devices send: answers to what was pushed, and heartbeats."""
    locks()
    slow_measuring()
    pks = [device.pk for device in fleet]
    while True:
        open_rows = list(DeploymentAttempt.objects.filter(device_id__in=pks, finished_at=None))
        known = [row for row in open_rows if row.pushed_at or row.acknowledged_at]
        for row in known:
            _answer(row)
        lost = [Device(pk=row.device_id) for row in open_rows if row not in known]
        _beat(random.choice(lost or fleet))
        time.sleep(0.02)  # leaves the machine to the others


def _beat(device: Device) -> None:
    """A device that was claimed by its heartbeat, or missed its push, starts at once."""
    if scene.beat(device):
        scene.report(Deployment(pk=_in_flight(device)), device, "received")


def _answer(row: DeploymentAttempt) -> None:
    deployment, device = Deployment(pk=row.deployment_id), Device(pk=row.device_id)
    if row.device_id % 40 == 0 and row.number == 1:
        return  # silent until the deadline gives the place back
    if row.acknowledged_at is None:
        scene.report(deployment, device, "received", attempt=row.number)
    elif random.random() < 0.1:
        scene.report(deployment, device, "failed", error_code="install_internal", attempt=row.number)
    else:
        scene.report(deployment, device, "succeeded", attempt=row.number)


def _in_flight(device: Device) -> int:
    found = DeploymentTask.objects.filter(device=device, in_flight_until__isnull=False)
    return found.values_list("deployment_id", flat=True).first() or 0
