from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from deployments.models.deployment import Deployment
from devices.models import Device
from mdm.models import Level


class DeploymentEvent(models.Model):
    """The audit log of one deployment. Append-only by trigger; `meta` has before, after, reason, request id."""

    # The indexes below begin with these two.
    deployment = models.ForeignKey(
        Deployment, on_delete=models.PROTECT, related_name="events", db_index=False
    )
    device = models.ForeignKey(Device, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    level = models.CharField(max_length=5, choices=Level, default=Level.INFO)
    message = models.TextField()
    actor = models.CharField(max_length=160)
    meta = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "deployment_event"
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="deployment_event_level", condition=Q(level__in=Level.values)),
        ]
        indexes: ClassVar = [
            # Timeline of a deployment, newest first.
            models.Index(name="deployment_event_timeline", fields=["deployment", "id"]),
            # The same of the deployment itself, among a hundred thousand events of its devices.
            models.Index(
                name="deployment_event_of_itself",
                fields=["deployment", "id"],
                condition=Q(device__isnull=True),
            ),
            # Timeline of one device.
            models.Index(
                name="deployment_event_of_device", fields=["device", "id"], condition=Q(device__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.message
