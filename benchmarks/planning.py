"""Making a deployment and giving every device its task, and the dry run, which does the same to another table."""

import time
from collections.abc import Callable
from functools import partial

from django.utils import timezone

from apks.models import ApkVersion
from benchmarks import crowd
from benchmarks.ground import running
from benchmarks.table import Row, milliseconds, show
from deployments import tick
from deployments.engine import planner
from deployments.locking import locked
from deployments.models import Deployment
from deployments.operations import dry_run
from deployments.rules.options import DeploymentOptions
from devices.selection import Target
from tests.deployments import scene

ROUNDS = 5
_PLAIN = """INSERT INTO deployment_task (deployment_id, device_id, status, reason, from_version_code, phase, attempt,
        failures, agent_skips, last_error, error_code, post_install, is_canary)
    SELECT %s, id, 'queued', '', 120, '', 0, 0, 0, '', '', '', false FROM device ORDER BY id"""


def timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def dry_run_of(version: ApkVersion) -> None:
    target, options = Target(type="fleet"), DeploymentOptions()
    dry_run.make(scene.admin(), apk_version_id=version.pk, target=target, options=options)


def plan(deployment: Deployment) -> None:
    with locked(deployment.pk) as held:
        planner.plan(held.deployment, timezone.now())


def forget(deployment: Deployment) -> None:
    crowd.run("DELETE FROM deployment_task WHERE deployment_id = %s", [deployment.pk])
    crowd.run("UPDATE deployment SET planned_at = NULL, status = 'queued' WHERE id = %s", [deployment.pk])
    crowd.settle_down()


def of_ten_thousand() -> list[Row]:
    crowd.fleet(10_000)
    made, dry = [], []
    for number in range(ROUNDS):
        version = scene.version(200 + number)
        begun = time.perf_counter()
        deployment = crowd.requested(version, canary=5, rate=1000, concurrency=200)
        tick.advance(deployment.pk)
        made.append(time.perf_counter() - begun)
        assert len(crowd.tasks(deployment)) == 10_000
        dry.append(timed(partial(dry_run_of, version)))
        crowd.run(
            "UPDATE deployment SET status = 'canceled', finished_at = now() WHERE id = %s", [deployment.pk]
        )
    return [
        Row("creating and planning over 10,000 devices", milliseconds(made), "≤ 500 ms"),
        Row("dry run over 10,000 devices", milliseconds(dry), "≤ 500 ms"),
    ]


def of_a_hundred_thousand() -> Row:
    crowd.fleet(100_000)
    ours = crowd.requested(scene.version(300), canary=5, rate=1000, concurrency=200)
    plain = crowd.requested(scene.version(301), canary=5)
    planned, inserted = [], []
    for _ in range(ROUNDS - 2):
        inserted.append(timed(lambda: crowd.run(_PLAIN, [plain.pk])))
        forget(plain)
        planned.append(timed(lambda: plan(ours)))
        forget(ours)
    middle = len(planned) // 2
    return Row(
        "planning 100,000 devices with reasons",
        milliseconds(planned),
        "≤ 2.5×",
        f"INSERT … SELECT of 100,000 rows: {milliseconds(inserted)}",
        sorted(planned)[middle] / sorted(inserted)[middle],
    )


def main() -> None:
    with running("web"):
        show("Planning", [*of_ten_thousand(), of_a_hundred_thousand()])
