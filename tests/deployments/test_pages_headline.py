"""The first sentence of a deployment's page, and its options in words."""

from typing import Any

import pytest

from deployments.rules.headline import Situation, headline
from deployments.rules.option_words import in_words, window_words
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import DeploymentStatus, PausedReason, TaskStatus

LIMIT = "218 of 4,339 finished devices failed (5.0 %, limit 2 %)."


def situation(status: str = "running", paused: str = "", **more: Any) -> Situation:
    counts = dict.fromkeys(TaskStatus.values, 0) | {"succeeded": 4121, "failed": 218, "queued": 5661}
    canary = {"size": 5, "succeeded": 4, "failed": 1, "state": "passed"}
    told: dict[str, Any] = {
        "planned": True,
        "counts": counts | {"total": 10_000},
        "canary": canary,
        "canary_pct": 90,
        "failure_sentence": LIMIT,
        "window": "",
    }
    return Situation(status, paused, **(told | more))


COLLECTING = {"size": 5, "succeeded": 1, "failed": 0, "state": "collecting"}
AT_WORK = dict.fromkeys(TaskStatus.values, 0) | {"installing": 1, "total": 1}
AWAY = dict.fromkeys(TaskStatus.values, 0) | {"skipped": 3, "total": 3}


@pytest.mark.parametrize(
    ("now", "state", "sentence"),
    [
        pytest.param(
            situation("queued", planned=False),
            "Queued",
            "The devices are being worked out; nothing was sent yet.",
            id="before the plan nothing is known",
        ),
        pytest.param(
            situation("queued"),
            "Queued",
            "Planned for 10,000 devices; the first are sent to within seconds.",
            id="planned, not started",
        ),
        pytest.param(
            situation(),
            "Running",
            f"4,121 of 10,000 devices succeeded, 0 at work, 5,661 waiting. {LIMIT}",
            id="running says how far it is and how near the limit",
        ),
        pytest.param(
            situation(canary=COLLECTING),
            "Running",
            "Canary first: 1 of 5 devices succeeded, 0 failed; 90 % must succeed before the other 9,995 follow.",
            id="while the canary is out it is what matters",
        ),
        pytest.param(
            situation(window="Opens Tue 24 Nov 02:00 UTC, in 3 h."),
            "Running",
            "Nothing is sent outside the maintenance window. Opens Tue 24 Nov 02:00 UTC, in 3 h.",
            id="outside the window nothing else matters",
        ),
        pytest.param(
            situation("paused", "operator", counts=AT_WORK, by="user:kim", because="lunch"),
            "Paused",
            "Paused by kim (“lunch”). Nothing new is sent. 1 device at work will finish.",
            id="a person paused it",
        ),
        pytest.param(
            situation("paused", "canary_failed"),
            "Held: canary failed",
            "4 of 5 devices succeeded, 1 failed; 90 % had to succeed. Nobody else is sent to until a person"
            " decides.",
            id="the canary failed",
        ),
        pytest.param(
            situation("paused", "failure_rate"),
            "Held: failure limit",
            f"{LIMIT} Nobody else is sent to until a person decides.",
            id="the failure limit tripped",
        ),
        pytest.param(
            situation("paused", "kill_switch", by="user:ortiz", because="bad build"),
            "Stopped: kill switch",
            "All rollouts were stopped by ortiz (“bad build”). Agents that ask before they install are told to"
            " stop.",
            id="the kill switch",
        ),
        pytest.param(
            situation("paused", "kill_switch", by="user:ortiz", because="bad build", released=True),
            "Stopped: kill switch",
            "All rollouts were stopped by ortiz (“bad build”). The kill switch is off again; this one stays paused"
            " until a person resumes it.",
            id="the kill switch is off again",
        ),
        pytest.param(
            situation("paused", "flag_off", by="user:ortiz", released=True),
            "Stopped: deployments switched off",
            "Deployments were switched off by ortiz. They are on again; this one stays paused until a person"
            " resumes it.",
            id="deployments are switched on again",
        ),
        pytest.param(
            situation(counts=AWAY, again=3, failure_sentence="Too early."),
            "Running",
            "0 of 3 devices succeeded, 0 at work, 0 waiting, 3 to be checked again. Too early.",
            id="who will be checked again is not over",
        ),
        pytest.param(
            situation("failed", counts=AWAY | {"skipped": 1, "total": 1}),
            "Failed",
            "It could not be carried out: no device could take the version.",
            id="the only device could not take it",
        ),
        pytest.param(
            situation("canceled", by="user:kim"),
            "Canceled",
            "Canceled for good by kim: 4,121 of 10,000 devices succeeded, 218 failed, 0 skipped.",
            id="canceled, without a reason",
        ),
        pytest.param(
            situation("failed", counts=AWAY),
            "Failed",
            "It could not be carried out: none of 3 devices could take the version.",
            id="nobody could take it",
        ),
        pytest.param(
            situation("failed"),
            "Failed",
            "It could not be carried out: 4,121 of 10,000 devices succeeded, 218 failed, 0 skipped, and"
            " the canary never passed.",
            id="ended before the canary passed",
        ),
        pytest.param(
            situation("complete"),
            "Complete",
            "Everything has ended: 4,121 of 10,000 devices succeeded, 218 failed, 0 skipped.",
            id="complete",
        ),
    ],
)
def test_the_headline_says_state_cause_number_and_limit(now: Situation, state: str, sentence: str) -> None:
    said = headline(now)
    assert (said.state, said.sentence) == (state, sentence)


@pytest.mark.parametrize("status", DeploymentStatus.values)
def test_every_state_and_every_reason_of_a_pause_has_a_sentence(status: str) -> None:
    for paused in PausedReason.values if status == "paused" else [""]:
        said = headline(situation(status, paused))
        assert said.state
        assert said.sentence.endswith(".")


def test_every_option_is_said_with_its_unit() -> None:
    options = DeploymentOptions.from_json(
        {
            "rate": 1200,
            "canary_timeout_min": 0.05,
            "post_install": {"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {"a": 1}}},
        }
    )
    words = dict(in_words(options.to_json()))
    assert words["Rate"] == "1,200 per min"
    assert words["Canary time limit"] == "0.05 min"
    assert words["Wi-Fi only"] == "yes"
    assert words["Failures at most"] == "none"
    assert words["Free storage at least"] == "by the size of the APK"
    assert words["Restart intent"] == "com.nexmdm.RESTART"
    assert words["Maintenance window"] == "at any time"


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (None, "at any time"),
        (
            {"days": ["mon", "tue"], "start": "22:00", "end": "05:00", "tz": "Europe/Berlin"},
            "Mon, Tue 22:00–05:00, Europe/Berlin",
        ),
        (
            {"days": ["sun"], "start": "01:00", "end": "02:00", "tz": "device"},
            "Sun 01:00–02:00, each device's own zone",
        ),
        (
            {"start_iso": "2031-01-10T22:00:00Z", "end_iso": "2031-01-11T05:00:00+01:00"},
            "10 Jan 2031 22:00 UTC to 11 Jan 2031 04:00 UTC",
        ),
    ],
)
def test_a_window_is_said_as_it_was_asked_for(window: Any, words: str) -> None:
    assert window_words(window) == words
