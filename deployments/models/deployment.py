from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from apks.models import Apk, ApkVersion
from deployments.rules.states import (
    CanaryState,
    DeploymentStatus,
    InstallMode,
    PausedReason,
)


class Deployment(models.Model):
    """One version on its way to a locked set of devices.

    Written only under its row lock (FOR NO KEY UPDATE; see ARCHITECTURE.md, Locking). `options` is
    deployments.rules.options.DeploymentOptions as JSON. Reports from devices never touch this row.
    """

    apk = models.ForeignKey(Apk, on_delete=models.PROTECT, related_name="deployments")
    from_version = models.ForeignKey(ApkVersion, on_delete=models.PROTECT, null=True, related_name="+")
    to_version = models.ForeignKey(ApkVersion, on_delete=models.PROTECT, related_name="deployments")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    options = models.JSONField()
    status = models.CharField(max_length=8, choices=DeploymentStatus, default=DeploymentStatus.QUEUED)
    paused_reason = models.CharField(max_length=17, choices=PausedReason, blank=True)
    paused_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    planned_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    killed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    killed_reason = models.TextField(blank=True)
    feature_flag_snapshot = models.JSONField(default=dict)
    approved_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    approved_at = models.DateTimeField(null=True)
    rollback_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="rollbacks")
    retry_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="retries")
    bad_version = models.ForeignKey(
        ApkVersion,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="What a rollback takes off its devices.",
    )
    install_mode = models.CharField(
        max_length=9, choices=InstallMode, default=InstallMode.UPDATE, db_default=InstallMode.UPDATE
    )
    gate_tripped_at = models.DateTimeField(
        null=True, help_text="When canary or failure limit last said no; since then going back is offered."
    )
    dry_run = models.ForeignKey("DryRun", on_delete=models.SET_NULL, null=True, related_name="deployments")
    # The ledger's clock never runs backwards: a send is at the later of now and this.
    last_sent_at = models.DateTimeField(null=True)
    canary_state = models.CharField(max_length=10, choices=CanaryState, default=CanaryState.NONE)
    canary_decided_at = models.DateTimeField(null=True)
    canary_reached_at = models.DateTimeField(null=True, help_text="Since when the soak runs.")
    # The time-out counts only while running with the window open: a stopwatch, not an interval.
    canary_elapsed_ms = models.BigIntegerField(default=0)
    canary_clock_at = models.DateTimeField(null=True, help_text="Up to when the stopwatch was read.")
    failures_count_from = models.DateTimeField(
        null=True, help_text="Set by an override of the failure limit."
    )
    push_not_before = models.DateTimeField(null=True, help_text="The push service asked to wait.")
    misses_decided_at = models.DateTimeField(
        null=True, help_text="When all devices' turn was last looked at."
    )
    window_marks = models.JSONField(
        default=dict, db_default={}, help_text="Zone (empty = all) -> next opening, as the tasks are marked."
    )
    window_marked_at = models.DateTimeField(null=True, help_text="When all tasks were last marked.")

    class Meta:
        db_table = "deployment"
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [
            ("dry_run_deployment", "Can make dry runs"),
            ("export_deployment", "Can export deployments as CSV"),
            ("start_deployment", "Can start deployments"),
            ("operate_deployment", "Can pause, resume, cancel, retry and change the pace of deployments"),
            ("rollback_deployment", "Can roll deployments back"),
            ("approve_deployment", "Can approve deployments of others"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="deployment_status", condition=Q(status__in=DeploymentStatus.values)),
            models.CheckConstraint(
                name="deployment_canary_state", condition=Q(canary_state__in=CanaryState.values)
            ),
            models.CheckConstraint(
                name="deployment_paused_with_reason",
                condition=Q(status="paused", paused_reason__in=PausedReason.values, paused_at__isnull=False)
                | (~Q(status="paused") & Q(paused_reason="", paused_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="deployment_finished_when_terminal",
                condition=Q(status__in=["complete", "canceled", "failed"], finished_at__isnull=False)
                | (Q(status__in=["queued", "running", "paused"]) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="deployment_running_was_planned",
                condition=~Q(status="running") | Q(planned_at__isnull=False, started_at__isnull=False),
            ),
            models.CheckConstraint(
                name="deployment_not_approved_by_its_starter",
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("created_by")),
            ),
            models.CheckConstraint(
                name="deployment_reinstalls_only_to_go_back",
                condition=Q(install_mode=InstallMode.UPDATE)
                | Q(install_mode=InstallMode.REINSTALL, bad_version__isnull=False),
            ),
            # Pressed twice it happens once; a rollback that was canceled or failed may be followed by another.
            models.UniqueConstraint(
                name="deployment_rolled_back_once",
                fields=["rollback_of"],
                condition=Q(status__in=["queued", "running", "paused", "complete"]),
            ),
            models.UniqueConstraint(
                name="deployment_retried_once", fields=["retry_of"], condition=Q(retry_of__isnull=False)
            ),
        ]
        indexes: ClassVar = [
            # The ticker and the lists of live deployments.
            models.Index(
                name="deployment_live", fields=["id"], condition=Q(status__in=["queued", "running", "paused"])
            ),
            models.Index(name="deployment_by_version", fields=["to_version", "status"]),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.to_version}"


class DeploymentTarget(models.Model):
    """What was asked for: `selection_query` is the target of the request as JSON."""

    class Scope(models.TextChoices):
        FLEET = "fleet", "Entire fleet"
        SELECTION = "selection", "Selected devices"

    deployment = models.OneToOneField(Deployment, on_delete=models.PROTECT, related_name="target")
    scope = models.CharField(max_length=9, choices=Scope)
    selection_query = models.JSONField(default=dict)
    resolved_count = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "deployment_target"
        constraints: ClassVar = [
            models.CheckConstraint(
                name="deployment_target_scope", condition=Q(scope__in=["fleet", "selection"])
            ),
        ]

    def __str__(self) -> str:
        return f"target of #{self.deployment_id}"


class DeploymentNumbers(models.Model):
    """What was counted last, for everybody who looks; see `reading.shared_numbers`. A cache: may be emptied."""

    deployment = models.OneToOneField(
        Deployment, on_delete=models.CASCADE, primary_key=True, related_name="numbers"
    )
    state = models.CharField(max_length=60, help_text="The deployment's own, for which they were counted.")
    as_of = models.DateTimeField()
    done_at = models.DateTimeField()
    took = models.DurationField()
    wanted_at = models.DateTimeField(help_text="When somebody last looked.")
    numbers = models.JSONField()

    class Meta:
        db_table = "deployment_numbers"
        verbose_name = "shared numbers"
        verbose_name_plural = "shared numbers"

    def __str__(self) -> str:
        return f"numbers of #{self.deployment_id}"


class DeploymentBell(models.Model):
    """A rung bell: a worker is on its way to this deployment. Keeps a burst of reports to one job."""

    deployment = models.OneToOneField(
        Deployment, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    rung_at = models.DateTimeField()

    class Meta:
        db_table = "deployment_bell"

    def __str__(self) -> str:
        return f"bell of #{self.deployment_id}"


class StartRequest(models.Model):
    """An Idempotency-Key of a user: a repeat within 24 h gets the first answer."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    body_digest = models.CharField(max_length=64)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "start_request"
        constraints: ClassVar = [
            models.UniqueConstraint(name="start_request_key_once", fields=["user", "key"])
        ]

    def __str__(self) -> str:
        return self.key
