"""Two people who roll back or retry the same deployment at the same moment, and those who withdraw meanwhile.

The same scenes without the locks show what the locks are for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from apks import allowlist
from apks.models import ApkVersion
from apks.signals import withdrawal_begins
from deployments import locking, signals
from deployments.models import Deployment
from deployments.operations import follow_up, lifecycle, retrying, rollback
from deployments.operations.rollback import Consent
from deployments.reading import log_replay
from mdm.people import Actor
from tests.concurrency.processes import Child, Gate, Raised, as_ever, patch, waits_at
from tests.deployments import going_back, scene

pytestmark = pytest.mark.django_db(transaction=True)

Press = Callable[[Actor, int], int]


def _rolls_back(actor: Actor, deployment_id: int) -> int:
    return rollback.roll_back(actor, deployment_id, Consent())


def _bad() -> Deployment:
    """Its failure limit has tripped, and there is a rebuild."""
    going_back.rebuilt()
    return going_back.tripped(scene.devices(3))


def _canceled() -> Deployment:
    deployment = scene.start(scene.devices(3))
    lifecycle.cancel(scene.admin(), deployment.pk)
    return deployment


PRESSES: dict[str, tuple[Callable[[], Deployment], Press, str]] = {
    "rollback": (_bad, _rolls_back, "deployment_rolled_back_once"),
    "retry": (_canceled, retrying.retry, "deployment_retried_once"),
}


def without_locks() -> None:
    """In a child: neither the fleet switch nor the deployment."""

    @contextmanager
    def nothing_taken() -> Iterator[None]:
        with transaction.atomic():
            yield

    patch(rollback, "switch_taken", nothing_taken)
    patch(locking, "TAKE_DEPLOYMENT", "SELECT 1 FROM deployment WHERE id = %s")
    patch(locking, "SHARE_SWITCH", "SELECT %s::bigint")


def _presses(locks: Callable[[], None], press: Press, actor: Actor, pk: int, gate: Gate | None) -> int:
    locks()
    if gate is not None:
        waits_at(gate, follow_up, "create")
    return press(actor, pk)


@pytest.mark.parametrize("name", PRESSES)
def test_of_two_people_who_press_at_once_one_starts_it_and_the_other_is_told(name: str) -> None:
    stage, press, _ = PRESSES[name]
    deployment, actor = stage(), scene.admin()
    with Child(partial(_presses, as_ever, press, actor, deployment.pk)) as first:
        first.comes()
        with Child(lambda _: _presses(as_ever, press, actor, deployment.pk, None)) as second:
            assert second.waits_or_is_done()
            first.opens()
            made = first.result()
            with pytest.raises(Raised, match=f"Conflict: .*already, by deployment #{made}"):
                second.result()
    assert Deployment.objects.count() == 2
    assert list(log_replay.differences(deployment.pk)) == []


@pytest.mark.parametrize("name", PRESSES)
def test_without_the_locks_only_the_database_keeps_it_to_one(name: str) -> None:
    stage, press, constraint = PRESSES[name]
    deployment, actor = stage(), scene.admin()
    with Child(partial(_presses, without_locks, press, actor, deployment.pk)) as first:
        first.comes()
        with Child(lambda _: _presses(without_locks, press, actor, deployment.pk, None)) as second:
            assert second.waits_or_is_done()
            first.opens()
            first.result()
            with pytest.raises(Raised, match=f"IntegrityError: .*{constraint}"):
                second.result()
    assert Deployment.objects.count() == 2


def test_where_the_first_dies_the_second_rolls_back() -> None:
    bad, actor = _bad(), scene.admin()
    with Child(partial(_presses, as_ever, _rolls_back, actor, bad.pk)) as first:
        first.comes()
        with Child(lambda _: _presses(as_ever, _rolls_back, actor, bad.pk, None)) as second:
            assert second.waits_or_is_done()
            first.kill()
            made = second.result()
    assert list(Deployment.objects.filter(rollback_of=bad).values_list("id", flat=True)) == [made]
    assert scene.state(bad) == ("canceled", "")


def _withdraws(in_order: bool, actor: Actor, version_id: int, gate: Gate) -> None:
    """Has marked the version and is about to pause its deployments."""
    if not in_order:
        withdrawal_begins.disconnect(signals.hold_off_claims)
    waits_at(gate, allowlist.audit, "record")
    allowlist.withdraw(actor, version_id, "bad")


def _withdrawn_and_rolled_back(in_order: bool) -> tuple[list[str], Deployment]:
    bad, actor = _bad(), scene.admin()
    said = []
    with Child(partial(_withdraws, in_order, actor, bad.to_version_id)) as withdrawal:
        withdrawal.comes()
        with Child(lambda _: _rolls_back(actor, bad.pk)) as other:
            assert other.waits_or_is_done()
            withdrawal.opens()
            for child in (withdrawal, other):
                try:
                    child.result()
                except Raised as raised:
                    said.append(str(raised))
    return said, bad


def test_a_withdrawal_and_a_rollback_of_the_same_version_come_one_after_the_other() -> None:
    said, bad = _withdrawn_and_rolled_back(in_order=True)
    assert said == []
    assert scene.state(bad) == ("canceled", "")
    assert ApkVersion.objects.get(pk=bad.to_version_id).withdrawn_reason == "bad"


def test_without_the_switch_first_they_wait_for_each_other() -> None:
    said, _ = _withdrawn_and_rolled_back(in_order=False)
    assert len(said) == 1
    assert "deadlock detected" in said[0]


def _rolled_back_while_the_rebuild_is_withdrawn(locks: Callable[[], None]) -> Any:
    bad, actor = _bad(), scene.admin()
    rebuild = ApkVersion.objects.get(version_code=122)
    with Child(partial(_withdraws, True, actor, rebuild.pk)) as withdrawal:
        withdrawal.comes()
        with Child(lambda _: _presses(locks, _rolls_back, actor, bad.pk, None)) as other:
            other.waits_or_is_done()
            withdrawal.opens()
            withdrawal.result()
            return other.result()


def test_a_rebuild_that_is_being_withdrawn_is_not_rolled_back_to() -> None:
    with pytest.raises(Raised, match=r"Conflict: .*Missing: a rebuild"):
        _rolled_back_while_the_rebuild_is_withdrawn(as_ever)
    assert Deployment.objects.count() == 1


def test_without_the_locks_it_would_be() -> None:
    made = _rolled_back_while_the_rebuild_is_withdrawn(without_locks)
    assert Deployment.objects.get(pk=made).to_version.withdrawn_at is not None
