"""Rate and concurrency are exact although three workers push, two web processes claim and workers are killed.

Time is moved, not waited for: whenever the minute is full everything that was sent so far is made older, under
the lock, as if the clock had jumped. So minutes of sends go by in seconds.
"""

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import pytest
from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from deployments import locking
from deployments.models import Deployment, DeploymentAttempt, DeploymentTask
from deployments.reading import log_replay
from tests.concurrency import ledger
from tests.concurrency.processes import Child, as_ever, far_end
from tests.concurrency.rollout import web, worker
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)

DEVICES, RATE, CONCURRENCY = 160, 100, 20
OPTIONS: dict[str, Any] = {
    "failure_pct": 100,
    "ack_timeout_min": 0.5,
    "step_timeout_min": 1.5,
    "retry": {"max": 3, "backoff_sec": 1},
}
WORKERS, WEBS = 3, 2
SENDS_PER_KILL = 20
LOOK_EVERY_SEC = 0.1
PATIENCE_SEC = 150.0


def without_the_lock() -> None:
    """In a child: looks at the deployment and does not lock it."""
    locking.TAKE_DEPLOYMENT = "SELECT 1 FROM deployment WHERE id = %s"


def _make_older(deployments: list[Deployment]) -> None:
    """As if the clock had jumped: locks in the order of everybody, so that no send is left behind."""
    with transaction.atomic(), connection.cursor() as cursor:
        for deployment in deployments:
            cursor.execute(locking.TAKE_DEPLOYMENT, [deployment.pk])
        cursor.execute("SELECT 1 FROM deployment_task ORDER BY id FOR UPDATE")
        seconds = random.uniform(2, 9)
        for deployment in deployments:
            scene.age(deployment, seconds=seconds)


def _broken(deployments: list[Deployment]) -> list[str]:
    """Every limit that the ledger shows to be exceeded."""
    found = []
    for deployment in deployments:
        sends, options = ledger.sends(deployment.pk), deployment.options
        if (peak := ledger.most_per_minute(sends)) > options["rate"]:
            found.append(f"{peak} sends in a minute, allowed are {options['rate']}")
        if (peak := ledger.most_at_once(sends)) > options["concurrency"]:
            found.append(f"{peak} in flight at once, allowed are {options['concurrency']}")
        if pairs := ledger.twice_at_once(sends):
            found.append(f"a device sent to again before its attempt had ended: {pairs}")
    taken = DeploymentTask.objects.filter(in_flight_until__isnull=False).values("device")
    if doubled := taken.annotate(count=Count("id")).filter(count__gt=1):
        found.append(f"two deployments at work on one device: {doubled}")
    return found


class Rollout:
    """Two deployments of different packages, the second to devices of the first, until both are over or a limit
    is broken. `locks`: how the children lock."""

    def __init__(self, locks: Callable[[], None]) -> None:
        self.locks = locks
        self.fleet = scene.devices(DEVICES, fcm_token="token")
        other = scene.version(7, package="com.example.till")
        self.deployments = [
            scene.start(self.fleet, rate=RATE, concurrency=CONCURRENCY, **OPTIONS),
            scene.start(self.fleet[:30], to=other, rate=RATE // 4, concurrency=CONCURRENCY // 4, **OPTIONS),
        ]
        self.ids = [deployment.pk for deployment in self.deployments]
        self.workers: list[Child] = []
        self.crashed: list[Child] = []
        self.kills = 0
        self.broken: list[str] = []

    def run(self, settings: Any) -> Self:
        settings.PUSH_TRANSPORT = "fcm"
        with far_end() as fcm, ExitStack() as ends:
            settings.FCM_ENDPOINT = fcm.url
            parts = [partial(web, self.locks, self.fleet[part::WEBS]) for part in range(WEBS)]
            webs = [ends.enter_context(Child(part)) for part in parts]
            self.workers = [self._worker() for _ in range(WORKERS)]
            ends.callback(self._end_workers)
            self._watch()
            self.crashed += [child for child in webs + self.workers if not child.process.is_alive()]
            self.pushed = fcm.pushed()
        return self

    def _worker(self) -> Child:
        return Child(partial(worker, self.locks, self.ids))

    def _end_workers(self) -> None:
        for child in self.workers:
            child.kill()

    def _watch(self) -> None:
        deadline = time.monotonic() + PATIENCE_SEC
        while self._live() and not self.broken:
            assert time.monotonic() < deadline, [scene.counts(it) for it in self.deployments]
            if DeploymentAttempt.objects.count() > (self.kills + 1) * SENDS_PER_KILL:
                self._kill_one()
            if self._minute_is_full() or not self._waiting():
                _make_older(self.deployments)
            self.broken = _broken(self.deployments)
            time.sleep(LOOK_EVERY_SEC)

    def _kill_one(self) -> None:
        victim = random.randrange(WORKERS)
        if not self.workers[victim].process.is_alive():
            self.crashed.append(self.workers[victim])
        self.workers[victim].kill()
        self.workers[victim] = self._worker()
        self.kills += 1

    def _live(self) -> bool:
        return Deployment.objects.filter(pk__in=self.ids, status="running").exists()

    def _minute_is_full(self) -> bool:
        since = timezone.now() - ledger.MINUTE
        return DeploymentAttempt.objects.filter(deployment=self.ids[0], sent_at__gt=since).count() >= RATE

    def _waiting(self) -> bool:
        waiting = DeploymentTask.objects.filter(
            deployment=self.ids[0], in_flight_until=None, finished_at=None
        )
        return waiting.exists()


def test_no_minute_and_no_moment_has_more_than_allowed_while_workers_are_killed(
    settings: Any,
) -> None:
    rollout = Rollout(as_ever).run(settings)
    assert rollout.broken == []
    assert rollout.crashed == []
    assert rollout.kills >= 6
    sends = ledger.sends(rollout.ids[0])
    assert ledger.most_per_minute(sends) == RATE, "the rate was to be used up"
    assert ledger.most_at_once(sends) == CONCURRENCY, "the places were to be used up"
    assert {send.end is None for send in ledger.sends()} == {False}
    claimed = {(send.deployment, send.device, send.number) for send in ledger.sends()}
    assert len(claimed) == len(ledger.sends())
    assert len(set(rollout.pushed)) == len(rollout.pushed), "an attempt was pushed twice"
    assert set(rollout.pushed) <= claimed
    for deployment in rollout.deployments:
        assert scene.state(deployment) == ("complete", "")
        assert list(log_replay.differences(deployment.pk)) == []
        assert scene.counts(deployment).get("succeeded", 0) >= 0.9 * scene.counts(deployment)["total"]


def test_without_the_lock_the_same_run_breaks_a_limit(settings: Any) -> None:
    rollout = Rollout(without_the_lock).run(settings)
    assert rollout.broken
