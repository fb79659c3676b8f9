"""A final skip keeps what was seen when it was decided."""

import pytest

from deployments import tick
from deployments.models import Deployment
from deployments.pages import device_table
from deployments.reading import finding, summary, task_list
from tests.deployments import scene

pytestmark = pytest.mark.django_db


def _row(deployment: Deployment) -> dict[str, object]:
    found = finding.find(deployment.pk)
    shown = device_table.page(found, summary.numbers(found), task_list.Filter(), 1)
    return dict(shown["rows"][0])


def test_a_final_skip_still_shows_the_battery_that_was_too_low_after_it_was_charged() -> None:
    (device,) = scene.devices(1, beat={"battery": 12})
    deployment = scene.start([device], deadline_hours=0)
    tick.advance(deployment.pk)
    scene.beat(device, battery=95)
    row = _row(deployment)
    assert (row["status"], row["reason"]) == ("skipped", "battery_low")
    assert (row["observed"], row["required"]) == ("12 %", "at least 40 %")


def test_a_skip_that_is_checked_again_shows_what_the_device_says_now() -> None:
    (device,) = scene.devices(1, beat={"battery": 12})
    deployment = scene.start([device])
    scene.beat(device, battery=20)
    row = _row(deployment)
    assert (row["reason"], row["observed"]) == ("battery_low", "20 %")


def test_who_is_excluded_when_planned_keeps_the_version_it_had() -> None:
    (device,) = scene.devices(1, installed=150)
    deployment = scene.start([device])
    scene.beat(device, packages=[{"package": scene.PACKAGE, "version_code": 160, "version_name": "1.0.160"}])
    assert _row(deployment)["observed"] == "1.0.150"
