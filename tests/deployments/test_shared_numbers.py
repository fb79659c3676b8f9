"""Numbers are counted once for everybody who looks, are never older than a second, and are counted ahead."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from deployments.models import Deployment, DeploymentNumbers
from deployments.operations import lifecycle
from deployments.reading import finding, shared_numbers, summary
from tests.deployments import crowd, scene

pytestmark = pytest.mark.django_db


class Counter:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self, deployment: Deployment) -> dict[str, Any]:
        self.times += 1
        return {"counted": self.times}


def _look(deployment: Deployment, count: Counter) -> dict[str, Any]:
    return shared_numbers.fresh(finding.find(deployment.pk), count)


def _age(deployment: Deployment, *, counted: float, wanted: float) -> None:
    then = timezone.now() - timedelta(seconds=counted)
    looked = timezone.now() - timedelta(seconds=wanted)
    DeploymentNumbers.objects.filter(pk=deployment.pk).update(as_of=then, done_at=then, wanted_at=looked)


def test_who_looks_within_a_second_sees_what_was_counted_for_another() -> None:
    deployment, count = scene.start(scene.devices(1)), Counter()
    assert [_look(deployment, count)["counted"] for _ in range(3)] == [1, 1, 1]


def test_numbers_older_than_a_second_are_never_shown() -> None:
    deployment, count = scene.start(scene.devices(1)), Counter()
    _look(deployment, count)
    _age(deployment, counted=1.01, wanted=0)
    assert _look(deployment, count) == {"counted": 2}


def test_a_change_of_the_deployment_itself_is_seen_at_once() -> None:
    deployment, count = scene.start(scene.devices(1)), Counter()
    _look(deployment, count)
    lifecycle.pause(scene.admin(), deployment.pk)
    assert _look(deployment, count) == {"counted": 2}


@pytest.mark.parametrize(
    ("counted", "wanted", "again"),
    [(0.8, 0.1, True), (0.8, 5.5, True), (0.1, 0.1, False), (0.8, 6.5, False)],
    ids=["somebody looks", "somebody looked at the last poll", "still young", "everybody has gone"],
)
def test_they_are_counted_ahead_while_somebody_looks(counted: float, wanted: float, again: bool) -> None:
    deployment, count = scene.start(scene.devices(1)), Counter()
    _look(deployment, count)
    _age(deployment, counted=counted, wanted=wanted)
    shared_numbers.keep_fresh(count)
    assert count.times == (2 if again else 1)


def test_a_look_keeps_the_counting_going() -> None:
    deployment, count = scene.start(scene.devices(1)), Counter()
    _look(deployment, count)
    _age(deployment, counted=0.8, wanted=5)
    _look(deployment, count)
    assert timezone.now() - DeploymentNumbers.objects.get().wanted_at < timedelta(seconds=1)


def test_counting_ahead_does_not_count_as_a_look() -> None:
    deployment, count = scene.start(scene.devices(1)), Counter()
    _look(deployment, count)
    _age(deployment, counted=0.8, wanted=5)
    shared_numbers.keep_fresh(count)
    assert timezone.now() - DeploymentNumbers.objects.get().wanted_at > timedelta(seconds=4)


def test_what_is_counted_ahead_is_what_a_reader_would_count() -> None:
    deployment = scene.start(scene.devices(3))
    seen = summary.summary(deployment.pk)
    _age(deployment, counted=0.8, wanted=0)
    summary.keep_numbers_fresh()
    ahead = summary.summary(deployment.pk)
    assert ahead["as_of"] > seen["as_of"]
    assert ahead | {"as_of": None} == seen | {"as_of": None}


@pytest.mark.django_db(transaction=True)
def test_of_many_who_look_at_once_one_counts() -> None:
    deployment, count = scene.start(scene.devices(1)), Counter()
    _look(deployment, count)
    _age(deployment, counted=2, wanted=0)
    row = "SELECT 1 FROM deployment_numbers WHERE deployment_id = %s FOR UPDATE"
    seen = crowd.behind_a_lock(row, [deployment.pk], *[lambda: _look(deployment, count)] * 4)
    assert seen == [{"counted": 2}] * 4
