"""Random histories: several deployments, devices that say anything at any time, people and switches between them.

After each step everything that behaviour §1, §5, §8, §14 and §16 promises must hold.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from deployments import tick
from deployments.engine import measures, reaper
from deployments.models import Deployment, DeploymentAttempt, DeploymentTask
from deployments.operations import beginning, fleet_switch, lifecycle
from deployments.reading import log_replay, summary, task_list
from deployments.rules.options import DeploymentOptions
from deployments.rules.retry import ERROR_CODES
from deployments.rules.states import IN_FLIGHT, LIVE, REASONS, TERMINAL
from devices import changes
from devices.models import Device, Heartbeat
from devices.signals import device_re_enrolled
from mdm.paging import Paging
from mdm.people import Actor
from mdm.problems import Problem
from tests.deployments import scene

DEVICES, DEPLOYMENTS = 5, 3
APPROVAL_ABOVE = 4
ONE = st.integers(0, DEVICES - 1)
WHICH = st.integers(0, DEPLOYMENTS - 1)
STATUSES = st.sampled_from(["received", "downloading", "installing", "succeeded", "failed", "skipped"])
CODES = st.sampled_from(
    [
        *("install_internal", "apk_invalid", "download_network", "not_permitted", "checksum_mismatch"),
        *("battery_low", "outside_window", "canceled", "kill_switch", "already_installed", "nonsense"),
    ]
)
PACKAGES = [scene.PACKAGE, "com.nexmdm.unity"]
OPTIONS = st.fixed_dictionaries(
    {
        "canary": st.integers(0, 2),
        "rate": st.integers(1, 4),
        "concurrency": st.integers(1, 3),
        "retry": st.builds(lambda retries: {"max": retries, "backoff_sec": 1}, st.integers(0, 2)),
        "max_failures": st.sampled_from([None, 2]),
        "deadline_hours": st.sampled_from([0, 1]),
        "canary_timeout_min": st.sampled_from([5, 600]),
        "max_per_group": st.sampled_from([None, 1, 2]),
        "spread_groups": st.sampled_from([None, "shop-*", "shop-2"]),
        "health_within_min": st.sampled_from([None, None, 15]),
        "post_install": st.sampled_from([{}, {"restart_intent": {"action": "com.nexmdm.RESTART"}}]),
    }
)


@contextmanager
def _or_refused() -> Iterator[None]:
    """A refusal is an answer, too."""
    try:
        yield
    except Problem as problem:
        if problem.status not in (403, 409, 422):
            raise


class Histories(RuleBasedStateMachine):
    """Each history runs in a savepoint of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        self.finals: dict[int, str] = {}
        self.sent: set[int] = set()
        self.quiet: dict[int, int] = {}
        self.seen: dict[int, tuple[str, datetime | None]] = {}
        self.beats: Counter[int] = Counter()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.savepoint.__exit__(None, None, None)

    @initialize()
    def a_fleet(self) -> None:
        scene.enable()
        User.objects.get_or_create(username="bob", is_superuser=True)
        self.devices = [
            *scene.devices(2, groups=["shop-1"]),
            *scene.devices(1, groups=["shop-1", "shop-2"]),
            *scene.devices(1, groups=["shop-2", "north"], model="TC57"),
            *scene.devices(1, groups=["shop-2"], sdk_int=20),
        ]
        self.versions = [scene.version(121, package=package) for package in PACKAGES]

    @property
    def deployments(self) -> list[Deployment]:
        return list(Deployment.objects.order_by("id"))

    def _deployment(self, which: int) -> Deployment | None:
        found = self.deployments
        return found[which % len(found)] if found else None

    # --- people ----------------------------------------------------------------------------------------------

    @rule(options=OPTIONS, chosen=st.sets(ONE, min_size=1), package=st.integers(0, 1))
    def start(self, options: dict[str, Any], chosen: set[int], package: int) -> None:
        if len(self.deployments) < DEPLOYMENTS:
            fleet = [self.devices[index] for index in sorted(chosen)]
            with _or_refused():
                scene.ask(fleet, to=self.versions[package], **options)

    @rule(which=WHICH, act=st.sampled_from(["pause", "resume", "cancel"]))
    def move(self, which: int, act: str) -> None:
        if deployment := self._deployment(which):
            with _or_refused():
                getattr(lifecycle, act)(scene.admin(), deployment.pk, reason="a reason")

    @rule(which=WHICH)
    def approve(self, which: int) -> None:
        if deployment := self._deployment(which):
            with _or_refused():
                beginning.approve(Actor.person(User.objects.get(username="bob")), deployment.pk)

    @rule(which=WHICH)
    def faster(self, which: int) -> None:
        deployment = self._deployment(which)
        if deployment and deployment.status in LIVE:
            lifecycle.change_pace(scene.admin(), deployment.pk, rate=5, concurrency=4)

    @rule(
        on=st.sampled_from([False, False, True]),
        which=st.sampled_from(["kill_switch", "deployments_enabled"]),
    )
    def switch(self, on: bool, which: str) -> None:
        wanted = on if which == "kill_switch" else not on
        fleet_switch.change(scene.admin(), reason="drill", **{which: wanted})

    @rule(one=ONE, status=st.sampled_from(["active", "active", "retired"]))
    def retire(self, one: int, status: Any) -> None:
        changes.change(scene.admin(), self.devices[one].pk, changes.DeviceChanges(status=status))

    # --- devices ---------------------------------------------------------------------------------------------

    @rule(one=ONE, battery=st.sampled_from([90, 90, 90, 5]), shows=st.sampled_from([None, None, 120, 121]))
    def beat(self, one: int, battery: int, shows: int | None) -> None:
        installed = {"package": scene.PACKAGE, "version_code": shows}
        self.beats[self.devices[one].pk] += 1
        command = scene.beat(self.devices[one], battery=battery, packages=[installed] if shows else None)
        if command is not None:
            switch = fleet_switch.read()
            assert not switch["kill_switch"]
            task = DeploymentTask.objects.get(
                deployment_id=command["deployment_id"], device=self.devices[one]
            )
            assert (task.status, task.attempt) == ("sending", command["attempt"])

    @rule(one=ONE, which=WHICH, status=STATUSES, code=CODES, ago=st.sampled_from([0, 0, 0, 0, 1, -1, None]))
    def report(self, one: int, which: int, status: str, code: str, ago: int | None) -> None:
        deployment, device = self._deployment(which), self.devices[one]
        task = DeploymentTask.objects.filter(deployment=deployment, device=device).first()
        if deployment is None or task is None:
            return
        attempt = None if ago is None else max(1, task.attempt - ago)
        said = code if status in ("failed", "skipped") else None
        restart = ["ok", "failed", None][one % 3]
        answer = scene.report(
            deployment, device, status, error_code=said, attempt=attempt, post_install=restart
        )
        now = scene.task(deployment, device)
        assert answer.http_status in (200, 409)
        assert (answer.body["status"], answer.body["attempt"]) == (now.status, now.attempt)

    @rule(one=ONE)
    def work(self, one: int) -> None:
        """Whatever the device is at, it finishes."""
        for task in DeploymentTask.objects.filter(device=self.devices[one], status__in=IN_FLIGHT):
            answer = scene.report(task.deployment, self.devices[one], "succeeded")
            assert answer.http_status == 200

    @rule(one=ONE)
    def enrol_anew(self, one: int) -> None:
        device_re_enrolled.send(sender=Device, device_id=self.devices[one].pk)

    # --- time and engine -------------------------------------------------------------------------------------

    @rule(span=st.sampled_from([2, 2, 61, 61, 360, 1200, 7200]))
    def wait(self, span: int) -> None:
        for deployment in self.deployments:
            scene.age(deployment, seconds=span)
        Heartbeat.objects.update(received_at=F("received_at") - timedelta(seconds=span))

    @rule()
    def step(self) -> None:
        reaper.reap(timezone.now())
        for deployment in self.deployments:
            tick.advance(deployment.pk)

    # --- what must hold --------------------------------------------------------------------------------------

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
        stopped = Deployment.objects.filter(status__in=["paused", *TERMINAL]).values_list("pk", flat=True)
        self.quiet = {pk: sent[pk] for pk in stopped}

    @invariant()
    def nothing_of_many_targets_is_sent_before_it_is_approved(self) -> None:
        for deployment in self.deployments:
            if deployment.target.resolved_count > APPROVAL_ABOVE and deployment.bad_version_id is None:
                approved_at = deployment.approved_at
                assert approved_at is not None or not _anybody_sent(deployment)
                assert approved_at is not None or deployment.started_at is None

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
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
