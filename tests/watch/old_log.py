"""Deployments that ended long ago, with their logs sealed."""

from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from deployments import tick
from deployments.models import Deployment, DeploymentEvent
from mdm.watch import sealing
from tests.deployments import scene

YEAR = timedelta(days=365)


def run(sql: str, *params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def ended(devices: int = 3) -> Deployment:
    """Complete; one device failed first."""
    fleet = scene.devices(devices)
    deployment = scene.start(fleet, failure_pct=100)
    assert scene.beat(fleet[0])
    scene.report(deployment, fleet[0], "failed", error_code="apk_invalid")
    for device in fleet[1:]:
        scene.install(deployment, device)
    tick.advance(deployment.pk)
    assert scene.state(deployment)[0] == "complete"
    return deployment


def long_ago(deployment: Deployment, by: timedelta = YEAR) -> None:
    """As if all of it had happened then. Before it is sealed."""
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        run(
            "UPDATE deployment_event SET created_at = created_at - %s WHERE deployment_id = %s",
            by,
            deployment.pk,
        )
        run("SET LOCAL session_replication_role = origin")
    Deployment.objects.filter(pk=deployment.pk).update(finished_at=timezone.now() - by)


def old(devices: int = 3, by: timedelta = YEAR) -> Deployment:
    deployment = ended(devices)
    long_ago(deployment, by)
    return deployment


def seal(batch: int = 5) -> None:
    """In links so short that a deployment lies in several and several lie in one."""
    before, sealing.BATCH = sealing.BATCH, batch  # type: ignore[misc]
    try:
        while sealing.seal():
            pass
    finally:
        sealing.BATCH = before  # type: ignore[misc]


def events(deployment: Deployment) -> int:
    return DeploymentEvent.objects.filter(deployment=deployment).count()
