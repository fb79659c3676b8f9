"""Two reports of one device at the same moment, in real transactions: one is taken, the other sees what is true."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from deployments.engine import attempts
from deployments.models import Deployment, DeploymentAttempt, DeploymentEvent
from deployments.operations import fleet_switch, lifecycle
from devices.models import Device
from tests.deployments import crowd, scene, stages

pytestmark = pytest.mark.django_db(transaction=True)

TASK_ROW = "SELECT 1 FROM deployment_task WHERE deployment_id = %s FOR UPDATE"


@pytest.fixture
def at_work() -> stages.Stage:
    return stages.after(("installing", None))


def _both(stage: stages.Stage, *reports: tuple[str, str | None]) -> list[int]:
    """Both have read the task as installing before either may change it."""
    deployment, device = stage
    deeds = [
        lambda status=status, code=code: scene.report(deployment, device, status, error_code=code).http_status
        for status, code in reports
    ]
    return crowd.behind_a_lock(TASK_ROW, [deployment.pk], *deeds)


def _applied(deployment: Deployment) -> list[str]:
    return list(
        DeploymentEvent.objects.filter(deployment=deployment, meta__before="installing")
        .exclude(meta__after="installing")
        .values_list("meta__after", flat=True)
    )


def test_of_two_contrary_failures_exactly_one_is_taken(at_work: stages.Stage) -> None:
    answers = _both(at_work, ("failed", "install_aborted"), ("failed", "apk_invalid"))
    assert sorted(answers) == [200, 409]
    assert len(_applied(at_work[0])) == 1
    assert scene.task(*at_work).failures == 1


def test_the_same_report_twice_at_once_is_one_change(at_work: stages.Stage) -> None:
    assert _both(at_work, ("failed", "apk_invalid"), ("failed", "apk_invalid")) == [200, 200]
    assert _applied(at_work[0]) == ["failed"]
    assert scene.task(*at_work).failures == 1


def test_of_success_and_failure_at_once_the_success_remains(at_work: stages.Stage) -> None:
    """Whichever came first: one is taken from installing, and the device is the truth."""
    success, failure = _both(at_work, ("succeeded", None), ("failed", "apk_invalid"))
    task = scene.task(*at_work)
    assert (success, task.status) == (200, "succeeded")
    taken = _applied(at_work[0])
    assert taken == (["succeeded"] if failure == 409 else ["failed"])
    assert task.failures == (0 if failure == 409 else 1)
    assert DeploymentAttempt.objects.get().outcome == "succeeded"


def test_two_successes_at_once_are_one(at_work: stages.Stage) -> None:
    assert _both(at_work, ("succeeded", None), ("succeeded", None)) == [200, 200]
    assert _applied(at_work[0]) == ["succeeded"]


RESTART = {"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {}}}
NEW = [{"package": scene.PACKAGE, "version_code": 121}]


def _heartbeat_and_restart_at_once() -> stages.Stage:
    """The two last things that a verifying task waits for, both read before either is written."""
    (device,) = scene.devices(1)
    deployment = scene.start([device], health_within_min=30, post_install=RESTART)
    scene.beat(device)
    scene.report(deployment, device, "succeeded")
    crowd.behind_a_lock(
        TASK_ROW,
        [deployment.pk],
        lambda: scene.beat(device, packages=NEW),
        lambda: scene.report(deployment, device, "succeeded", post_install="ok").http_status,
    )
    return deployment, device


def test_the_heartbeat_and_the_restart_that_come_at_once_make_a_success() -> None:
    assert scene.task(*_heartbeat_and_restart_at_once()).status == "succeeded"


def test_without_the_guard_each_of_them_would_wait_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_GUARD", attempts._GUARD.partition("AND post_install")[0])
    task = scene.task(*_heartbeat_and_restart_at_once())
    assert (task.status, task.post_install, task.shown_at is None) == ("installing", "ok", False)


def test_a_success_and_a_cancel_at_once_leave_a_success_or_a_success_after_the_cancel(
    at_work: stages.Stage,
) -> None:
    deployment, device = at_work
    actor = scene.admin()
    crowd.behind_a_lock(
        TASK_ROW,
        [deployment.pk],
        lambda: scene.report(deployment, device, "succeeded").http_status,
        lambda: lifecycle.cancel(actor, deployment.pk),
    )
    assert scene.state(deployment) == ("canceled", "")
    assert scene.task(*at_work).status == "succeeded"


def test_a_success_locks_the_device_before_the_task(at_work: stages.Stage) -> None:
    """Who retires or enrols the device anew holds its row and wants the task: the other order would be a
    deadlock."""
    deployment, device = at_work
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Device.objects.select_for_update(no_key=True).get(pk=device.pk)
            report = pool.submit(
                crowd.alone, lambda: scene.report(deployment, device, "succeeded").http_status
            )
            crowd.wait_for_waiters(1, [report])
            with connection.cursor() as cursor:
                cursor.execute(f"{TASK_ROW} NOWAIT", [deployment.pk])
        assert report.result(crowd.PATIENCE_SEC) == 200


def test_a_report_waits_for_nobody_who_holds_the_deployment_or_the_switch(at_work: stages.Stage) -> None:
    deployment, device = at_work
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        fleet_switch.change(scene.admin(), kill_switch=True, reason="drill")
        report = pool.submit(crowd.alone, lambda: scene.report(deployment, device, "succeeded").http_status)
        assert report.result(crowd.PATIENCE_SEC) == 200
