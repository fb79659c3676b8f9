"""Random histories: several deployments, devices that say anything at any time, people and switches between them.

After each step everything that behaviour §1, §3 to §5, §8 to §11, §14 and §16 promises must hold.
"""

from collections import Counter
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

import pytest
from django.db import connection
from django.db.models import Q
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from deployments.engine import measures
from deployments.engine.eligibility import SERVER_ZONE
from deployments.models import Deployment, DeploymentAttempt, DeploymentTask
from deployments.reading import log_replay, summary, task_list
from deployments.rules import window as windows
from deployments.rules.options import DeploymentOptions
from deployments.rules.retry import ERROR_CODES, NEVER_BAD
from deployments.rules.states import IN_FLIGHT, REASONS, TERMINAL
from devices.models import Device
from mdm.paging import Paging
from tests.deployments import scene
from tests.deployments.history import Moves

APPROVAL_ABOVE = 4


class Histories(Moves):
    @invariant()
    def a_success_that_must_be_proven_was_shown(self) -> None:
        """Only a heartbeat, or the restart that was still to come after one, ends `verifying` well."""
        for task in DeploymentTask.objects.select_related("deployment"):
            before = self.seen.get(task.pk)
            if task.deployment.options["health_within_min"] and task.status == "succeeded" and before:
                status, shown_at = before
                assert status == "succeeded" or shown_at or self.beats[task.device_id]
            self.seen[task.pk] = (task.status, task.shown_at)
        self.beats.clear()

    @invariant()
    def nobody_is_lost_from_the_counts(self) -> None:
        for deployment in self.deployments:
            counts = summary.counts_by_status([deployment.pk])[deployment.pk]
            assert counts.pop("total") == sum(counts.values()) == deployment.target.resolved_count

    @invariant()
    def limits_hold(self) -> None:
        for deployment in self.deployments:
            options = deployment.options
            at_work = DeploymentTask.objects.filter(deployment=deployment, status__in=IN_FLIGHT)
            assert at_work.count() <= options["concurrency"]
            sends = sorted(deployment.attempts.values_list("sent_at", flat=True))
            for index, sent in enumerate(sends):
                within = [other for other in sends[index:] if other < sent + timedelta(seconds=60)]
                assert len(within) <= options["rate"]

    @invariant()
    def no_send_finds_more_at_work_in_a_group_than_its_deployment_allows(self) -> None:
        ledger = list(DeploymentAttempt.objects.select_related("device", "deployment"))
        for sent in [row for row in ledger if row.pk not in self.sent]:
            limit, pattern = (sent.deployment.options[name] for name in ("max_per_group", "spread_groups"))
            for group in sent.device.groups if limit else ():
                inside = [row for row in ledger if group in row.device.groups]
                meant = fnmatchcase(group, pattern or "*")
                assert not meant or len([row for row in inside if _at_work(row, sent.sent_at)]) <= limit
            _was_allowed(sent)
        self.sent |= {row.pk for row in ledger}

    @invariant()
    def a_device_does_one_job_at_a_time(self) -> None:
        taken = DeploymentTask.objects.filter(in_flight_until__isnull=False).values_list(
            "device_id", flat=True
        )
        assert max(Counter(taken).values(), default=1) == 1

    @invariant()
    def what_is_final_stays_or_succeeds(self) -> None:
        final = {
            task.pk: f"{task.status} {task.reason or task.error_code}"
            for task in DeploymentTask.objects.filter(finished_at__isnull=False)
        }
        for pk, before in self.finals.items():
            assert final.get(pk, "reopened") in (before, "succeeded "), before
        self.finals = final

    @invariant()
    def a_rollback_leaves_nobody_alone_who_may_still_get_the_bad_version(self) -> None:
        alone = DeploymentTask.objects.filter(
            deployment__in=Deployment.objects.exclude(bad_version=None),
            reason__in=("already_installed", "not_affected"),
        )
        for task in alone.exclude(pk__in=self.alone).select_related("deployment"):
            bad = DeploymentAttempt.objects.filter(
                device=task.device_id, apk_version=task.deployment.bad_version_id
            )
            assert not bad.filter(finished_at=None).exists()
            self.alone.add(task.pk)

    @invariant()
    def everybody_has_a_reason_or_needs_none(self) -> None:
        for deployment in self.deployments:
            for row in task_list.page(deployment.pk, Paging(page_size=500))["items"]:
                if row["status"] in ("sending", "installing", "succeeded"):
                    assert row["reason"] is None
                else:
                    assert row["reason"] in REASONS or row["reason"] in ERROR_CODES

    @invariant()
    def the_ledger_has_one_row_for_each_send_and_knows_which_are_open(self) -> None:
        numbers: dict[int, list[tuple[int, str]]] = {}
        for task_id, number, outcome in DeploymentAttempt.objects.order_by("id").values_list(
            "task_id", "number", "outcome"
        ):
            numbers.setdefault(task_id, []).append((number, outcome))
        for task in DeploymentTask.objects.all():
            rows = numbers.get(task.pk, [])
            assert [number for number, _ in rows] == list(range(1, task.attempt + 1))
            assert task.failures <= task.attempt
            still_open = [outcome for _, outcome in rows if not outcome]
            assert len(still_open) == (1 if task.in_flight_until else 0)

    @invariant()
    def nothing_is_sent_while_stopped(self) -> None:
        sent = {deployment.pk: deployment.attempts.count() for deployment in self.deployments}
        for pk, before in self.quiet.items():
            assert sent[pk] == before
        stopped = Deployment.objects.filter(
            Q(status__in=["paused", *TERMINAL]) | Q(apk__managed=False) | ~Q(to_version__withdrawn_at=None)
        )
        self.quiet = {pk: sent[pk] for pk in stopped.values_list("pk", flat=True)}

    @invariant()
    def nobody_is_tried_more_than_ten_times_a_day(self) -> None:
        since = timezone.now() - timedelta(hours=24)
        lately = DeploymentAttempt.objects.filter(sent_at__gt=since).exclude(
            task__error_code="reinstall_incomplete"
        )
        tries = Counter(lately.values_list("device_id", "apk_version_id"))
        assert max(tries.values(), default=0) <= 10

    @invariant()
    def whoever_goes_back_had_the_bad_version_and_nobody_gets_it_any_more(self) -> None:
        for made in Deployment.objects.exclude(rollback_of=None).select_related("rollback_of", "bad_version"):
            assert made.rollback_of is not None
            assert made.rollback_of.status in TERMINAL
            assert made.bad_version is not None
            assert made.bad_version.withdrawn_at is not None
            sent = DeploymentAttempt.objects.filter(apk_version=made.bad_version).values("device_id")
            assert not made.tasks.exclude(device_id__in=sent).exists()

    @invariant()
    def who_stopped_it_is_known_exactly_while_it_is_stopped(self) -> None:
        for deployment in self.deployments:
            stopped = deployment.status == "canceled" or deployment.paused_reason == "kill_switch"
            assert (deployment.killed_by_id is not None) == stopped
            assert bool(deployment.paused_reason) == (deployment.status == "paused")

    @invariant()
    def nothing_of_many_targets_is_sent_before_it_is_approved(self) -> None:
        for deployment in self.deployments:
            if deployment.target.resolved_count > APPROVAL_ABOVE and deployment.bad_version_id is None:
                approved_at = deployment.approved_at
                assert approved_at is not None or not _anybody_sent(deployment)
                assert approved_at is not None or deployment.started_at is None

    @invariant()
    def pages_add_up(self) -> None:
        scene.forget_numbers()
        for deployment in self.deployments:
            said = summary.summary(deployment.pk)
            of_reasons = sum(row["count"] for row in said["reasons"])
            counts = said["counts"]
            assert of_reasons == counts["total"] - sum(counts[name] for name in (*IN_FLIGHT, "succeeded"))

    @invariant()
    def gates_are_consistent(self) -> None:
        for deployment in self.deployments:
            if deployment.canary_state == "collecting":
                size = deployment.options["canary"]
                counts = measures.measure_canary(deployment, DeploymentOptions.from_json(deployment.options))
                assert counts.size <= size
                assert counts.sent <= 2 * size
            if deployment.canary_state in ("failed", "undecided") and deployment.status not in TERMINAL:
                assert deployment.paused_reason == f"canary_{deployment.canary_state}"
            if deployment.status == "complete":
                assert deployment.canary_state in ("none", "passed", "overridden") or not _anybody_sent(
                    deployment
                )

    @invariant()
    def whoever_has_ended_a_deployment_left_nobody_behind(self) -> None:
        left = DeploymentTask.objects.filter(deployment__status__in=TERMINAL, finished_at__isnull=True)
        assert not left.exists()

    @invariant()
    def the_log_tells_the_same_as_the_tables(self) -> None:
        for deployment in self.deployments:
            assert list(log_replay.differences(deployment.pk)) == []


def _was_allowed(sent: DeploymentAttempt) -> None:
    """A send that was just made, held against what is known of device and deployment."""
    device = Device.objects.select_related("heartbeat").get(pk=sent.device_id)
    assert device.status == "active"
    assert device.hold_until is None or device.hold_until <= timezone.now()
    beat, options = device.heartbeat, sent.deployment.options
    window = DeploymentOptions.from_json(options).maintenance_window()
    assert windows.is_open(window, sent.sent_at, windows.device_zone(device.tz, SERVER_ZONE))
    assert beat.received_at is not None
    assert beat.received_at > timezone.now() - timedelta(minutes=15)
    assert (beat.battery, beat.network, bool(beat.in_use)) == (90, "wifi", False)
    assert beat.free_storage_mb == scene.READY["free_storage_mb"]
    if sent.deployment.canary_state == "collecting":
        assert DeploymentTask.objects.get(pk=sent.task_id).is_canary
        places = DeploymentTask.objects.filter(deployment=sent.deployment, is_canary=True)
        assert places.exclude(status="skipped").count() <= options["canary"]
    else:
        _below_the_failure_limit(sent.deployment)


def _below_the_failure_limit(deployment: Deployment) -> None:
    """Counted from the ledger, device by device."""
    options = deployment.options
    since = deployment.failures_count_from or deployment.created_at
    tasks = list(DeploymentTask.objects.filter(deployment=deployment))
    ok = len([task for task in tasks if task.status == "succeeded" and _after(task.finished_at, since)])
    bad = len([task for task in tasks if _is_bad(task, since)])
    assert options["max_failures"] is None or bad < options["max_failures"]
    assert ok + bad < options["failure_min_sample"] or bad * 100 <= options["failure_pct"] * (ok + bad)


def _is_bad(task: DeploymentTask, since: datetime) -> bool:
    if task.status == "succeeded" or (task.status == "skipped" and task.finished_at):
        return False
    failed = task.attempts.filter(outcome="failed", finished_at__gt=since).exclude(acknowledged_at=None)
    if task.status == "failed":
        return task.error_code not in NEVER_BAD and failed.exclude(error_code__in=NEVER_BAD).exists()
    return failed.exclude(error_code__in=NEVER_BAD).exclude(error_code__startswith="download_").exists()


def _after(moment: datetime | None, since: datetime) -> bool:
    return moment is not None and moment > since


def _at_work(row: DeploymentAttempt, at: datetime) -> bool:
    return row.sent_at <= at and (row.finished_at is None or row.finished_at > at)


def _anybody_sent(deployment: Deployment) -> bool:
    return deployment.attempts.exists()


@pytest.mark.django_db
@override_settings(APPROVAL_ABOVE=APPROVAL_ABOVE)
def test_random_histories_keep_every_promise() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=settings.default.max_examples // 10,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
