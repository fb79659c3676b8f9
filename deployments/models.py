from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from apks.models import Apk, ApkVersion
from deployments.states import (
    IN_FLIGHT,
    WAITING,
    CanaryState,
    DeploymentStatus,
    InstallMode,
    PausedReason,
    Phase,
    TaskStatus,
)
from devices.models import Device
from mdm.models import Level


class Deployment(models.Model):
    """One version on its way to a locked set of devices.

    Written only under its row lock (FOR NO KEY UPDATE; see ARCHITECTURE.md, Locking). `options` is
    deployments.options.DeploymentOptions as JSON. Reports from devices never touch this row.
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


class DeploymentNumbers(models.Model):
    """What was counted last, for everybody who looks; see deployments.shared_numbers. A cache: may be emptied."""

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


class DryRun(models.Model):
    """A question answered: who would be updated. `result` = the counts and the forecast as answered."""

    apk_version = models.ForeignKey(ApkVersion, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    target = models.JSONField()
    options = models.JSONField()
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


class FleetSwitch(models.Model):
    """The one row that stops everything: kill switch and feature flag. Claims hold it FOR SHARE."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    kill_switch = models.BooleanField(default=False)
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
