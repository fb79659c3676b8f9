from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from deployments.models import Deployment
from mdm.watch.kinds import CHOICES, KINDS


class AlertState(models.TextChoices):
    OPEN = "open", "Open"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESOLVED = "resolved", "Resolved"


class Alert(models.Model):
    """Something a person should know. `subject` says what it is about: `deployment 7`, `worker-1@host:12`.

    Of one kind and subject at most one is not resolved: raised once, however often its cause is seen.
    """

    kind = models.CharField(max_length=20, choices=CHOICES)
    subject = models.CharField(max_length=200, blank=True)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, null=True, related_name="+")
    state = models.CharField(max_length=12, choices=AlertState, default=AlertState.OPEN)
    message = models.TextField()
    opened_at = models.DateTimeField(db_default=Now())
    acknowledged_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    acknowledged_at = models.DateTimeField(null=True)
    calm_since = models.DateTimeField(null=True, help_text="Since when its cause has been gone.")
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "alert"
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [("acknowledge_alert", "Can acknowledge alerts")]
        constraints: ClassVar = [
            models.CheckConstraint(name="alert_kind", condition=Q(kind__in=list(KINDS))),
            models.CheckConstraint(
                name="alert_state_has_its_times",
                condition=Q(state="open", acknowledged_at__isnull=True, resolved_at__isnull=True)
                | Q(state="acknowledged", acknowledged_at__isnull=False, resolved_at__isnull=True)
                | Q(state="resolved", resolved_at__isnull=False),
            ),
            # Raised once; the banner of every page and each round of the watch read along it, too.
            models.UniqueConstraint(
                name="alert_once", fields=["kind", "subject"], condition=~Q(state="resolved")
            ),
        ]

    def __str__(self) -> str:
        return f"{KINDS[self.kind].title}: {self.message}"

    def facts(self) -> dict[str, Any]:
        """As /v1 and the messages that go out tell it."""
        by = self.acknowledged_by
        return {
            "id": self.pk,
            "kind": self.kind,
            "state": self.state,
            "deployment_id": self.deployment_id,
            "message": self.message,
            "opened_at": self.opened_at,
            "acknowledged_by": by.get_username() if by else None,
            "acknowledged_at": self.acknowledged_at,
            "resolved_at": self.resolved_at,
        }


class AuditSeal(models.Model):
    """One link of the chain over the audit logs (watch.sealing). Append-only by trigger.

    It covers the rows of `stream` with after_id < id <= last_id; `mac` is over all of it and the previous mac.
    """

    number = models.BigIntegerField(primary_key=True)
    stream = models.CharField(max_length=20)
    after_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    rows = models.PositiveIntegerField()
    digests = models.JSONField()
    sealed_at = models.DateTimeField()
    key_id = models.CharField(max_length=8)
    mac = models.CharField(max_length=64)

    class Meta:
        db_table = "audit_seal"
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            # The chain does not fork, and nothing is sealed twice.
            models.UniqueConstraint(name="audit_seal_once", fields=["stream", "last_id"]),
            models.CheckConstraint(name="audit_seal_ahead", condition=Q(last_id__gt=F("after_id"))),
        ]

    def __str__(self) -> str:
        return f"seal {self.number}"


class AuditCut(models.Model):
    """An anchor: a deployment's events of a range that lie in a file, so that they may go (watch.cutting).

    It is made before anything goes, append-only by trigger, and ends where a seal ends. `mac` is over all of it, that
    seal, the file's digest and the previous anchor.
    """

    number = models.BigIntegerField(primary_key=True)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="+", db_index=False)
    after_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    rows = models.PositiveIntegerField()
    file = models.CharField(max_length=200)
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    seal_number = models.BigIntegerField()
    seal_mac = models.CharField(max_length=64)
    cut_at = models.DateTimeField()
    key_id = models.CharField(max_length=8)
    mac = models.CharField(max_length=64)

    class Meta:
        db_table = "audit_cut"
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            # Nothing is cut twice; who asks whether a row may go asks along it.
            models.UniqueConstraint(name="audit_cut_once", fields=["deployment", "last_id"]),
            models.CheckConstraint(name="audit_cut_ahead", condition=Q(last_id__gt=F("after_id"))),
        ]

    def __str__(self) -> str:
        return f"cut {self.number}"

    def text(self, previous_mac: str) -> str:
        """What is signed."""
        cut_us = round(self.cut_at.timestamp() * 1_000_000)
        where = (self.number, self.deployment_id, self.after_id, self.last_id, self.rows)
        what = (self.file, self.size_bytes, self.sha256, self.seal_number, self.seal_mac, cut_us)
        return "\n".join(["cut", previous_mac, *map(str, (*where, *what))])


class LastCut(models.Model):
    """The one row of how moving old events into files went last (watch.cut_troubles)."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    begun_at = models.DateTimeField()
    tries = models.PositiveIntegerField(help_text="How often it has begun since it last came to an end.")
    troubles = models.JSONField(default=list, help_text="What kept events from being moved.")

    class Meta:
        db_table = "last_cut"
        constraints: ClassVar = [models.CheckConstraint(name="last_cut_single", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"cut of {self.begun_at}"


class AlertDelivery(models.Model):
    """One message about an alert on its way through one channel (watch.deliveries)."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        SENT = "sent", "Sent"
        GIVEN_UP = "given_up", "Given up"

    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    event = models.CharField(max_length=8, choices=[("opened", "Opened"), ("resolved", "Resolved")])
    channel = models.CharField(max_length=7, choices=[("email", "E-mail"), ("webhook", "Webhook")])
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(db_default=Now())
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "alert_delivery"
        ordering: ClassVar = ["-id"]
        verbose_name_plural = "alert deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(name="alert_delivery_once", fields=["alert", "event", "channel"]),
        ]
        indexes: ClassVar = [
            # What is due, each few seconds.
            models.Index(
                name="alert_delivery_pending", fields=["channel", "next_try_at"], condition=Q(state="pending")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} by {self.channel}"


class Reading(models.Model):
    """The one row of what the watch saw last (watch.reading)."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    taken_at = models.DateTimeField()
    depth = models.JSONField(default=dict)
    oldest_due = models.DateTimeField(null=True)

    class Meta:
        db_table = "fleet_reading"
        constraints: ClassVar = [models.CheckConstraint(name="fleet_reading_single", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"reading of {self.taken_at}"
