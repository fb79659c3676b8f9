"""The limit per group is exact over two deployments, two workers that push and two web processes that claim.

The audit log proves it: each of its lines bears the moment of the statement that made the change, and under the
groups' locks a claim comes after everything that it has counted.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from django.db import connection

from deployments import locking
from deployments.engine import spread
from deployments.models import Deployment, DeploymentEvent, DeploymentTask
from deployments.reading import log_replay
from devices.models import Device
from tests.concurrency.processes import Child, Gate, as_ever, far_end, patch
from tests.concurrency.rollout import web, worker
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)

SHOPS, IN_SHOP, LIMIT = 3, 14, 2
OPTIONS: dict[str, Any] = {
    "failure_pct": 100,
    "ack_timeout_min": 0.05,
    "step_timeout_min": 0.2,
    "retry": {"max": 5, "backoff_sec": 1},
    "max_per_group": LIMIT,
}
WORKERS, WEBS = 2, 2
PATIENCE_SEC = 150.0
AT_WORK = ("sending", "installing")


def without_the_locks() -> None:
    """In a child: reckons which groups to lock and does not lock them."""
    locking.TAKE_GROUPS = "SELECT %s::text[], %s::int"


def _slow_counting(locks: Callable[[], None]) -> None:
    """Time between counting the places and taking one, in which another could do the same."""
    locks()
    count = spread.places

    def slowly(*given: Any) -> spread.Places:
        found = count(*given)
        if connection.in_atomic_block:
            time.sleep(random.uniform(0.02, 0.08))
        return found

    patch(spread, "places", slowly)


# --- a rollout -----------------------------------------------------------------------------------------------


def _fleets() -> tuple[list[Device], list[Device]]:
    """Half of each shop for one deployment, half for the other; each shop lies in one of two regions."""
    halves: tuple[list[Device], list[Device]] = ([], [])
    for shop in range(SHOPS):
        made = scene.devices(IN_SHOP, groups=[f"shop-{shop}", f"region-{shop % 2}"], fcm_token="token")
        halves[0].extend(made[::2])
        halves[1].extend(made[1::2])
    return halves


def _roll_out(locks: Callable[[], None], settings: Any) -> tuple[list[Deployment], list[str]]:
    """Two deployments with the same limit, until both are over or the log shows too many at work."""
    first, second = _fleets()
    other = scene.version(7, package="com.example.till")
    pair = [
        scene.start(first, spread_groups="shop-*", **OPTIONS),
        scene.start(second, to=other, spread_groups="shop-*", **OPTIONS),
    ]
    ids, fleet = [deployment.pk for deployment in pair], first + second
    settings.PUSH_TRANSPORT = "fcm"
    with far_end() as fcm, ExitStack() as ends:
        settings.FCM_ENDPOINT = fcm.url
        slowly = partial(_slow_counting, locks)
        deeds = [partial(web, slowly, fleet[part::WEBS]) for part in range(WEBS)]
        deeds += [partial(worker, slowly, ids) for _ in range(WORKERS)]
        children = [ends.enter_context(Child(deed)) for deed in deeds]
        deadline, broken = time.monotonic() + PATIENCE_SEC, _broken()
        while Deployment.objects.filter(pk__in=ids, status="running").exists() and not broken:
            assert time.monotonic() < deadline, [scene.counts(deployment) for deployment in pair]
            time.sleep(0.1)
            broken = _broken()
        assert all(child.process.is_alive() for child in children)
    return pair, broken


def _broken() -> list[str]:
    """Each send that found more than the limit at work in a shop, itself among them."""
    found = []
    for shop, spans in _spans().items():
        for start, _ in spans:
            at_work = sum(begun <= start and (end is None or end > start) for begun, end in spans)
            if at_work > LIMIT:
                found.append(f"{at_work} at work in {shop} at {start}")
    return found


def _spans() -> dict[str, list[tuple[datetime, datetime | None]]]:
    """From when to when devices of each shop were at work, by the log alone."""
    shop_of = {device.pk: device.groups[0] for device in Device.objects.all()}
    open_since: dict[int, datetime] = {}
    spans = defaultdict(list)
    moves = (
        DeploymentEvent.objects.exclude(device=None)
        .filter(meta__has_key="after")
        .order_by("created_at", "id")
    )
    for device, meta, at in moves.values_list("device_id", "meta", "created_at"):
        before, after = meta["before"] in AT_WORK, meta["after"] in AT_WORK
        if after and not before:
            open_since[device] = at
        elif before and not after:
            spans[shop_of[device]].append((open_since.pop(device), at))
    for device, since in open_since.items():
        spans[shop_of[device]].append((since, None))
    return spans


def test_no_shop_has_more_at_work_than_allowed_while_two_deployments_push_and_hand_out(settings: Any) -> None:
    pair, broken = _roll_out(as_ever, settings)
    assert broken == []
    for deployment in pair:
        assert scene.state(deployment) == ("complete", "")
        assert list(log_replay.differences(deployment.pk)) == []
    assert DeploymentTask.objects.filter(status="succeeded").count() >= 0.9 * SHOPS * IN_SHOP
    peaks = [
        max(
            sum(begun <= start and (end is None or end > start) for begun, end in spans) for start, _ in spans
        )
        for spans in _spans().values()
    ]
    assert peaks == [LIMIT] * SHOPS, "the places were to be used up"


def test_without_the_locks_the_same_run_breaks_the_limit(settings: Any) -> None:
    _, broken = _roll_out(without_the_locks, settings)
    assert broken


# --- two at one place ----------------------------------------------------------------------------------------


def _asks(locks: Callable[[], None], device: Device, _: Gate) -> bool:
    locks()
    return scene.beat(device) is not None


def _asks_and_waits(locks: Callable[[], None], device: Device, gate: Gate) -> bool:
    """Has counted under the lock and is about to claim."""
    locks()
    chosen = spread.with_a_place

    def and_waits(*given: Any) -> list[tuple[int, int]]:
        found = chosen(*given)
        gate()
        return found

    patch(spread, "with_a_place", and_waits)
    return scene.beat(device) is not None


def _two_for_one_place(locks: Callable[[], None]) -> tuple[bool, list[bool]]:
    """Whether the second waited, and who got a command."""
    first, second = scene.devices(2, groups=["shop-1", "north"])
    for device, code in ((first, 121), (second, 122)):
        scene.start([device], to=scene.version(code), max_per_group=1, spread_groups="shop-*")
    with Child(partial(_asks_and_waits, locks, first)) as claims:
        claims.comes()
        with Child(partial(_asks, locks, second)) as other:
            waited = other.waits_or_is_done()
            claims.opens()
            return waited, [claims.result(), other.result()]


def test_of_two_deployments_that_want_the_last_place_of_a_shop_one_gets_it() -> None:
    assert _two_for_one_place(as_ever) == (True, [True, False])


def test_without_the_locks_both_would() -> None:
    assert _two_for_one_place(without_the_locks) == (False, [True, True])


def test_two_that_want_several_shops_in_contrary_order_do_not_wait_in_a_circle() -> None:
    """Each takes all its groups at once and in one order, whatever order the device names them in."""
    shops = [f"shop-{number}" for number in range(40)]
    fleet = scene.devices(1, groups=shops) + scene.devices(1, groups=shops[::-1])
    pair = [
        scene.start([device], to=scene.version(code), max_per_group=2)
        for device, code in zip(fleet, (121, 122), strict=True)
    ]
    with Child(partial(_asks, as_ever, fleet[0])) as one, Child(partial(_asks, as_ever, fleet[1])) as two:
        assert [one.result(), two.result()] == [True, True]
    assert [scene.counts(deployment)["sending"] for deployment in pair] == [1, 1]
