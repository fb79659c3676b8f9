"""Every reason of a task alone and in precedence, and what people read of it."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from apks.models import ApkVersion
from deployments.engine import eligibility
from deployments.engine.eligibility import REASON_OF_MANY, REASON_OF_ONE, Closing, Terms
from deployments.models import Deployment, DeploymentAttempt, DeploymentTask
from deployments.operations import dry_run
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import REASONS
from devices.models import Device, Heartbeat
from devices.selection import Target
from tests.deployments import scene

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@dataclass
class Circumstance:
    """What makes a reason apply: to the device, its heartbeat, the task, the options and the moment."""

    sentence: str
    device: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)
    beat: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)
    busy: bool = False
    spent: int = 0
    spared: bool = False

    def conflicts(self, other: "Circumstance") -> bool:
        """Whether both want the same thing to be something else."""
        for part in ("device", "app", "beat", "task", "options", "terms"):
            mine, theirs = getattr(self, part), getattr(other, part)
            if any(mine[key] != theirs[key] for key in set(mine) & set(theirs)):
                return True
        return False

    def also(self, other: "Circumstance") -> "Circumstance":
        parts = ("device", "app", "beat", "task", "options", "terms")
        merged = {part: getattr(self, part) | getattr(other, part) for part in parts}
        return Circumstance(
            f"{self.sentence}, {other.sentence}",
            **merged,
            busy=self.busy or other.busy,
            spent=max(self.spent, other.spent),
            spared=self.spared or other.spared,
        )


SKIPPED = {"status": "skipped", "reason": "device_condition", "next_run_at": HOUR, "recheck_until": HOUR}
COMPUTED = {
    "device_retired": Circumstance("retired", device={"status": "retired", "retired_at": timedelta()}),
    "not_affected": Circumstance("never got the bad version", spared=True),
    "already_installed": Circumstance("has the version", app={"version_code": 121}),
    "newer_installed": Circumstance("has a newer version", app={"version_code": 122}),
    "sdk_too_old": Circumstance("Android 7", device={"sdk_int": 25}),
    "abi_unsupported": Circumstance("another processor", device={"abis": ["x86"]}),
    "agent_too_old": Circumstance("an agent without our schema", device={"max_schema": 0}),
    "signer_mismatch": Circumstance("an app by another signer", app={"signer_sha256": "B" * 64}),
    "window_over": Circumstance("the window is over", terms={"closing": Closing(everywhere=True, over=True)}),
    "retry_budget_spent": Circumstance("ten attempts within a day", spent=10),
    "kill_switch": Circumstance("the switch is on", terms={"held": "kill_switch"}),
    "paused": Circumstance("the deployment is paused", terms={"held": "paused"}),
    "needs_approval": Circumstance("nobody has approved yet", terms={"held": "needs_approval"}),
    "device_hold": Circumstance("a person holds the device", device={"hold_until": HOUR}),
    "canary_gate": Circumstance("all canary places are taken", terms={"canary_closed": True}),
    "in_other_deployment": Circumstance("the device is at work for another deployment", busy=True),
    "outside_window": Circumstance("the window is shut", terms={"closing": Closing(everywhere=True)}),
    "backoff": Circumstance("its retry waits", task={"status": "queued", "next_run_at": HOUR}),
    "offline": Circumstance("silent for 16 minutes", beat={"received_at": -timedelta(minutes=16)}),
    "no_wifi": Circumstance("on mobile data", beat={"network": "cellular"}),
    "metered_network": Circumstance("metered", beat={"metered": True}),
    "battery_low": Circumstance("39 % instead of 40", beat={"battery": 39}),
    "not_charging": Circumstance("not charging", options={"charging_only": True}, beat={"charging": False}),
    "low_storage": Circumstance(
        "99 MB instead of 100", options={"min_free_mb": 100}, beat={"free_storage_mb": 99}
    ),
    "doze_restricted": Circumstance(
        "not exempt from doze", options={"require_doze_exempt": True}, beat={"doze_exempt": False}
    ),
    "in_call": Circumstance("in a call", beat={"in_call": True}),
    "in_use": Circumstance("a customer is paying", beat={"in_use": True}),
    "device_condition": Circumstance("its agent said so", task=SKIPPED),
    "rate_limit": Circumstance("the rate is used up", terms={"pace": "rate_limit"}),
    "concurrency_limit": Circumstance("all slots are taken", terms={"pace": "concurrency_limit"}),
    "group_limit": Circumstance(
        "its shop has no place",
        device={"groups": ["shop-1", "region-north"]},
        options={"max_per_group": 1},
        terms={"full_groups": ("shop-1",)},
    ),
    "awaiting_heartbeat": Circumstance("nothing holds it"),
}
STORED_ONLY = {"not_permitted", "user_declined", "canceled"}


def _moments(values: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {key: now + value if isinstance(value, timedelta) else value for key, value in values.items()}


def _task(case: Circumstance, now: datetime) -> tuple[DeploymentTask, Terms]:
    (device,) = scene.devices(1, **_moments(case.device, now))
    app = {"version_code": 120, "version_name": "1.0.120", **case.app}
    Device.objects.filter(pk=device.pk).update(current_versions={scene.PACKAGE: app})
    Heartbeat.objects.filter(device=device).update(**_moments(case.beat, now))
    version = ApkVersion.objects.filter(version_code=121).first() or scene.version(abis=["arm64-v8a"])
    options = DeploymentOptions.from_json(scene.EASY | case.options)
    deployment = Deployment.objects.create(apk=version.apk, to_version=version, options=options.to_json())
    task = DeploymentTask.objects.create(
        deployment=deployment, device=device, **{"attempt": 0, **_moments(case.task, now)}
    )
    if case.busy:
        _busy(version, device, now)
    for number in range(1, case.spent + 1):
        _attempt(task, number, now)
    spared = {"bad_version_id": _failed_with_bad_version(device, now)} if case.spared else {}
    return task, Terms(version, options, now, **spared, **case.terms)


def _failed_with_bad_version(device: Device, now: datetime) -> int:
    bad = scene.version(130)
    sent = Deployment.objects.create(apk=bad.apk, to_version=bad, options={})
    task = DeploymentTask.objects.create(deployment=sent, device=device, attempt=1)
    _attempt(task, 1, now)
    DeploymentAttempt.objects.filter(task=task).update(finished_at=now - HOUR, outcome="failed")
    return bad.pk


def _busy(version: ApkVersion, device: Device, now: datetime) -> None:
    other = Deployment.objects.create(apk=version.apk, to_version=version, options={})
    DeploymentTask.objects.create(
        deployment=other, device=device, status="sending", attempt=1, sent_at=now, in_flight_until=now + HOUR
    )


def _attempt(task: DeploymentTask, number: int, now: datetime, **back: float) -> None:
    DeploymentAttempt.objects.create(
        task=task,
        deployment=task.deployment,
        device=task.device,
        apk_version=task.deployment.to_version,
        number=number,
        transport="push",
        sent_at=now - timedelta(**(back or {"hours": 1})),
    )


def _both_forms(case: Circumstance) -> set[str]:
    """One task at a time and many at once must agree."""
    task, terms = _task(case, timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {REASON_OF_MANY} FROM deployment_task t JOIN device d ON d.id = t.device_id"
            " LEFT JOIN heartbeat h ON h.device_id = d.id WHERE t.id = %(task_id)s",
            terms.params() | {"task_id": task.pk},
        )
        return {eligibility.reason_of(task.pk, terms), *(row[0] for row in cursor.fetchall())}


def test_what_the_push_service_did_not_take_spends_no_budget() -> None:
    task, terms = _task(COMPUTED["retry_budget_spent"], timezone.now())
    assert eligibility.reason_of(task.pk, terms) == "retry_budget_spent"
    DeploymentAttempt.objects.filter(task=task, number=3).update(outcome="push_failed")
    assert eligibility.reason_of(task.pk, terms) == "awaiting_heartbeat"


@pytest.mark.parametrize("code", COMPUTED, ids=lambda code: f"{COMPUTED[code].sentence}: {code}")
def test_a_reason_alone(code: str) -> None:
    assert _both_forms(COMPUTED[code]) == {code}


@pytest.mark.parametrize("code", COMPUTED, ids=lambda code: f"{code} wins over every later reason")
def test_the_earlier_of_two_reasons_wins(code: str) -> None:
    order = list(COMPUTED)
    for later in order[order.index(code) + 1 :]:
        if not COMPUTED[code].conflicts(COMPUTED[later]):
            assert _both_forms(COMPUTED[code].also(COMPUTED[later])) == {code}, later


def test_the_expression_asks_in_the_order_of_precedence() -> None:
    asked = re.findall(r"(?:THEN|ELSE) (?:'(\w+)'|%\((\w+)\)s|(t\.reason))", REASON_OF_ONE)
    stands_for = {
        "held": ["kill_switch", "paused", "needs_approval"],
        "pace": ["rate_limit", "concurrency_limit"],
        "t.reason": ["device_condition"],
    }
    found = [code for names in asked for code in stands_for.get("".join(names), ["".join(names)])]
    assert found == [code for code in REASONS if code not in STORED_ONLY]
    assert set(COMPUTED) == set(found)


NEARLY = {
    "15 minutes of silence are no absence": Circumstance("", beat={"received_at": -timedelta(minutes=14)}),
    "the least battery is enough": Circumstance("", beat={"battery": 40}),
    "the least storage is enough": Circumstance(
        "", options={"min_free_mb": 100}, beat={"free_storage_mb": 100}
    ),
    "ethernet is as good as Wi-Fi": Circumstance("", beat={"network": "ethernet"}),
    "without wifi_only mobile data will do": Circumstance(
        "", options={"wifi_only": False}, beat={"network": "cellular", "metered": True}
    ),
    "the oldest supported Android": Circumstance("", device={"sdk_int": 26}),
    "one processor of several": Circumstance("", device={"abis": ["x86", "arm64-v8a"]}),
    "the signer in capitals": Circumstance("", app={"signer_sha256": "A" * 64}),
    "nine attempts within a day": Circumstance("", spent=9),
    "a hold that has ended": Circumstance("", device={"hold_until": -HOUR}),
    "a retry that is due": Circumstance("", task={"next_run_at": -HOUR}),
    "an agent's skip whose heartbeat has come": Circumstance("", task={**SKIPPED, "next_run_at": -HOUR}),
    "not charging where nobody asks": Circumstance("", beat={"charging": False}),
    "doze where nobody asks": Circumstance("", beat={"doze_exempt": False}),
}


@pytest.mark.parametrize("case", NEARLY.values(), ids=NEARLY)
def test_what_nearly_holds_a_device_back_does_not(case: Circumstance) -> None:
    assert _both_forms(case) == {"awaiting_heartbeat"}


@pytest.mark.parametrize(
    "name",
    ["battery", "charging", "network", "metered", "free_storage_mb", "doze_exempt", "in_call", "in_use"],
    ids=lambda name: f"{name} never reported holds nobody back",
)
def test_a_value_never_reported_holds_nobody_back(name: str) -> None:
    options = {"charging_only": True, "require_doze_exempt": True}
    fine = Circumstance("", options=options, beat={"charging": True, name: None})
    assert _both_forms(fine) == {"awaiting_heartbeat"}


@pytest.mark.parametrize("name", ["max_schema", "abis", "version", "signer"])
def test_a_trait_never_reported_excludes_nobody(name: str) -> None:
    traits: dict[str, dict[str, Any]] = {"max_schema": {"max_schema": None}, "abis": {"abis": []}}
    case = Circumstance("", device=traits.get(name, {}))
    task, terms = _task(case, timezone.now())
    if name == "version":
        Device.objects.update(current_versions={})
    assert eligibility.reason_of(task.pk, terms) == "awaiting_heartbeat"


def test_a_device_that_never_sent_a_heartbeat_is_offline() -> None:
    assert _both_forms(Circumstance("enrolled only", beat={"received_at": None})) == {"offline"}


def test_without_a_number_the_storage_is_reckoned_from_the_apk() -> None:
    """2.5 times 1,000,000 bytes is 2.4 MB, made 3, and 128."""
    assert _both_forms(Circumstance("", beat={"free_storage_mb": 131})) == {"awaiting_heartbeat"}
    assert _both_forms(Circumstance("", beat={"free_storage_mb": 130})) == {"low_storage"}


def test_attempts_older_than_a_day_do_not_spend_the_budget() -> None:
    now = timezone.now()
    task, terms = _task(Circumstance("", spent=9), now)
    _attempt(task, 10, now, hours=24, seconds=1)
    assert eligibility.reason_of(task.pk, terms) == "awaiting_heartbeat"


# --- observed and required -----------------------------------------------------------------------------------

SENTENCES = {
    "already_installed": ("1.0.120", None),
    "sdk_too_old": ("SDK 25", "SDK 26"),
    "abi_unsupported": ("x86", "arm64-v8a"),
    "agent_too_old": ("schema 0", "schema 1"),
    "signer_mismatch": ("signer " + "B" * 16, "signer " + "a" * 16),
    "no_wifi": ("cellular", "Wi-Fi or Ethernet"),
    "metered_network": ("wifi, metered", "an unmetered network"),
    "battery_low": ("39 %", "at least 40 %"),
    "low_storage": ("99 MB free", "at least 100 MB free"),
}


def _dry_run(case: Circumstance) -> dict[str, Any]:
    task, terms = _task(case, timezone.now())
    target = Target.model_validate({"type": "selection", "device_ids": [task.device_id]})
    answer = dry_run.make(
        scene.admin(), apk_version_id=terms.version.pk, target=target, options=terms.options
    )
    (row,) = answer["devices"]
    return dict(row)


@pytest.mark.parametrize("code", SENTENCES, ids=lambda code: f"{code} says what was seen and what is wanted")
def test_a_reason_says_what_was_seen_and_what_is_wanted(code: str) -> None:
    row = _dry_run(COMPUTED[code])
    assert (row["reason"], row["observed"], row["required"]) == (code, *SENTENCES[code])


def test_offline_says_since_when_and_how_often_is_wanted() -> None:
    row = _dry_run(COMPUTED["offline"])
    assert row["observed"].startswith("last seen 20")
    assert row["required"] == "a heartbeat within 15 min"
    assert _dry_run(Circumstance("", beat={"received_at": None}))["observed"] == "never seen"


def test_a_hold_says_why_and_until_when() -> None:
    held = Circumstance("", device={"hold_until": HOUR, "hold_reason": "Inventory night"})
    row = _dry_run(held)
    assert row["observed"] == "Inventory night"
    assert row["required"].startswith("hold ends 20")


def test_the_dry_run_says_what_was_not_reported() -> None:
    row = _dry_run(Circumstance("", beat={"battery": None, "network": None}))
    assert (row["class"], row["reason"]) == ("will_update", None)
    assert row["observed"] == "network, battery: not reported"
    assert row["required"] == "checked on the device"


def test_an_exemption_that_is_wanted_and_was_not_reported_is_said_too() -> None:
    row = _dry_run(Circumstance("", options={"require_doze_exempt": True}, beat={"doze_exempt": None}))
    assert (row["class"], row["observed"]) == ("will_update", "battery saving: not reported")
