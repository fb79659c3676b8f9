from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.db.models.functions import Now

from apks.models import ApkVersion
from devices.models import Device


class DryRun(models.Model):
    """A question answered: who would be updated. `result` = the counts and the forecast as answered. `form`: the
    opened form that asks again and again, "" = a script, which asks once."""

    apk_version = models.ForeignKey(ApkVersion, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    target = models.JSONField()
    options = models.JSONField()
    form = models.CharField(max_length=32, blank=True, default="", db_default="")
    resolved = models.PositiveIntegerField(default=0)
    result = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "dry_run"

    def __str__(self) -> str:
        return f"dry run {self.pk}"


class DryRunDevice(models.Model):
    """How one device was classified. `will_update`, `excluded` or `later`."""

    dry_run = models.ForeignKey(DryRun, on_delete=models.CASCADE, related_name="devices")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+")
    classification = models.CharField(max_length=11)
    reason = models.CharField(max_length=20, blank=True)
    observed = models.CharField(max_length=200, blank=True)
    required = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "dry_run_device"
        constraints: ClassVar = [
            models.UniqueConstraint(name="dry_run_device_once", fields=["dry_run", "device"]),
        ]

    def __str__(self) -> str:
        return f"device {self.device_id} in dry run {self.dry_run_id}"
