from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from deployments.models import Deployment
from watch.kinds import CHOICES, KINDS


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
