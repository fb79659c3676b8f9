"""Alerts: raised once, acknowledged by a person, resolved when the cause is gone.

Raising is one INSERT that a partial unique index lets through once, so any number of rounds may try.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from mdm import audit
from mdm.people import Actor
from mdm.problems import Conflict, NotFound
from mdm.watch import deliveries
from mdm.watch.kinds import KINDS
from mdm.watch.models import Alert, AlertState

log = logging.getLogger(__name__)

_RAISE: Final = """INSERT INTO alert (kind, subject, deployment_id, message, state, opened_at)
    VALUES (%s, %s, %s, %s, 'open', clock_timestamp())
    ON CONFLICT (kind, subject) WHERE state <> 'resolved' DO NOTHING RETURNING id"""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an alert of this kind stands, about `subject`, in one sentence."""

    kind: str
    subject: str
    message: str
    deployment_id: int | None = None


def settle(causes: Sequence[Cause], now: datetime) -> None:
    """One round: raises what is new, resolves what has been gone for long enough."""
    with transaction.atomic():
        for cause in causes:
            raise_once(cause)
        standing = {(cause.kind, cause.subject) for cause in causes}
        for alert in unresolved().select_for_update(no_key=True):
            _look_again(alert, (alert.kind, alert.subject) in standing, now)


def raise_once(cause: Cause) -> int | None:
    """The new alert's id, None where it stands already."""
    values = [cause.kind, cause.subject[:200], cause.deployment_id, cause.message]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_RAISE, values)
            row = cursor.fetchone()
        if row is None:
            return None
        deliveries.enqueue(row[0], "opened")
    log.warning("Alert %s: %s", cause.kind, cause.message)
    return int(row[0])


def _look_again(alert: Alert, stands: bool, now: datetime) -> None:
    kind = KINDS[alert.kind]
    if kind.stays_sec is not None:
        if alert.opened_at <= now - timedelta(seconds=kind.stays_sec):
            _resolve(alert, now)
    elif stands:
        if alert.calm_since is not None:
            Alert.objects.filter(pk=alert.pk).update(calm_since=None)
    elif (alert.calm_since or now) <= now - timedelta(seconds=kind.calm_sec):
        _resolve(alert, now)
    elif alert.calm_since is None:
        Alert.objects.filter(pk=alert.pk).update(calm_since=now)


def _resolve(alert: Alert, now: datetime) -> None:
    Alert.objects.filter(pk=alert.pk).update(state=AlertState.RESOLVED, resolved_at=now)
    deliveries.enqueue(alert.pk, "resolved")
    log.info("Alert %s resolved: %s", alert.kind, alert.message)


def unresolved() -> QuerySet[Alert]:
    """In the order in which they were raised."""
    return Alert.objects.exclude(state=AlertState.RESOLVED).order_by("id")


def listed(actor: Actor, states: Iterable[str] = ()) -> QuerySet[Alert]:
    """Newest first, of these states (none = all). Forbidden."""
    actor.require("watch.view_alert")
    found = Alert.objects.select_related("acknowledged_by").order_by("-id")
    wanted = list(states)
    return found.filter(state__in=wanted) if wanted else found


def acknowledge(actor: Actor, alert_id: int) -> Alert:
    """Somebody has seen it; twice is as good as once. NotFound, Forbidden; Conflict where it is resolved."""
    actor.require("watch.acknowledge_alert")
    with transaction.atomic():
        alert = Alert.objects.select_for_update(no_key=True).filter(pk=alert_id).first()
        if alert is None:
            raise NotFound("There is no such alert.")
        if alert.state == AlertState.RESOLVED:
            raise Conflict("The alert is resolved already.", extra={"current_state": alert.state})
        if alert.state == AlertState.OPEN:
            alert.state, alert.acknowledged_at = AlertState.ACKNOWLEDGED, timezone.now()
            alert.acknowledged_by = actor.user
            alert.save(update_fields=["state", "acknowledged_at", "acknowledged_by"])
            audit.record(actor, "alert.acknowledge", alert, f"Acknowledged: {alert}"[:1000])
    return alert
