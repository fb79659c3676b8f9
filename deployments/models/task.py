from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from apks.models import ApkVersion
from deployments.models.deployment import Deployment
from deployments.rules.states import (
    IN_FLIGHT,
    WAITING,
    Phase,
    TaskStatus,
)
from devices.models import Device


class DeploymentTask(models.Model):
    """One device of a deployment. Every change is one guarded UPDATE.

    `in_flight_until` says that the device is taken: by this task in flight, or by one that was canceled in
    flight until it reports or this old deadline passes. `next_run_at`: of a waiting task, when its retry or
    window comes; of a skipped one, from when it is checked again (null = final). `failures` counts what
    `retry.max` counts, `attempt` numbers the sends and is never used again.
    """

    # Others begin with these; one more index each would be written with every report.
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="tasks", db_index=False)
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="tasks", db_index=False)
    status = models.CharField(max_length=14, choices=TaskStatus, default=TaskStatus.QUEUED)
    phase = models.CharField(max_length=11, choices=Phase, blank=True)
    reason = models.CharField(max_length=20, blank=True, help_text="Stored for skips; else computed.")
    observed = models.CharField(max_length=200, db_default="", help_text="Stored with a final skip.")
    required = models.CharField(max_length=200, db_default="", help_text="Stored with a final skip.")
    observed_at = models.DateTimeField(null=True, help_text="When the device said what was observed.")
    attempt = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    agent_skips = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    acknowledged_failure_at = models.DateTimeField(
        null=True, help_text="Last failure after the agent had it."
    )
    post_install = models.CharField(max_length=6, blank=True)
    verifying_since = models.DateTimeField(
        null=True, help_text="When the success was reported that a heartbeat must still prove."
    )
    shown_at = models.DateTimeField(
        null=True, help_text="Last heartbeat since the send that carried the version."
    )
    progress = models.PositiveSmallIntegerField(null=True)
    is_canary = models.BooleanField(default=False)
    from_version_code = models.IntegerField(null=True)
    installed_version_code = models.IntegerField(null=True)
    next_run_at = models.DateTimeField(null=True)
    recheck_until = models.DateTimeField(null=True, help_text="Deadline of a device that missed a condition.")
    in_flight_until = models.DateTimeField(null=True)
    install_until = models.DateTimeField(
        null=True, help_text="Bound of the attempt as a whole, once acknowledged."
    )
    sent_at = models.DateTimeField(null=True, help_text="Of the latest attempt.")
    acknowledged_at = models.DateTimeField(null=True, help_text="Of the latest attempt.")
    finished_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "deployment_task"
        constraints: ClassVar = [
            models.UniqueConstraint(name="deployment_task_device_once", fields=["deployment", "device"]),
            # An agent does one job at a time, and its own update ends every other.
            models.UniqueConstraint(
                name="deployment_task_one_in_flight",
                fields=["device"],
                condition=Q(in_flight_until__isnull=False),
            ),
            models.CheckConstraint(name="deployment_task_status", condition=Q(status__in=TaskStatus.values)),
            models.CheckConstraint(
                name="deployment_task_in_flight_has_deadline",
                condition=Q(
                    status__in=IN_FLIGHT, in_flight_until__isnull=False, sent_at__isnull=False, attempt__gte=1
                )
                | Q(status=TaskStatus.SKIPPED)
                | (~Q(status__in=IN_FLIGHT) & Q(in_flight_until__isnull=True)),
            ),
            models.CheckConstraint(
                name="deployment_task_phase_in_flight_only",
                condition=Q(phase="") | Q(status=TaskStatus.INSTALLING, phase__in=Phase.values),
            ),
            models.CheckConstraint(
                name="deployment_task_verifying_since",
                condition=~Q(phase=Phase.VERIFYING) | Q(verifying_since__isnull=False),
            ),
            models.CheckConstraint(
                name="deployment_task_skipped_with_reason",
                condition=~Q(status=TaskStatus.SKIPPED) | ~Q(reason=""),
            ),
            models.CheckConstraint(
                name="deployment_task_failed_with_code",
                condition=~Q(status=TaskStatus.FAILED) | ~Q(error_code=""),
            ),
            models.CheckConstraint(
                name="deployment_task_finished_when_final",
                condition=Q(
                    status__in=["succeeded", "failed"], finished_at__isnull=False, next_run_at__isnull=True
                )
                | Q(status="skipped", finished_at__isnull=False, next_run_at__isnull=True)
                | Q(status="skipped", finished_at__isnull=True, next_run_at__isnull=False)
                | Q(status__in=[*WAITING, *IN_FLIGHT], finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="deployment_task_failures_within_attempts", condition=Q(failures__lte=F("attempt"))
            ),
        ]
        indexes: ClassVar = [
            # Counts, candidates and filters of one deployment.
            models.Index(name="deployment_task_by_status", fields=["deployment", "status"]),
            # A heartbeat's question: what is there for this device?
            models.Index(name="deployment_task_by_device", fields=["device", "status"]),
            # The reaper.
            models.Index(
                name="deployment_task_deadlines",
                fields=["in_flight_until"],
                condition=Q(in_flight_until__isnull=False),
            ),
            # Deadlines of devices that missed a condition.
            models.Index(
                name="deployment_task_rechecks",
                fields=["deployment", "recheck_until"],
                condition=Q(status="skipped", next_run_at__isnull=False),
            ),
            # The failure limit counts a handful among 100,000.
            models.Index(
                name="deployment_task_bad",
                fields=["deployment"],
                condition=Q(acknowledged_failure_at__isnull=False),
            ),
            # Whose turn comes before that of the most recently seen.
            models.Index(name="deployment_task_retries", fields=["deployment"], condition=Q(failures__gt=0)),
            # The canary gate likewise.
            models.Index(name="deployment_task_canary", fields=["deployment"], condition=Q(is_canary=True)),
        ]

    def __str__(self) -> str:
        return f"device {self.device_id} in #{self.deployment_id}"


class DeploymentAttempt(models.Model):
    """The ledger of sends: one row each, given-back slots included, so that the 60-second window forgets nothing.

    A task's last attempt is kept for ever, earlier ones of ended deployments as `retention` says.
    """

    # The indexes below begin with these three.
    task = models.ForeignKey(
        DeploymentTask, on_delete=models.PROTECT, related_name="attempts", db_index=False
    )
    deployment = models.ForeignKey(
        Deployment, on_delete=models.PROTECT, related_name="attempts", db_index=False
    )
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+", db_index=False)
    apk_version = models.ForeignKey(ApkVersion, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField()
    transport = models.CharField(max_length=9, choices=[("push", "Push"), ("heartbeat", "Heartbeat")])
    sent_at = models.DateTimeField()
    pushed_at = models.DateTimeField(null=True)
    nudged_at = models.DateTimeField(
        null=True, help_text="When an agent that replaces itself was called once."
    )
    acknowledged_at = models.DateTimeField(null=True)
    installing_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, blank=True)
    error_code = models.CharField(max_length=64, blank=True)

    class Meta:
        db_table = "deployment_attempt"
        constraints: ClassVar = [
            models.UniqueConstraint(name="deployment_attempt_number_once", fields=["task", "number"]),
        ]
        indexes: ClassVar = [
            # How many sends fall into the last 60 seconds.
            models.Index(name="deployment_attempt_window", fields=["deployment", "sent_at"]),
            # The retry budget of one version on one device.
            models.Index(name="deployment_attempt_budget", fields=["device", "apk_version", "sent_at"]),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of task {self.task_id}"
