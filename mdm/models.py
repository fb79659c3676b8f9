from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Level(models.TextChoices):
    INFO = "info", "Info"
    WARN = "warn", "Warning"
    ERROR = "error", "Error"


class ApiToken(models.Model):
    """A personal token for scripts. Only its SHA-256 is kept; the text is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    read_only = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "api_token"
        verbose_name = "API token"
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class AuditEvent(models.Model):
    """What concerns no deployment: uploads, allowlist, switch, flag, tokens. Append-only by trigger."""

    actor = models.CharField(max_length=160)
    action = models.CharField(max_length=60)
    subject_kind = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=60, blank=True)
    level = models.CharField(max_length=5, choices=Level, default=Level.INFO)
    message = models.CharField(max_length=1000)
    meta = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "audit_event"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="audit_event_level", condition=Q(level__in=Level.values)),
        ]
        indexes: ClassVar = [
            # The history of one row, on its admin page.
            models.Index(name="audit_event_subject", fields=["subject_kind", "subject_id", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.message}"


class WorkerBeat(models.Model):
    """When a worker cluster or a ticker last proved that work goes through it, by the database's clock."""

    name = models.CharField(max_length=200, primary_key=True)  # worker-1@host:pid of its supervisor
    part = models.CharField(max_length=10)  # worker or ticker
    beat_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "worker_beat"

    def __str__(self) -> str:
        return self.name


class Throttle(models.Model):
    """Failed attempts of an account or an address; written by mdm.throttle alone."""

    scope = models.CharField(max_length=40)
    key = models.CharField(max_length=80)  # an address, or a digest of the name that was typed
    empty_at = models.DateTimeField()
    noted_at = models.DateTimeField(null=True)  # when the audit log was last told

    class Meta:
        db_table = "throttle"
        verbose_name = "slowed sign-in"
        ordering: ClassVar = ["-empty_at"]
        constraints: ClassVar = [models.UniqueConstraint(name="throttle_once", fields=["scope", "key"])]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"


class Counter(models.Model):
    """How often something has happened since this installation began, over all processes and hosts."""

    name = models.CharField(max_length=40)
    labels = models.JSONField(default=dict)
    total = models.BigIntegerField(default=0)

    class Meta:
        db_table = "counter"
        constraints: ClassVar = [models.UniqueConstraint(name="counter_once", fields=["name", "labels"])]

    def __str__(self) -> str:
        return f"{self.name} {self.labels}: {self.total}"


class RecentCount(models.Model):
    """The same in slots of ten seconds, kept for an hour: what a rate or a share of late is read from."""

    name = models.CharField(max_length=40)
    labels = models.JSONField(default=dict)
    slot = models.DateTimeField()
    count = models.BigIntegerField(default=0)

    class Meta:
        db_table = "recent_count"
        constraints: ClassVar = [
            models.UniqueConstraint(name="recent_count_once", fields=["name", "slot", "labels"])
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.labels} at {self.slot}: {self.count}"
