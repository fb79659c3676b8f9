"""Two people who press the same, or contrary things, at the same moment, each in a process of his own: the first has
decided and not committed yet when the second asks. One has it; the other gets the same outcome, or is told the state.

The same scenes without the locks show that it is they that keep the promise. Rollback and retry are raced in
`test_follow_up_races`, approval in `test_races`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from apks import allowlist
from apks.models import ApkVersion
from deployments.models import Deployment, DeploymentEvent, FleetSwitch
from deployments.operations import fleet_switch, lifecycle
from deployments.reading import log_replay
from mdm.models import AuditEvent
from mdm.people import Actor
from tests.concurrency import test_follow_up_races
from tests.concurrency.processes import Child, Gate, Raised, as_ever, patch, waits_at
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)

Locks = Callable[[], None]
Press = Callable[[Actor, int, str | None], object]


def without_locks() -> None:
    """In a child: neither switch nor deployment."""
    test_follow_up_races.without_locks()

    @contextmanager
    def looked_at() -> Iterator[FleetSwitch]:
        with transaction.atomic():
            yield FleetSwitch.objects.get()

    patch(fleet_switch, "switch_taken", looked_at)


def _two() -> list[Actor]:
    """Ada has started whatever there is; these two have every right as well."""
    return [Actor.person(User.objects.create_user(name, is_superuser=True)) for name in ("bob", "carol")]


def _first(locks: Locks, waits_after: tuple[object, str], deed: Callable[[], object], gate: Gate) -> object:
    locks()
    waits_at(gate, *waits_after)
    return deed()


def _second(locks: Locks, deed: Callable[[], object], _: Gate) -> object:
    locks()
    return deed()


def raced(
    locks: Locks, waits_after: tuple[object, str], one: Callable[[], object], other: Callable[[], object]
) -> tuple[bool, str]:
    """Whether the second waited for the first, and what he was refused with (nothing: the same outcome)."""
    with Child(partial(_first, locks, waits_after, one)) as bob:
        bob.comes()
        with Child(partial(_second, locks, other)) as carol:
            waited = carol.waits_or_is_done()
            bob.opens()
            bob.result()
            try:
                carol.result()
            except Raised as raised:
                return waited, str(raised)
    return waited, ""


# --- pause, resume, cancel, pace ------------------------------------------------------------------------------


def _pause(actor: Actor, pk: int, expected: str | None) -> None:
    lifecycle.pause(actor, pk, expected_status=expected)


def _resume(actor: Actor, pk: int, expected: str | None) -> None:
    lifecycle.resume(actor, pk, expected_status=expected)


def _cancel(actor: Actor, pk: int, expected: str | None) -> None:
    lifecycle.cancel(actor, pk, expected_status=expected)


def _pace(actor: Actor, pk: int, expected: str | None) -> None:
    lifecycle.change_pace(actor, pk, rate=7, expected_status=expected)


def _running() -> Deployment:
    return scene.start(scene.devices(2))


def _paused() -> Deployment:
    deployment = _running()
    lifecycle.pause(scene.admin(), deployment.pk)
    return deployment


PRESSES: dict[str, tuple[Callable[[], Deployment], Press, str]] = {
    "pause": (_running, _pause, "Paused"),
    "resume": (_paused, _resume, "Resumed"),
    "cancel": (_running, _cancel, "Canceled"),
    "pace": (_running, _pace, "Pace changed"),
}
DECIDED = (lifecycle.audit, "record")


def _who(deployment: Deployment, words: str) -> list[str]:
    told = DeploymentEvent.objects.filter(deployment=deployment, device=None, message__startswith=words)
    return sorted(told.exclude(actor="user:ada").values_list("actor", flat=True))


def _pressed(locks: Locks, name: str, expected: bool) -> tuple[Deployment, bool, str, list[str]]:
    stage, press, words = PRESSES[name]
    deployment, (bob, carol) = stage(), _two()
    seen = scene.state(deployment)[0] if expected else None
    deeds = [partial(press, who, deployment.pk, seen) for who in (bob, carol)]
    waited, refusal = raced(locks, DECIDED, *deeds)
    return deployment, waited, refusal, _who(deployment, words)


@pytest.mark.parametrize("name", PRESSES)
def test_of_two_who_press_at_once_one_did_it_and_both_have_it(name: str) -> None:
    deployment, waited, refusal, who = _pressed(as_ever, name, expected=False)
    assert (waited, refusal, who) == (True, "", ["user:bob"])
    assert list(log_replay.differences(deployment.pk)) == []


@pytest.mark.parametrize("name", ["pause", "resume", "cancel"])
def test_who_saw_the_state_before_is_told_the_state_that_is(name: str) -> None:
    deployment, waited, refusal, who = _pressed(as_ever, name, expected=True)
    now = {"pause": "paused", "resume": "running", "cancel": "canceled"}[name]
    assert refusal.startswith("Conflict: ")
    assert now in refusal
    assert (waited, who, scene.state(deployment)[0]) == (True, ["user:bob"], now)


@pytest.mark.parametrize("name", PRESSES)
def test_without_the_locks_the_log_names_both(name: str) -> None:
    """The negative control."""
    deployment, _, refusal, who = _pressed(without_locks, name, expected=True)
    assert (refusal, who) == ("", ["user:bob", "user:carol"])
    assert name == "pace" or list(log_replay.differences(deployment.pk)) != []


CONTRARY = {
    "pause, then cancel": (_running, _pause, _cancel, "paused"),
    "cancel, then pause": (_running, _cancel, _pause, "canceled"),
    "resume, then cancel": (_paused, _resume, _cancel, "running"),
    "cancel, then resume": (_paused, _cancel, _resume, "canceled"),
    "cancel, then pace": (_running, _cancel, _pace, "canceled"),
}


@pytest.mark.parametrize("name", CONTRARY)
def test_of_two_contrary_presses_the_first_stands_and_the_second_is_told(name: str) -> None:
    stage, one, other, state = CONTRARY[name]
    deployment, (bob, carol) = stage(), _two()
    seen = scene.state(deployment)[0]
    deeds = (partial(one, bob, deployment.pk, seen), partial(other, carol, deployment.pk, seen))
    waited, refusal = raced(as_ever, DECIDED, *deeds)
    assert waited
    assert refusal.startswith("Conflict: ")
    assert state in refusal
    assert scene.state(deployment)[0] == state
    assert list(log_replay.differences(deployment.pk)) == []


# --- kill switch ----------------------------------------------------------------------------------------------


def _stop_all(actor: Actor, seen: Any) -> None:
    fleet_switch.change(actor, kill_switch=True, reason=actor.name, expected_changed_at=seen)


def _both_stop_all(locks: Locks, *, expected: bool) -> tuple[bool, str, list[str]]:
    deployment, people = _running(), _two()
    seen = FleetSwitch.objects.get().changed_at if expected else None
    deeds = [partial(_stop_all, who, seen) for who in people]
    waited, refusal = raced(locks, (fleet_switch, "_log"), *deeds)
    turned = AuditEvent.objects.filter(action="fleet_switch", message__startswith="Kill switch turned on")
    assert scene.state(deployment) == ("paused", "kill_switch")
    assert FleetSwitch.objects.get().kill_switch
    return waited, refusal, sorted(turned.values_list("actor", flat=True))


def test_of_two_who_stop_everything_one_did_it_and_both_have_it() -> None:
    assert _both_stop_all(as_ever, expected=False) == (True, "", ["user:bob"])
    assert list(log_replay.differences(Deployment.objects.get().pk)) == []


def test_who_saw_the_switch_before_is_told_that_somebody_turned_it() -> None:
    waited, refusal, who = _both_stop_all(as_ever, expected=True)
    assert (waited, who) == (True, ["user:bob"])
    assert refusal == "Conflict: Somebody changed the switch meanwhile; look at it again."


def test_without_the_lock_both_turn_it() -> None:
    """The negative control."""
    _, refusal, who = _both_stop_all(without_locks, expected=True)
    assert (refusal, who) == ("", ["user:bob", "user:carol"])


# --- withdrawal -----------------------------------------------------------------------------------------------


def without_the_guard() -> None:
    """In a child: withdraws whether it was withdrawn before or not, and takes no switch."""
    filtered = QuerySet.filter

    def blind(rows: Any, *conditions: Any, **named: Any) -> Any:
        if named == {"withdrawn_at": None}:
            return rows.all()
        return filtered(rows, *conditions, **named)

    patch(QuerySet, "filter", blind)
    patch(allowlist.withdrawal_begins, "send", lambda **_: [])


def _both_withdraw(locks: Locks) -> tuple[bool, str, list[str], str]:
    deployment, people = _running(), _two()
    deeds = [partial(allowlist.withdraw, who, deployment.to_version_id, who.name) for who in people]
    waited, refusal = raced(locks, (allowlist.audit, "record"), *deeds)
    told = AuditEvent.objects.filter(action="withdraw_apkversion")
    reason = ApkVersion.objects.get(pk=deployment.to_version_id).withdrawn_reason
    assert scene.state(deployment) == ("paused", "version_withdrawn")
    return waited, refusal, sorted(told.values_list("actor", flat=True)), reason


def test_of_two_who_withdraw_one_did_it_and_his_reason_stays() -> None:
    assert _both_withdraw(as_ever) == (True, "", ["user:bob"], "user:bob")


def test_without_the_guard_both_withdraw() -> None:
    """The negative control."""
    _, refusal, who, reason = _both_withdraw(without_the_guard)
    assert (refusal, who, reason) == ("", ["user:bob", "user:carol"], "user:carol")
