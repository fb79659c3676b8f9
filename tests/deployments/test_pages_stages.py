"""Stages, next step, estimated finish, drawings: what the page says of where a deployment stands."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deployments.engine import measures
from deployments.models import DeploymentAttempt
from deployments.pages import device_checks, drawing
from deployments.reading import moment
from deployments.rules import outlook, stages
from deployments.rules.headline import Situation
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import CanaryState, PausedReason, TaskStatus
from tests.deployments import scene

NOW = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)


def situation(status: str = "running", paused: str = "", **more: Any) -> Situation:
    counts = dict.fromkeys(TaskStatus.values, 0) | {"queued": 90, "succeeded": 10} | more.pop("counts", {})
    told: dict[str, Any] = {
        "planned": True,
        "counts": counts | {"total": sum(counts.values())},
        "canary": {"size": 5, "succeeded": 5, "failed": 0, "state": "passed"},
        "canary_pct": 90,
        "failure_sentence": "",
        "window": "",
    }
    return Situation(status, paused, **(told | more))


def collecting(**canary: Any) -> dict[str, Any]:
    return {"size": 5, "succeeded": 2, "failed": 0, "state": "collecting"} | canary


def marks(now: Situation) -> dict[str, str]:
    return {stage.name: stage.mark for stage in stages.stages(now, stages.Clock())}


@pytest.mark.parametrize(
    ("now", "marked"),
    [
        (situation("queued", planned=False), "Planning now, Canary done, Rollout ahead, End ahead"),
        (situation(canary=collecting()), "Planning done, Canary now, Rollout ahead, End ahead"),
        (situation(), "Planning done, Canary done, Rollout now, End ahead"),
        (situation(window="Opens."), "Planning done, Canary done, Rollout held, End ahead"),
        (situation("paused", "operator"), "Planning done, Canary done, Rollout held, End ahead"),
        (
            situation("paused", "canary_failed", canary=collecting(state="failed")),
            "Planning done, Canary failed, Rollout ahead, End ahead",
        ),
        (situation("complete"), "Planning done, Canary done, Rollout done, End done"),
        (situation("canceled"), "Planning done, Canary done, Rollout failed, End failed"),
        (
            situation(canary=collecting(state="none", size=0)),
            "Planning done, Rollout now, End ahead",
        ),
    ],
)
def test_each_stage_has_one_mark(now: Situation, marked: str) -> None:
    assert ", ".join(f"{name} {mark}" for name, mark in marks(now).items()) == marked


def test_the_present_wait_is_told_in_full_minutes() -> None:
    now = situation(canary=collecting())
    (judged,) = [
        stage.words for stage in stages.stages(now, stages.Clock(canary_left=2401)) if stage.name == "Canary"
    ]
    assert judged == "2 of 5 devices good, judged in 41 min at the latest"
    (watched,) = [
        stage.words for stage in stages.stages(now, stages.Clock(soak_left=-3)) if stage.name == "Canary"
    ]
    assert watched == "2 of 5 devices good, watched another 1 min"


@pytest.mark.parametrize("reason", PausedReason)
def test_whatever_holds_a_deployment_there_is_a_next_step(reason: PausedReason) -> None:
    assert stages.next_step(situation("paused", reason)).endswith(".")


def test_nothing_is_promised_for_what_has_ended() -> None:
    assert stages.next_step(situation("complete")) == "Nothing more happens by itself."
    assert stages.next_step(situation("queued")) == ""


def said(now: Situation, **options: Any) -> str:
    expected = outlook.Expectation(DeploymentOptions.from_json(options), 60.0, ZoneInfo("UTC"))
    return outlook.sentence(NOW, now, expected)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (situation("queued"), "before the devices are planned"),
        (situation("paused", "operator"), "while nothing new is sent"),
        (situation("complete"), "as it has ended"),
        (situation(window="Opens."), "outside the maintenance window"),
    ],
)
def test_an_estimate_is_given_only_while_something_is_sent(now: Situation, why: str) -> None:
    assert said(now) == f"Estimated finish: none {why}."


def test_an_estimate_names_the_minute_and_what_limits() -> None:
    # 90 devices at 10 a minute: the last is sent after 8 minutes and takes one.
    fast = said(situation(), rate=10, concurrency=1000)
    assert fast == "Estimated finish: about Tue 24 Nov 12:10 UTC, as fast as the rate allows."
    assert said(situation(), rate=1000, concurrency=3).endswith("as fast as the concurrency allows.")
    assert "There is no device to update" in said(situation(counts={"queued": 0}))


def test_a_canary_that_is_still_judged_makes_the_estimate_later() -> None:
    options = {"rate": 10, "concurrency": 1000, "canary": 5, "canary_soak_min": 30}
    later = said(situation(canary=collecting()), **options)
    assert later == "Estimated finish: about Tue 24 Nov 12:41 UTC, as fast as the rate allows."


def test_a_small_limit_can_be_seen_on_the_meter() -> None:
    drawn = drawing.meter(1, 100, 2, "1 of 100")
    assert 'd="M200 0V20"' in drawn
    assert '<rect class="nx-fill-share" width="100"' in drawn
    assert 'aria-label="&lt;b&gt;"' in drawing.meter(0, 0, 0, "<b>")


def test_a_line_through_nothing_is_flat() -> None:
    flat = drawing.sparkline([0, 0, 0], "none")
    assert 'points="0,56 590,56"' in flat


def test_a_line_bends_where_its_values_do() -> None:
    drawn = drawing.sparkline([0, 0, 0, 2, 2, 1], "some")
    assert 'points="0,56 236,56 354,4 472,4 590,30"' in drawn


@pytest.mark.django_db
def test_installs_are_counted_by_the_minute_in_which_they_ended() -> None:
    fleet = scene.devices(4)
    deployment = scene.start(fleet)
    for device in fleet[:3]:
        scene.install(deployment, device)
    scene.beat(fleet[3])
    scene.report(deployment, fleet[3], "failed", error_code="apk_invalid")
    for attempt, ago in zip(DeploymentAttempt.objects.order_by("id")[:3], (30, 90, 5400), strict=True):
        DeploymentAttempt.objects.filter(pk=attempt.pk).update(finished_at=NOW - timedelta(seconds=ago))
    DeploymentAttempt.objects.update(sent_at=NOW - timedelta(hours=2))
    pace = measures.measure(deployment, DeploymentOptions.from_json(deployment.options)).pace
    found = moment.measure(deployment, pace, NOW)
    per_minute, lately = found["per_minute"], found["lately"]
    assert (len(per_minute), sum(per_minute), per_minute[-1], per_minute[-2], lately) == (60, 2, 1, 1, 1)


@pytest.mark.django_db
def test_a_check_fails_exactly_where_it_is_the_reason() -> None:
    """The first failed check of the drawer is the reason that every list shows."""
    spoilt: dict[str, dict[str, Any]] = {
        "Battery": {"battery": 5},
        "Wi-Fi or Ethernet": {"network": "cellular"},
        "Free storage": {"free_storage_mb": 1},
        "Not in use": {"in_use": True},
        "Not in a call": {"in_call": True},
    }
    fleet = {question: scene.devices(1, beat=beat)[0] for question, beat in spoilt.items()}
    deployment = scene.start(list(fleet.values()))
    for question, device in fleet.items():
        found = device_checks.checks(scene.task(deployment, device))
        failed = [check.question for check in found if check.verdict == "failed"]
        assert failed[0] == question
        assert set(failed) <= {question, "Heard of since it was skipped"}
        assert all(check.as_of for check in found if check.question == question)


@pytest.mark.django_db
def test_what_a_device_never_said_is_neither_passed_nor_failed() -> None:
    (silent,) = scene.devices(1, installed=None, beat=dict.fromkeys(scene.READY))
    deployment = scene.start([silent])
    found = {check.question: check for check in device_checks.checks(scene.task(deployment, silent))}
    for question in ("Battery", "Wi-Fi or Ethernet", "Unmetered network", "Not in use", "Same signer"):
        assert (found[question].verdict, found[question].observed) == ("not reported", "")
    assert found["Charging"].verdict == "not asked"
    assert found["Seen lately"].verdict == "passed"


@pytest.mark.django_db
def test_nothing_is_asked_of_a_device_at_work_or_done() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    assert device_checks.checks(scene.task(deployment, device))
    scene.beat(device)
    assert device_checks.checks(scene.task(deployment, device)) == []
    scene.report(deployment, device, "succeeded")
    assert device_checks.checks(scene.task(deployment, device)) == []


def test_every_condition_has_its_question_and_every_state_of_the_canary_its_words() -> None:
    assert list(device_checks.QUESTIONS) == list(device_checks.CONDITIONS)
    for state in CanaryState:
        assert marks(situation(canary=collecting(state=state.value)))
