"""Trying again: whom, when, and once."""

import pytest

from apks import allowlist
from deployments import tick
from deployments.models import Deployment, DeploymentEvent, DeploymentTask
from deployments.operations import fleet_switch, lifecycle, retrying, rollback
from deployments.operations.rollback import Consent
from deployments.reading import log_replay, summary
from mdm.people import Actor
from mdm.problems import Conflict, Forbidden, Invalid, NotFound, Problem
from tests.deployments import scene
from tests.factories import member

pytestmark = pytest.mark.django_db


def finished(**options: object) -> Deployment:
    """One device succeeded, one failed, one is at 1 % and was not checked again."""
    fleet = [*scene.devices(2), *scene.devices(1, beat={"battery": 1})]
    chosen = {"retry": {"max": 0, "backoff_sec": 1}, "deadline_hours": 0, "failure_pct": 100} | options
    deployment = scene.start(fleet, **chosen)
    scene.install(deployment, fleet[0])
    assert scene.beat(fleet[1])
    scene.report(deployment, fleet[1], "failed", error_code="install_internal")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("complete", "")
    return Deployment.objects.get(pk=deployment.pk)


def again(first: Deployment) -> Deployment:
    made = retrying.retry(scene.admin(), first.pk)
    tick.advance(made)
    return Deployment.objects.get(pk=made)


def test_it_is_tried_again_on_those_that_failed_or_were_skipped_with_the_same_options() -> None:
    first = finished(rate=77)
    made = again(first)
    left = DeploymentTask.objects.filter(deployment=first, status__in=("failed", "skipped"))
    tried = DeploymentTask.objects.filter(deployment=made)
    assert set(tried.values_list("device", flat=True)) == set(left.values_list("device", flat=True))
    assert (made.options, made.to_version, made.target.resolved_count) == (first.options, first.to_version, 2)


def test_both_are_linked_and_say_so_in_their_logs() -> None:
    first = finished()
    made = again(first)
    assert summary.summary(made.pk)["retry_of"] == first.pk
    assert summary.summary(first.pk)["retried_by"] == made.pk
    event = DeploymentEvent.objects.get(deployment=first, meta__retry=made.pk)
    assert (event.actor, event.meta["count"]) == ("user:ada", 2)
    assert DeploymentEvent.objects.filter(deployment=made, meta__retry_of=first.pk).count() == 1
    for deployment in (first, made):
        assert list(log_replay.differences(deployment.pk)) == []


def test_a_second_press_is_told_of_the_first() -> None:
    first = finished()
    made = again(first)
    with pytest.raises(Conflict, match=f"already, by deployment #{made.pk}") as refused:
        again(first)
    assert refused.value.extra == {"current_status": "complete", "deployment_id": made.pk}


def test_one_that_still_runs_is_not_tried_again() -> None:
    deployment = scene.start(scene.devices(1))
    with pytest.raises(Conflict) as refused:
        again(deployment)
    assert refused.value.extra == {"current_status": "running"}


def test_a_stale_view_is_told_the_state() -> None:
    with pytest.raises(Conflict) as refused:
        retrying.retry(scene.admin(), finished().pk, expected_status="canceled")
    assert refused.value.extra == {"current_status": "complete"}


def test_where_nobody_is_left_there_is_nothing_to_try_again() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    scene.install(deployment, device)
    tick.advance(deployment.pk)
    with pytest.raises(Conflict, match="No device"):
        again(deployment)


def test_a_canceled_one_is_tried_again_on_its_canceled_devices() -> None:
    deployment = scene.start(scene.devices(3))
    lifecycle.cancel(scene.admin(), deployment.pk)
    assert again(deployment).target.resolved_count == 3


def _withdrawn(first: Deployment) -> None:
    allowlist.withdraw(scene.admin(), first.to_version_id, "bad")


def _unmanaged(_: Deployment) -> None:
    allowlist.unmanage_package(scene.admin(), scene.PACKAGE)


def _killed(_: Deployment) -> None:
    fleet_switch.change(scene.admin(), kill_switch=True, reason="drill")


def _flag_off(_: Deployment) -> None:
    fleet_switch.change(scene.admin(), deployments_enabled=False, reason="drill")


def _window_over(first: Deployment) -> None:
    window = {"start_iso": "2020-01-01T00:00:00+00:00", "end_iso": "2020-01-02T00:00:00+00:00"}
    Deployment.objects.filter(pk=first.pk).update(options=first.options | {"window": window})


@pytest.mark.parametrize(
    ("prevented", "problem"),
    [
        (_withdrawn, Conflict),
        (_unmanaged, Invalid),
        (_killed, Conflict),
        (_flag_off, Forbidden),
        (_window_over, Invalid),
    ],
)
def test_what_prevents_a_start_prevents_a_retry(prevented: object, problem: type[Problem]) -> None:
    first = finished()
    assert callable(prevented)
    prevented(first)
    with pytest.raises(problem):
        again(first)
    assert Deployment.objects.count() == 1


def test_a_viewer_may_not_and_an_operator_may() -> None:
    first = finished()
    with pytest.raises(Forbidden):
        retrying.retry(Actor.person(member("viewer")), first.pk)
    assert retrying.retry(Actor.person(member("operator")), first.pk)


def test_there_is_no_such_deployment() -> None:
    with pytest.raises(NotFound):
        retrying.retry(scene.admin(), 4711)


def test_a_rollback_is_tried_again_as_a_rollback() -> None:
    shop, fleet = "com.example.shop", scene.devices(3)
    for device in fleet:
        scene.beat(device, packages=[{"package": shop, "version_code": 120}])
    scene.version(120, package=shop)
    bad = scene.start(
        fleet, to=scene.version(121, package=shop), max_failures=1, retry={"max": 0, "backoff_sec": 1}
    )
    scene.install(bad, fleet[0])
    assert scene.beat(fleet[1])
    scene.report(bad, fleet[1], "failed", error_code="install_internal")
    tick.advance(bad.pk)
    consent = Consent(accept_data_loss=True, confirm_version="1.0.120")
    made = Deployment.objects.get(pk=rollback.roll_back(scene.admin(), bad.pk, consent))
    tick.advance(made.pk)
    lifecycle.cancel(scene.admin(), made.pk)
    second = again(made)
    assert (second.install_mode, second.bad_version) == ("reinstall", bad.to_version)
    command = scene.beat(fleet[0])
    assert command is not None
    assert command["install_mode"] == "reinstall"
