from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class FleetSwitch(models.Model):
    """The one row that stops everything: kill switch and feature flag. Claims hold it FOR SHARE."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    kill_switch = models.BooleanField(default=False)
    kill_switch_since = models.DateTimeField(
        null=True, help_text="When it was turned on; null while it is off."
    )
    deployments_enabled = models.BooleanField(default=False)
    reason = models.TextField(blank=True)
    changed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "fleet_switch"
        verbose_name = "kill switch and feature flag"
        verbose_name_plural = "kill switch and feature flag"
        permissions: ClassVar = [
            ("engage_kill_switch", "Can turn the kill switch on"),
            ("release_kill_switch", "Can turn the kill switch off"),
            ("change_flag", "Can change the feature flag"),
        ]
        constraints: ClassVar = [models.CheckConstraint(name="fleet_switch_single", condition=Q(id=1))]

    def __str__(self) -> str:
        return "kill switch and feature flag"
