"""Whoever stops, and whoever claims or starts at the same moment: nothing is sent after the stop was answered.

The same scenes without the lock show that it is the lock that keeps the promise.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from django.db import connection

from apks import allowlist
from deployments import locking, signals
from deployments.engine import measures
from deployments.models import Deployment, DeploymentAttempt
from deployments.operations import dry_run, fleet_switch, lifecycle, rollback
from deployments.reading import log_replay
from deployments.rules.options import DeploymentOptions
from devices.models import Device
from devices.selection import Target
from mdm.people import Actor
from tests.concurrency.processes import Child, Gate, Raised, as_ever, patch, waits_at
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)


def without_locks() -> None:
    """In a child: takes neither the fleet switch nor the deployment."""
    locking.TAKE_DEPLOYMENT = "SELECT 1 FROM deployment WHERE id = %s"
    for module in (locking, lifecycle):
        patch(module, "SHARE_SWITCH", "SELECT %s::bigint")


# --- whoever stops and whoever claims ------------------------------------------------------------------------

Stop = Callable[[Actor, Deployment], object]


def _rolls_back(actor: Actor, bad: Deployment) -> None:
    """As if its failure limit had tripped and been overridden."""
    scene.version(122, rebuild_of=scene.version(120))
    Deployment.objects.filter(pk=bad.pk).update(gate_tripped_at=bad.created_at)
    rollback.roll_back(actor, bad.pk, rollback.Consent())


STOPS: dict[str, tuple[Stop, tuple[str, str]]] = {
    "kill switch": (
        lambda actor, _: fleet_switch.change(actor, kill_switch=True, reason="smoke"),
        ("paused", "kill_switch"),
    ),
    "flag": (
        lambda actor, _: fleet_switch.change(actor, deployments_enabled=False, reason="audit"),
        ("paused", "flag_off"),
    ),
    "pause": (lambda actor, it: lifecycle.pause(actor, it.pk), ("paused", "operator")),
    "cancel": (lambda actor, it: lifecycle.cancel(actor, it.pk), ("canceled", "")),
    "rollback": (_rolls_back, ("canceled", "")),
    "withdrawal": (
        lambda actor, it: allowlist.withdraw(actor, it.to_version_id, "bad"),
        ("paused", "version_withdrawn"),
    ),
    "allowlist": (
        lambda actor, it: allowlist.unmanage_package(actor, scene.PACKAGE),
        ("paused", "not_managed"),
    ),
}


def _claims_at_the_gate(locks: Callable[[], None], device: Device, gate: Gate) -> None:
    """Has measured that there is room and is about to claim."""
    locks()
    measure = measures.measure_pace

    def and_waits(*given: Any) -> measures.Pace:
        found = measure(*given)
        if connection.in_atomic_block:
            gate()
        return found

    patch(measures, "measure_pace", and_waits)
    scene.beat(device)


def _claims(locks: Callable[[], None], fleet: list[Device], _: Gate) -> None:
    locks()
    for device in fleet:
        scene.beat(device)


def _stops(stop: Stop, actor: Actor, deployment: Deployment, _: Gate) -> set[int]:
    """The ledger as it stands when the request returns."""
    stop(actor, deployment)
    return _sent()


def _sent() -> set[int]:
    return set(DeploymentAttempt.objects.values_list("id", flat=True))


def _sent_after(stop: Stop, locks: Callable[[], None], deployment: Deployment, fleet: list[Device]) -> int:
    """One is about to claim and three more are claiming when the stop is asked for: how many sends came after
    its answer."""
    parts = [partial(_claims, locks, fleet[1 + part :: 3]) for part in range(3)]
    asks = partial(_stops, stop, scene.admin(), deployment)
    with ExitStack() as ends, Child(partial(_claims_at_the_gate, locks, fleet[0])) as first:
        first.comes()
        others = [ends.enter_context(Child(part)) for part in parts]
        with Child(asks) as stopper:
            stopper.waits_or_is_done()
            first.opens()
            answered = stopper.result()
        for child in (first, *others):
            child.result()
    return len(_sent() - answered)


@pytest.mark.parametrize("name", STOPS)
def test_nothing_is_sent_after_the_answer_to(name: str) -> None:
    stop, state = STOPS[name]
    fleet = scene.devices(25)
    deployment = scene.start(fleet)
    assert _sent_after(stop, as_ever, deployment, fleet) == 0
    assert scene.state(deployment) == state
    assert 1 <= len(_sent()) < len(fleet), "somebody was to be late"
    assert list(log_replay.differences(deployment.pk)) == []


@pytest.mark.parametrize("name", ["kill switch", "flag", "pause", "withdrawal", "allowlist"])
def test_without_the_locks_something_is_sent_after_the_answer_to(name: str) -> None:
    fleet = scene.devices(4)
    deployment = scene.start(fleet)
    assert _sent_after(STOPS[name][0], without_locks, deployment, fleet) >= 1


# --- whoever stops and whoever starts ------------------------------------------------------------------------


def _starts(
    locks: Callable[[], None], actor: Actor, version_id: int, fleet: list[Device], gate: Gate | None
) -> int:
    locks()
    if gate is not None:
        waits_at(gate, dry_run, "deployable_version")
    return lifecycle.start(
        actor,
        apk_version_id=version_id,
        target=Target.model_validate({"type": "selection", "device_ids": [device.pk for device in fleet]}),
        options=DeploymentOptions.from_json(scene.EASY),
    )


STARTABLE_STOPS = ["kill switch", "flag", "withdrawal", "allowlist"]
TOO_LATE = {
    "kill switch": "Conflict: The kill switch is on. Turn it off first.",
    "flag": "Forbidden: Deployments are switched off",
    "withdrawal": "Conflict: The version was withdrawn.",
    "allowlist": "Invalid: com.nexmdm is not on the allowlist",
}


def _started_first(name: str, locks: Callable[[], None]) -> tuple[str, str]:
    """Whoever starts has seen that all is well when the stop is asked for: what becomes of the deployment."""
    scene.enable()
    fleet, version, actor = scene.devices(1), scene.version(), scene.admin()
    with Child(partial(_starts, locks, actor, version.pk, fleet)) as starter:
        starter.comes()
        asked = Deployment(to_version=version, apk=version.apk)
        with Child(partial(_stops, STOPS[name][0], actor, asked)) as stopper:
            stopper.waits_or_is_done()
            starter.opens()
            deployment = Deployment.objects.get(pk=starter.result())
            stopper.result()
    return scene.state(deployment)


@pytest.mark.parametrize("name", STARTABLE_STOPS)
def test_a_start_that_came_first_is_stopped_by(name: str) -> None:
    assert _started_first(name, as_ever) == STOPS[name][1]


@pytest.mark.parametrize("name", STARTABLE_STOPS)
def test_without_the_lock_a_start_slips_past(name: str) -> None:
    assert _started_first(name, without_locks) == ("queued", "")


def _stops_at_the_gate(name: str, actor: Actor, deployment: Deployment, gate: Gate) -> None:
    """Has changed its row and paused what there was, and is about to commit."""
    for module, function in ((fleet_switch, "_log"), (signals, "_pause_all")):
        waits_at(gate, module, function)
    STOPS[name][0](actor, deployment)


@pytest.mark.parametrize("name", STARTABLE_STOPS)
def test_a_start_that_came_second_is_refused_by(name: str) -> None:
    scene.enable()
    fleet, version, actor = scene.devices(1), scene.version(), scene.admin()
    asked = Deployment(to_version=version, apk=version.apk)
    with Child(partial(_stops_at_the_gate, name, actor, asked)) as stopper:
        stopper.comes()
        with Child(lambda _: _starts(as_ever, actor, version.pk, fleet, None)) as starter:
            assert starter.waits_or_is_done()
            stopper.opens()
            with pytest.raises(Raised, match=TOO_LATE[name]):
                starter.result()
    assert Deployment.objects.count() == 0
