from typing import ClassVar

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class DeviceStatus(models.TextChoices):
    """A retired device keeps its history and is reached by no deployment."""

    ACTIVE = "active", "Active"
    RETIRED = "retired", "Retired"


class Device(models.Model):
    """What is known of a device and changes rarely. What changes with each beat is in Heartbeat.

    `current_versions` = {package: {"version_code": int, "version_name": str, "signer_sha256": str | absent}},
    the last whole inventory of managed packages plus reported successes; {} = nothing known.
    """

    alias = models.CharField(max_length=120, blank=True)
    serial = models.CharField(max_length=100, unique=True)
    model = models.CharField(max_length=100)
    manufacturer = models.CharField(max_length=100, blank=True)
    external_id = models.CharField(max_length=100, blank=True)
    tags = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    groups = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    current_versions = models.JSONField(default=dict, editable=False)
    sdk_int = models.IntegerField(editable=False)
    abis = ArrayField(models.CharField(max_length=40), default=list, editable=False)
    agent_version = models.CharField(max_length=60, blank=True, editable=False)
    max_schema = models.IntegerField(null=True, editable=False)
    tz = models.CharField(max_length=64, blank=True, editable=False)
    fcm_token = models.CharField(max_length=4096, blank=True, editable=False)
    status = models.CharField(max_length=7, choices=DeviceStatus, default=DeviceStatus.ACTIVE)
    retired_at = models.DateTimeField(null=True, editable=False)
    hold_until = models.DateTimeField(null=True, blank=True, help_text="No install starts before this time.")
    hold_reason = models.CharField(max_length=200, blank=True)
    enrolled_at = models.DateTimeField(db_default=Now(), editable=False)
    enrolled_with = models.ForeignKey(
        "EnrollmentToken", on_delete=models.SET_NULL, null=True, editable=False, related_name="devices"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "device"
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="device_status", condition=Q(status__in=DeviceStatus.values)),
            models.CheckConstraint(
                name="device_retired_since",
                condition=Q(status="retired", retired_at__isnull=False)
                | Q(status="active", retired_at__isnull=True),
            ),
        ]
        indexes: ClassVar = [
            # Selection filters by tag and by group.
            GinIndex(name="device_tags", fields=["tags"]),
            GinIndex(name="device_groups", fields=["groups"]),
            # The zones there are, for windows in each device's own.
            models.Index(name="device_tz", fields=["tz"]),
        ]

    def __str__(self) -> str:
        return self.alias or self.serial


class Heartbeat(models.Model):
    """The last beat of a device: a narrow table without further indexes, so that every beat is a HOT update.

    A null value was never reported; `received_at` null = enrolled, but never heard of since.
    """

    device = models.OneToOneField(
        Device, on_delete=models.CASCADE, primary_key=True, related_name="heartbeat"
    )
    received_at = models.DateTimeField(null=True)
    battery = models.SmallIntegerField(null=True)
    charging = models.BooleanField(null=True)
    network = models.CharField(max_length=8, null=True)  # noqa: DJ001  null = never reported
    metered = models.BooleanField(null=True)
    free_storage_mb = models.IntegerField(null=True)
    doze_exempt = models.BooleanField(null=True)
    in_call = models.BooleanField(null=True)
    in_use = models.BooleanField(null=True)
    device_owner = models.BooleanField(null=True)

    class Meta:
        db_table = "heartbeat"
        constraints: ClassVar = [
            models.CheckConstraint(
                name="heartbeat_battery",
                condition=Q(battery__isnull=True) | Q(battery__gte=0, battery__lte=100),
            ),
            models.CheckConstraint(
                name="heartbeat_network",
                condition=Q(network__isnull=True) | Q(network__in=["wifi", "ethernet", "cellular", "none"]),
            ),
        ]

    def __str__(self) -> str:
        return f"heartbeat of device {self.device_id}"


class EnrollmentToken(models.Model):
    """Exchanged by a device for its own token. Only its SHA-256 is kept; the text is shown once."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    max_uses = models.PositiveIntegerField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0, editable=False)
    tags = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    groups = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    device = models.ForeignKey(
        Device,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="enrollment_tokens",
        help_text="Made for this one known device.",
    )
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "enrollment_token"
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [("issue_enrollmenttoken", "Can issue and revoke enrolment tokens")]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="enrollment_token_uses", condition=Q(max_uses__isnull=True) | Q(uses__lte=F("max_uses"))
            ),
        ]

    def __str__(self) -> str:
        return f"enrolment token {self.pk}"


class DeviceToken(models.Model):
    """A device's credential. `first_used_at` voids the older ones; see devices.tokens."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    first_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "device_token"
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"token {self.pk} of device {self.device_id}"
