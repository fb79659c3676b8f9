"""Receivers: what happens to packages and devices changes live deployments in the same transaction."""

from functools import partial
from typing import Any

from django.db import connection, transaction
from django.dispatch import receiver
from django.utils import timezone

from apks.models import Apk, ApkVersion
from apks.signals import package_unmanaged, version_withdrawn, withdrawal_begins
from deployments.engine import bell, ending, moves, reports
from deployments.locking import SWITCH_LOCK, TAKE_SWITCH
from deployments.models import Deployment, DeploymentTask
from deployments.rules.states import DeploymentStatus, PausedReason
from devices.signals import device_re_enrolled, device_retired
from mdm.people import Actor


@receiver(withdrawal_begins)
def hold_off_claims(sender: object, **kwargs: Any) -> None:
    """The switch before the version's row, in the order in which a rollback takes them."""
    _take_switch()


@receiver(version_withdrawn)
def pause_withdrawn(sender: object, actor: Actor, version: ApkVersion, reason: str, **kwargs: Any) -> None:
    _pause_all(actor, PausedReason.VERSION_WITHDRAWN, reason, to_version_id=version.pk)


@receiver(package_unmanaged)
def pause_unmanaged(sender: object, actor: Actor, apk: Apk, **kwargs: Any) -> None:
    _pause_all(actor, PausedReason.NOT_MANAGED, "", apk_id=apk.pk)


def _pause_all(actor: Actor, why: PausedReason, reason: str, **which: int) -> None:
    """Holds off every claim, as the fleet switch does: nothing is claimed once the request returns."""
    _take_switch()
    now = timezone.now()
    stoppable = (DeploymentStatus.QUEUED, DeploymentStatus.RUNNING)
    live = Deployment.objects.select_for_update(no_key=True).filter(status__in=stoppable, **which)
    for deployment in live.order_by("id"):
        moves.pause(deployment, why, f"{why.label}: {reason}" if reason else why.label, now, actor=actor)


def _take_switch() -> None:
    with connection.cursor() as cursor:
        cursor.execute(TAKE_SWITCH, [SWITCH_LOCK])


@receiver(device_re_enrolled)
def end_attempt(sender: object, device_id: int, **kwargs: Any) -> None:
    reports.end_re_enrolled(device_id)


@receiver(device_retired)
def end_tasks(sender: object, device_id: int, actor: Actor, **kwargs: Any) -> None:
    ending.end_tasks_of_device(device_id, actor, timezone.now())
    caught = DeploymentTask.objects.filter(
        device_id=device_id, status="skipped", in_flight_until__isnull=False
    )
    for deployment_id in caught.values_list("deployment_id", flat=True):
        transaction.on_commit(partial(bell.tell_to_stop, deployment_id))
