"""The numbers of a deployment, counted once for all web processes and everybody who looks.

Counting the reasons of 100,000 devices takes a fifth of a second of the database, too long to be done for each
reader. A reader says that it looks; while somebody does, they are counted again beside the tick, early enough to
be there before the old ones are a second old. A reader that finds them older counts by itself, or waits for who
is counting already: the row's lock lets one count at a time.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from deployments.models import Deployment, DeploymentNumbers

Count = Callable[[Deployment], dict[str, Any]]

FRESH: Final = timedelta(seconds=1)
# Counted again so that the new ones are there at this age of the old ones, but not more often than …
AHEAD: Final = timedelta(milliseconds=750)
PAUSE: Final = timedelta(milliseconds=100)
# A page asks every two seconds; who has not asked for this long has gone. To say so is a write, so not every time.
WATCHED: Final = timedelta(seconds=6)
SAY_AGAIN: Final = timedelta(seconds=3)


def fresh(deployment: Deployment, count: Count) -> dict[str, Any]:
    """The numbers, at most a second old. A change of the deployment's own state makes older ones worthless."""
    stored: DeploymentNumbers | None = getattr(deployment, "numbers", None)  # read with the deployment
    if stored is not None and _holds(stored, deployment):
        if timezone.now() - stored.wanted_at > SAY_AGAIN:
            _say_wanted(deployment)
        return dict(stored.numbers)
    with transaction.atomic():
        if stored is not None:
            row = DeploymentNumbers.objects.select_for_update(no_key=True)
            stored = row.filter(pk=deployment.pk).first()
        if stored is not None and _holds(stored, deployment):
            return dict(stored.numbers)
        return _store(deployment, count, wanted=True)


def keep_fresh(count: Count) -> None:
    """Counts again what somebody looks at and what will be too old soon."""
    now = timezone.now()
    looked_at = DeploymentNumbers.objects.filter(
        wanted_at__gt=now - WATCHED, as_of__lt=now - (AHEAD - F("took")), done_at__lt=now - PAUSE
    )
    for deployment_id in looked_at.order_by("as_of").values_list("pk", flat=True):
        _count_again(deployment_id, count)


def _count_again(deployment_id: int, count: Count) -> None:
    with transaction.atomic():
        free = DeploymentNumbers.objects.select_for_update(no_key=True, skip_locked=True)
        if free.filter(pk=deployment_id).exists():
            related = Deployment.objects.select_related("apk", "to_version__apk", "target")
            _store(related.get(pk=deployment_id), count)


def _holds(stored: DeploymentNumbers, deployment: Deployment) -> bool:
    return stored.state == _state(deployment) and timezone.now() - stored.as_of <= FRESH


def _say_wanted(deployment: Deployment) -> None:
    """Not while they are being counted: the next look says it again."""
    free = DeploymentNumbers.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=deployment.pk)
    with transaction.atomic():
        DeploymentNumbers.objects.filter(pk__in=free).update(wanted_at=timezone.now())


def _store(deployment: Deployment, count: Count, *, wanted: bool = False) -> dict[str, Any]:
    begun = timezone.now()
    numbers = count(deployment)
    DeploymentNumbers.objects.bulk_create(
        [_row(deployment, numbers, begun, timezone.now())],
        update_conflicts=True,
        unique_fields=["deployment"],
        update_fields=["state", "as_of", "done_at", "took", "numbers", *(["wanted_at"] if wanted else [])],
    )
    return numbers


def _row(
    deployment: Deployment, numbers: dict[str, Any], begun: datetime, done: datetime
) -> DeploymentNumbers:
    return DeploymentNumbers(
        deployment=deployment,
        state=_state(deployment),
        as_of=begun,
        done_at=done,
        took=done - begun,
        wanted_at=done,
        numbers=numbers,
    )


def _state(deployment: Deployment) -> str:
    planned = "planned" if deployment.planned_at else "unplanned"
    return f"{deployment.status} {deployment.paused_reason} {planned}"
