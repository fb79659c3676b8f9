"""Claims at the same moment, in real transactions: limits hold because they are counted under the lock."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from django.utils import timezone

from deployments import locking, tick
from deployments.engine import dispatch
from deployments.models import Deployment, DeploymentAttempt, DeploymentTask
from deployments.operations import fleet_switch, lifecycle
from devices.models import Device
from tests.deployments import crowd, scene

pytestmark = pytest.mark.django_db(transaction=True)

DEPLOYMENT_ROW = "SELECT 1 FROM deployment WHERE id = ANY(%s) FOR UPDATE"
MANY = 6


def _all_beat(deployments: list[Deployment], fleet: list[Device]) -> int:
    """All heartbeats have had their look and wait for the lock; how many got a command."""
    deeds = [lambda device=device: scene.beat(device) for device in fleet]
    ids = [deployment.pk for deployment in deployments]
    return len([command for command in crowd.behind_a_lock(DEPLOYMENT_ROW, [ids], *deeds) if command])


@pytest.mark.parametrize("limit", ["rate", "concurrency"])
def test_heartbeats_at_once_never_exceed_a_limit(limit: str) -> None:
    fleet = scene.devices(MANY)
    deployment = scene.start(fleet, **{limit: 2})
    assert _all_beat([deployment], fleet) == 2
    assert DeploymentAttempt.objects.count() == 2
    assert DeploymentTask.objects.filter(status="sending").count() == 2


def test_without_the_lock_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: all have counted before any has claimed."""
    fleet = scene.devices(MANY)
    deployment = scene.start(fleet, concurrency=2)
    monkeypatch.setattr(locking, "TAKE_DEPLOYMENT", "SELECT 1 FROM deployment WHERE id = %s")
    rows = "SELECT 1 FROM deployment_task WHERE deployment_id = %s FOR UPDATE"
    deeds = [lambda device=device: scene.beat(device) for device in fleet]
    crowd.behind_a_lock(rows, [deployment.pk], *deeds)
    assert DeploymentTask.objects.filter(status="sending").count() > 2


def test_canary_places_are_not_given_twice() -> None:
    fleet = scene.devices(MANY)
    deployment = scene.start(canary=2)
    assert _all_beat([deployment], fleet) == 2
    assert DeploymentTask.objects.filter(is_canary=True).count() == 2


@pytest.mark.parametrize(
    "meanwhile", [{"hold_until": "2999-01-01T00:00:00Z"}, {"status": "retired"}], ids=str
)
def test_what_a_person_did_after_the_look_holds_the_claim(meanwhile: dict[str, str]) -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    looked = [(scene.task(deployment, device).pk, device.pk)]
    with locking.locked(deployment.pk) as held:
        now = dispatch.turn(held)
        assert now is not None
        Device.objects.update(
            **{"retired_at": timezone.now(), **meanwhile} if "status" in meanwhile else meanwhile
        )
        assert dispatch.claim(now, looked, "push") == []
        Device.objects.update(status="active", retired_at=None, hold_until=None)
        assert len(dispatch.claim(now, looked, "push")) == 1


def test_two_deployments_do_not_take_the_same_device() -> None:
    """Each has its own lock; the device is locked by the one that claims it and passed over by the other."""
    (device,) = scene.devices(1)
    first, second = scene.start([device]), scene.start([device])
    tasks = [scene.task(deployment, device) for deployment in (first, second)]
    claims = crowd.behind_a_lock(
        DEPLOYMENT_ROW,
        [[first.pk, second.pk]],
        *[
            lambda task=task: dispatch.claim_for_heartbeat(task.deployment_id, task.pk, device.pk)
            for task in tasks
        ],
    )
    assert len([claim for claim in claims if claim]) == 1
    assert DeploymentAttempt.objects.count() == 1


def test_steps_at_once_plan_once() -> None:
    scene.enable()
    fleet = scene.devices(MANY)
    deployment = scene.start(fleet)
    DeploymentAttempt.objects.all().delete()
    DeploymentTask.objects.all().delete()
    Deployment.objects.update(status="queued", planned_at=None, started_at=None)
    crowd.at_once(*[lambda: tick.advance(deployment.pk) for _ in range(4)])
    assert DeploymentTask.objects.count() == MANY
    assert scene.state(deployment) == ("running", "")


@pytest.mark.parametrize("stop", ["pause", "cancel", "kill switch"])
def test_nothing_is_claimed_from_the_moment_a_stop_returns(stop: str) -> None:
    fleet = scene.devices(MANY)
    deployment = scene.start(fleet)
    actor = scene.admin()
    stops = {
        "pause": lambda: lifecycle.pause(actor, deployment.pk),
        "cancel": lambda: lifecycle.cancel(actor, deployment.pk),
        "kill switch": lambda: fleet_switch.change(actor, kill_switch=True, reason="drill"),
    }

    def stop_and_count() -> int:
        stops[stop]()
        return DeploymentAttempt.objects.count()

    deeds = [lambda device=device: scene.beat(device) for device in fleet]
    *commands, sent = crowd.at_once(*deeds, stop_and_count)
    assert DeploymentAttempt.objects.count() == sent
    handed_out = len([command for command in commands if command])
    assert handed_out == sent if stop == "pause" else handed_out <= sent
    for device in fleet:
        assert DeploymentAttempt.objects.count() == sent
        scene.beat(device)
    assert DeploymentAttempt.objects.count() == sent


def test_a_claim_that_waited_for_the_lock_is_stamped_after_it() -> None:
    """now() would be the start of its transaction: then the window of 60 seconds would not be exact."""
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(DEPLOYMENT_ROW, [[deployment.pk]])
            command = pool.submit(crowd.alone, lambda: scene.beat(device))
            crowd.wait_for_waiters(1, [command])
            cursor.execute("SELECT clock_timestamp()")
            waiting_still = cursor.fetchone()
        assert command.result(crowd.PATIENCE_SEC)
    sent = DeploymentAttempt.objects.get().sent_at
    assert waiting_still is not None
    assert sent > waiting_still[0]
