"""max_per_group: whose place a send takes, in which groups, and what people read of it."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from deployments import tick
from deployments.engine import spread
from deployments.engine.spread import Places
from deployments.models import DeploymentTask
from deployments.operations import dry_run, lifecycle
from deployments.pages import device_deployments
from deployments.rules.options import DeploymentOptions
from devices import changes
from devices.models import Device
from devices.selection import Target
from tests.deployments import scene

pytestmark = pytest.mark.django_db


def shop(count: int, *groups: str, **more: Any) -> list[Device]:
    return scene.devices(count, groups=list(groups), **more)


def commands(fleet: list[Device]) -> int:
    """How many of these devices get a command, each asking once."""
    return sum(scene.beat(device) is not None for device in fleet)


# --- places --------------------------------------------------------------------------------------------------


def test_no_limit_is_never_full() -> None:
    places = Places(None, {"a": 1_000})
    assert places.full == ()
    assert all(places.take(["a"]) for _ in range(3))


def test_a_place_is_taken_in_each_group_or_in_none() -> None:
    places = Places(2, {"a": 1, "b": 2})
    assert places.full == ("b",)
    assert not places.take(["a", "b"])
    assert places.at_work == {"a": 1, "b": 2}
    assert places.take(["a", "c"])
    assert not places.take(["a"])
    assert places.take([])
    assert places.full == ("a", "b")


@given(
    st.text(alphabet="ab*?%_\\.-", max_size=6).filter(str.strip),
    st.lists(st.text(alphabet="ab*?%_\\.-", min_size=1, max_size=6), max_size=20),
)
def test_a_pattern_means_what_the_shell_means(pattern: str, names: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE name LIKE %s", [names, spread.like(pattern)]
        )
        found = [row[0] for row in cursor.fetchall()]
    assert found == [name for name in names if fnmatchcase(name, pattern)]


# --- claims --------------------------------------------------------------------------------------------------


def test_no_more_of_a_shop_are_at_work_than_allowed_and_the_next_follows_who_is_done() -> None:
    first, second = shop(3, "shop-1"), shop(3, "shop-2")
    deployment = scene.start(first + second, max_per_group=1)
    assert (commands(first), commands(second)) == (1, 1)
    assert scene.reasons(deployment) == {"group_limit": 4}
    scene.report(deployment, first[0], "succeeded")
    assert commands(first) == 1
    assert scene.counts(deployment) == {"queued": 3, "sending": 2, "succeeded": 1, "total": 6}


def test_a_device_in_several_groups_needs_a_place_in_each() -> None:
    (one,), (both,), (other,) = shop(1, "shop-1"), shop(1, "shop-1", "shop-2"), shop(1, "shop-2")
    deployment = scene.start([one, both, other], max_per_group=1)
    assert commands([one, both, other]) == 2
    assert scene.reason(deployment, both) == "group_limit"
    scene.report(deployment, one, "succeeded")
    assert commands([both]) == 0
    scene.report(deployment, other, "succeeded")
    assert commands([both]) == 1


def test_only_the_groups_that_are_meant_count_and_who_is_in_none_is_free() -> None:
    north, nowhere = shop(3, "north", "shop-1"), shop(3)
    deployment = scene.start(north + nowhere, max_per_group=1, spread_groups="south*")
    assert commands(north + nowhere) == 6
    for device in north + nowhere:
        scene.report(deployment, device, "succeeded")
    scene.start(north + nowhere, to=scene.version(122), max_per_group=1)
    assert (commands(north), commands(nowhere)) == (1, 3)


def test_the_tasks_of_all_deployments_count() -> None:
    fleet = shop(4, "shop-1")
    scene.start(fleet[:2])
    assert commands(fleet[:2]) == 2
    limited = scene.start(fleet[2:], to=scene.version(122), max_per_group=2)
    assert commands(fleet[2:]) == 0
    assert scene.reason(limited, fleet[2]) == "group_limit"


def test_a_deployment_without_the_limit_is_not_held_by_anothers() -> None:
    fleet = shop(4, "shop-1")
    scene.start(fleet[:2], max_per_group=1)
    assert commands(fleet[:2]) == 1
    scene.start(fleet[2:], to=scene.version(122))
    assert commands(fleet[2:]) == 2


def test_who_was_canceled_in_flight_keeps_the_place_until_it_reports() -> None:
    first, second = shop(2, "shop-1")
    canceled = scene.start([first])
    commands([first])
    lifecycle.cancel(scene.admin(), canceled.pk)
    scene.start([second], max_per_group=1)
    assert commands([second]) == 0
    scene.report(canceled, first, "skipped", error_code="canceled")
    assert commands([second]) == 1


def test_a_device_that_moves_to_another_shop_is_counted_there() -> None:
    first, second = shop(1, "shop-1")[0], shop(1, "shop-2")[0]
    scene.start([first, second], max_per_group=1)
    commands([first])
    changes.change(scene.admin(), first.pk, changes.DeviceChanges(groups=["shop-2"]))
    assert commands([second]) == 0


def test_pushes_fill_the_places_of_all_shops_in_one_step(settings: Any) -> None:
    settings.PUSH_TRANSPORT = "fcm"
    fleet = [device for name in ("a", "b", "c") for device in shop(5, name, fcm_token="token")]
    deployment = scene.start(fleet, max_per_group=2)
    at_work = DeploymentTask.objects.filter(deployment=deployment, status="sending")
    assert sorted(at_work.values_list("device__groups", flat=True)) == [["a"]] * 2 + [["b"]] * 2 + [["c"]] * 2
    assert len(tick.advance(deployment.pk)) == 0


def test_a_full_shop_holds_no_canary_place_of_another(settings: Any) -> None:
    settings.PUSH_TRANSPORT = "fcm"
    fleet = [*shop(4, "a", fcm_token="token"), *shop(1, "b", fcm_token="token")]
    deployment = scene.start(fleet, canary=2, max_per_group=1)
    tick.advance(deployment.pk)
    canary = DeploymentTask.objects.filter(deployment=deployment, is_canary=True)
    assert sorted(canary.values_list("device__groups", flat=True)) == [["a"], ["b"]]


def test_who_misses_a_condition_takes_no_place_in_its_shop() -> None:
    (low,), (ready,) = shop(1, "shop-1", beat={"battery": 5}), shop(1, "shop-1")
    deployment = scene.start([low, ready], max_per_group=1)
    scene.beat(low, battery=5)
    assert commands([ready]) == 1
    assert scene.reason(deployment, low) == "battery_low"


def test_who_is_ready_again_waits_in_the_queue_for_its_group() -> None:
    first, second = shop(2, "shop-1")
    deployment = scene.start([first, second], max_per_group=1)
    scene.beat(second, battery=5)
    commands([first])
    assert commands([second]) == 0
    assert (scene.task(deployment, second).status, scene.reason(deployment, second)) == (
        "queued",
        "group_limit",
    )


def test_at_its_deadline_too() -> None:
    first, second = shop(2, "shop-1")
    deployment = scene.start([first, second], max_per_group=1, deadline_hours=1, ack_timeout_min=600)
    scene.beat(second, battery=5)
    commands([first])
    scene.age(deployment, hours=2)
    scene.readings(second, battery=90)
    tick.advance(deployment.pk)
    assert (scene.task(deployment, second).status, scene.reason(deployment, second)) == (
        "queued",
        "group_limit",
    )


# --- what people read ----------------------------------------------------------------------------------------


def test_the_page_names_the_group_and_the_limit() -> None:
    first, second = shop(2, "region-north", "shop-1")
    scene.start([first, second], max_per_group=1, spread_groups="shop-*")
    commands([first])
    (row,) = device_deployments.of_device(second.pk)
    assert (row["reason"], row["observed"]) == ("group_limit", "shop-1 at its limit")
    assert row["required"] == "fewer than 1 at work in each group"


def _dry_run(fleet: list[Device], **options: Any) -> dict[str, Any]:
    return dry_run.make(
        scene.admin(),
        apk_version_id=scene.version().pk,
        target=Target.model_validate({"type": "selection", "device_ids": [device.pk for device in fleet]}),
        options=DeploymentOptions.from_json(scene.EASY | options),
    )


def test_the_dry_run_names_the_group_that_limits() -> None:
    fleet = [*shop(2, "shop-1"), *shop(5, "shop-2", "region"), *shop(1, "shop-2", sdk_int=20)]
    answer = _dry_run(fleet, max_per_group=1, spread_groups="shop-*")
    assert answer["will_update"] == 7
    assert (answer["forecast"]["limited_by"], answer["forecast"]["group"]) == ("group_limit", "shop-2")
    assert "shop-2 has 5 devices, 1 at a time" in answer["forecast"]["sentence"]


def test_what_waits_for_its_group_will_update() -> None:
    fleet = shop(3, "shop-1")
    scene.start(fleet[:1])
    commands(fleet[:1])
    answer = _dry_run(fleet[1:], max_per_group=1)
    assert (answer["will_update"], answer["later"]) == (2, [])


def test_without_the_limit_no_group_is_named() -> None:
    forecast = _dry_run(shop(3, "shop-1"))["forecast"]
    assert (forecast["limited_by"], forecast["group"]) == ("concurrency_limit", None)
