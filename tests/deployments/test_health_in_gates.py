"""health_within_min: what a device holds meanwhile, what gates see, and a success that comes late."""

from datetime import timedelta

import pytest
from django.utils import timezone

from deployments import tick
from deployments.models import Deployment
from tests.deployments import scene, stages
from tests.deployments.coming_up import NEW, at_work, now_is, reap

pytestmark = pytest.mark.django_db

# --- what it holds, and what gates see -----------------------------------------------------------------------


def test_it_holds_its_slot() -> None:
    first, second = scene.devices(2)
    deployment = scene.start([first, second], concurrency=1, health_within_min=30)
    scene.beat(first)
    scene.report(deployment, first, "succeeded")
    assert scene.beat(second) is None
    assert scene.reason(deployment, second) == "concurrency_limit"
    scene.beat(first, packages=NEW)
    assert scene.beat(second) is not None


def test_the_canary_counts_apps_that_came_up() -> None:
    first, second = scene.devices(2)
    deployment = scene.start([first, second], canary=1, canary_success_pct=100, health_within_min=30)
    scene.beat(first)
    scene.report(deployment, first, "succeeded")
    tick.advance(deployment.pk)
    assert Deployment.objects.get(pk=deployment.pk).canary_state == "collecting"
    assert scene.beat(second) is None
    scene.age(deployment, minutes=31)
    reap()
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "canary_failed")


def test_a_late_success_alone_passes_no_canary() -> None:
    first, second = scene.devices(2)
    deployment = scene.start([first, second], canary=1, health_within_min=30, **stages.RETRIES)
    scene.beat(first)
    scene.report(deployment, first, "failed", error_code="install_internal")
    scene.report(deployment, first, "succeeded")
    tick.advance(deployment.pk)
    assert Deployment.objects.get(pk=deployment.pk).canary_state == "collecting"
    scene.beat(first, packages=NEW)
    tick.advance(deployment.pk)
    assert Deployment.objects.get(pk=deployment.pk).canary_state == "passed"


def test_the_agents_own_silence_ends_with_its_heartbeats() -> None:
    """An update of the agent itself reports nothing: its inventory leads to verifying, the next to success."""
    deployment, device = at_work(step_timeout_min=1)
    scene.age(deployment, minutes=20)
    assert reap() == 0
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("installing", "verifying")
    until = scene.task(deployment, device).in_flight_until
    assert until is not None
    assert timedelta(minutes=29) < until - timezone.now() <= timedelta(minutes=30)
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")


# --- a success that comes when nothing is in flight ----------------------------------------------------------

LATE = {
    "waiting for its retry": "install_internal",
    "failed": "apk_invalid",
    "skipped, to be checked again": "battery_low",
    "skipped for good": "not_permitted",
}


@pytest.mark.parametrize("state", LATE)
def test_a_late_success_counts_with_the_heartbeat_that_shows_it(state: str) -> None:
    deployment, device = at_work()
    status = "skipped" if state.startswith("skipped, ") else "failed"
    scene.report(deployment, device, status, error_code=LATE[state])
    before = scene.task(deployment, device).status
    for _ in range(2):
        answer = scene.report(deployment, device, "succeeded")
        assert (answer.http_status, answer.body["status"]) == (200, before)
    assert scene.task(deployment, device).in_flight_until is None
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")


def test_a_late_inventory_has_to_be_seen_twice() -> None:
    deployment, device = at_work()
    scene.report(deployment, device, "failed", error_code="apk_invalid")
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("failed", "apk_invalid")
    scene.beat(device, packages=NEW)
    assert now_is(deployment, device) == ("succeeded", "")
