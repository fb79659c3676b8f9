"""APPROVAL_ABOVE: who may approve what, when it starts, and what is shown until then."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client

from deployments import tick
from deployments.models import Deployment, DeploymentEvent
from deployments.operations import beginning, dry_run, fleet_switch, lifecycle, retrying, rollback
from deployments.reading import log_replay
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import DeploymentStatus
from devices.models import Device
from devices.selection import Target
from mdm.people import Actor
from mdm.problems import Conflict, Forbidden, Problem
from tests.calls import Caller, as_user
from tests.deployments import scene
from tests.deployments.pages import address, signed_in, someone

pytestmark = pytest.mark.django_db

LIMIT = 3


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    settings.APPROVAL_ABOVE = LIMIT


def asked(count: int = LIMIT + 1, **options: Any) -> Deployment:
    """Started by Ada for so many devices, and planned."""
    return scene.start(scene.devices(count), **options)


def bob() -> Actor:
    return Actor.person(User.objects.filter(username="fleet-admin").first() or someone("fleet admin"))


def now_is(deployment: Deployment) -> str:
    tick.advance(deployment.pk)
    assert list(log_replay.differences(deployment.pk)) == []
    return Deployment.objects.get(pk=deployment.pk).status


def refusal(actor: Actor, deployment: Deployment, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        beginning.approve(actor, deployment.pk, **more)
    return caught.value


# --- what needs it -------------------------------------------------------------------------------------------


def test_more_targets_than_the_limit_stay_queued_and_nothing_is_sent() -> None:
    deployment = asked()
    for device in Device.objects.all():
        assert scene.beat(device) is None
    assert now_is(deployment) == "queued"
    assert scene.reasons(deployment) == {"needs_approval": LIMIT + 1}
    told = DeploymentEvent.objects.get(deployment=deployment, level="warn")
    assert told.message == "Waits for another person's approval: 4 devices are more than 3"


@pytest.mark.parametrize(("above", "count"), [(LIMIT, LIMIT), (0, LIMIT + 1)], ids=["at the limit", "off"])
def test_others_start_at_once(settings: Any, above: int, count: int) -> None:
    settings.APPROVAL_ABOVE = above
    assert now_is(asked(count)) == "running"


def test_every_target_counts_the_excluded_as_well() -> None:
    scene.devices(2, installed=121)
    assert now_is(scene.start(list(Device.objects.all()) + scene.devices(2))) == "queued"


def test_a_retry_of_many_needs_it_too() -> None:
    deployment = asked()
    beginning.approve(bob(), deployment.pk)
    lifecycle.cancel(scene.admin(), deployment.pk)
    again = retrying.retry(scene.admin(), deployment.pk)
    assert now_is(Deployment.objects.get(pk=again)) == "queued"
    assert scene.reasons(Deployment(pk=again)) == {"needs_approval": LIMIT + 1}


def test_a_rollback_of_many_does_not() -> None:
    scene.version(120)
    rebuilt = scene.version(122)
    type(rebuilt).objects.filter(pk=rebuilt.pk).update(rebuild_of=scene.version(120))
    deployment = asked(canary=1, retry={"max": 0, "backoff_sec": 1})
    beginning.approve(bob(), deployment.pk)
    fleet = list(Device.objects.order_by("id"))
    scene.beat(fleet[0])
    scene.report(deployment, fleet[0], "failed", error_code="apk_invalid")
    tick.advance(deployment.pk)
    assert scene.state(deployment) == ("paused", "canary_failed")
    Deployment.objects.filter(pk=deployment.pk).update(canary_state="overridden")
    made = rollback.roll_back(scene.admin(), deployment.pk, rollback.Consent(reason="tills freeze"))
    Deployment.objects.filter(pk=made).update(planned_at=None)
    assert now_is(Deployment.objects.get(pk=made)) != "queued"


# --- the approval --------------------------------------------------------------------------------------------


def test_another_fleet_admin_approves_and_at_that_moment_it_has_started() -> None:
    deployment = asked()
    beginning.approve(bob(), deployment.pk, reason="looks good")
    found = Deployment.objects.get(pk=deployment.pk)
    assert (found.status, found.approved_by) == ("running", User.objects.get(username="fleet-admin"))
    assert found.started_at == found.approved_at is not None
    event = DeploymentEvent.objects.get(deployment=deployment, meta__after="running")
    assert (event.message, event.actor) == ("Approved: looks good", "user:fleet-admin")
    assert event.meta["targets"] == LIMIT + 1
    assert scene.beat(Device.objects.order_by("id")[0]) is not None
    assert now_is(deployment) == "running"


def test_nobody_approves_his_own() -> None:
    deployment = asked()
    assert isinstance(refusal(scene.admin(), deployment), Forbidden)
    assert now_is(deployment) == "queued"
    with pytest.raises(IntegrityError), transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(approved_by=scene.admin().user)


@pytest.mark.parametrize("group", ["", "viewer", "operator"])
def test_who_may_not_approve_is_refused(group: str) -> None:
    deployment = asked()
    assert isinstance(refusal(Actor.person(someone(group)), deployment), Forbidden)
    assert now_is(deployment) == "queued"


def test_a_read_only_token_of_a_fleet_admin_may_not() -> None:
    deployment = asked()
    actor = Actor.person(someone("fleet admin"), read_only=True)
    assert isinstance(refusal(actor, deployment), Forbidden)


def test_pressed_twice_and_by_two_it_is_one_approval() -> None:
    deployment = asked()
    beginning.approve(bob(), deployment.pk)
    before = Deployment.objects.values().get(pk=deployment.pk), scene.events(deployment)
    beginning.approve(bob(), deployment.pk)
    third = User.objects.create_user("carol", is_superuser=True)
    beginning.approve(Actor.person(third), deployment.pk)
    assert (Deployment.objects.values().get(pk=deployment.pk), scene.events(deployment)) == before


def test_a_stale_view_is_told_the_state() -> None:
    deployment = asked()
    beginning.approve(bob(), deployment.pk)
    problem = refusal(bob(), deployment, expected_status="queued")
    assert (problem.status, problem.extra["current_status"]) == (409, "running")


def _canceled() -> Deployment:
    deployment = asked()
    lifecycle.cancel(scene.admin(), deployment.pk)
    return deployment


@pytest.mark.parametrize(
    ("make", "status"),
    [(lambda: asked(1), "running"), (_canceled, "canceled")],
    ids=["too small to need it", "canceled"],
)
def test_where_there_is_nothing_to_approve_it_is_a_conflict(make: Any, status: str) -> None:
    problem = refusal(bob(), make())
    assert isinstance(problem, Conflict)
    assert (problem.slug, problem.extra["current_status"]) == ("no_approval_needed", status)


def test_one_that_is_not_planned_yet_is_planned_first() -> None:
    scene.enable()
    fleet = scene.devices(LIMIT + 1)
    pk = lifecycle.start(
        scene.admin(),
        apk_version_id=scene.version().pk,
        target=Target.model_validate({"type": "selection", "device_ids": [device.pk for device in fleet]}),
        options=DeploymentOptions.from_json(scene.EASY),
    )
    assert Deployment.objects.get(pk=pk).planned_at is None
    beginning.approve(bob(), pk)
    assert scene.counts(Deployment(pk=pk)) == {"queued": LIMIT + 1, "total": LIMIT + 1}
    assert now_is(Deployment(pk=pk)) == "running"


# --- paused meanwhile ----------------------------------------------------------------------------------------


def test_paused_and_resumed_it_still_waits() -> None:
    deployment = asked()
    lifecycle.pause(scene.admin(), deployment.pk)
    assert scene.reasons(deployment) == {"paused": LIMIT + 1}
    lifecycle.resume(scene.admin(), deployment.pk)
    assert now_is(deployment) == "queued"


def test_approved_while_paused_it_starts_when_it_is_resumed_and_has_started_with_the_approval() -> None:
    deployment = asked()
    lifecycle.pause(scene.admin(), deployment.pk)
    beginning.approve(bob(), deployment.pk)
    assert now_is(deployment) == "paused"
    lifecycle.resume(scene.admin(), deployment.pk)
    assert now_is(deployment) == "running"
    found = Deployment.objects.get(pk=deployment.pk)
    assert found.started_at == found.approved_at is not None


def test_the_kill_switch_holds_what_is_approved() -> None:
    deployment = asked()
    fleet_switch.change(scene.admin(), kill_switch=True, reason="smoke")
    beginning.approve(bob(), deployment.pk)
    assert scene.state(deployment) == ("paused", "kill_switch")


def test_a_stop_does_not_depend_on_it() -> None:
    deployment = asked()
    lifecycle.cancel(scene.admin(), deployment.pk)
    assert now_is(deployment) == "canceled"


# --- the API -------------------------------------------------------------------------------------------------


def _approve(caller: Caller, deployment: Deployment, body: Any = None) -> Any:
    return caller("POST", f"/v1/deployments/{deployment.pk}/approve", body)


def test_the_api_approves_and_shows_by_whom() -> None:
    deployment = asked()
    caller = as_user(someone("fleet admin"))
    shown = caller("GET", f"/v1/deployments/{deployment.pk}").body
    assert (shown["status"], shown["needs_approval"], shown["approved_by"]) == ("queued", True, None)
    for _ in range(2):
        reply = _approve(caller, deployment, {"reason": "looks good"})
        assert (reply.status, reply.body["status"], reply.body["needs_approval"]) == (200, "running", False)
    assert reply.body["approved_by"] == "fleet-admin"
    assert reply.body["approved_at"] == reply.body["started_at"]


def test_the_api_refuses_the_starter_a_stale_view_and_the_unknown() -> None:
    deployment = asked()
    ada = as_user(User.objects.get(username="ada"))
    assert (_approve(ada, deployment).status, _approve(ada, deployment).type) == (403, "own_deployment")
    caller = as_user(someone("fleet admin"))
    stale = _approve(caller, deployment, {"expected_status": "paused"})
    assert (stale.status, stale.body["current_status"]) == (409, "queued")
    assert _approve(caller, Deployment(pk=deployment.pk + 1)).status == 404
    assert _approve(caller, deployment, {"reason": 5}).status == 422
    assert _approve(as_user(someone("operator")), deployment).status == 403
    assert _approve(Caller(), deployment).status == 401
    assert now_is(deployment) == "queued"


def test_the_dry_run_says_that_it_will_be_needed() -> None:
    fleet = scene.devices(LIMIT + 1)

    def needed(count: int) -> bool:
        ids = [device.pk for device in fleet[:count]]
        target = Target.model_validate({"type": "selection", "device_ids": ids})
        options = DeploymentOptions.from_json(scene.EASY)
        answer = dry_run.make(
            scene.admin(), apk_version_id=scene.version().pk, target=target, options=options
        )
        return bool(answer["needs_approval"])

    assert (needed(LIMIT), needed(LIMIT + 1)) == (False, True)


# --- the pages -----------------------------------------------------------------------------------------------


def _page(client: Client, deployment: Deployment) -> str:
    answer = client.get(address(deployment))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_says_what_it_waits_for_and_only_who_may_sees_the_button() -> None:
    deployment = asked()
    ada = Client()
    ada.force_login(User.objects.get(username="ada"))
    for client, button in ((ada, False), (signed_in("operator"), False), (signed_in("fleet admin"), True)):
        page = _page(client, deployment)
        assert "Needs approval" in page
        assert "Nothing is sent before another person approves" in page
        assert ('id="nx-approve"' in page) is button


def test_the_button_approves_and_the_page_shows_by_whom() -> None:
    deployment = asked()
    client = signed_in("fleet admin")
    asks = client.get(address(deployment, "approve/"))
    assert "Approve for 4 devices" in asks.content.decode()
    answer = client.post(address(deployment, "approve/"), {"reason": "ok", "expected_status": "queued"})
    assert (answer.status_code, answer.headers["Location"]) == (302, address(deployment))
    page = _page(client, deployment)
    assert "fleet-admin" in page
    assert 'id="nx-approve"' not in page
    assert now_is(deployment) == DeploymentStatus.RUNNING


def test_a_stale_page_and_the_starter_are_refused_on_the_page_too() -> None:
    deployment = asked()
    client = signed_in("fleet admin")
    beginning.approve(bob(), deployment.pk)
    stale = client.post(address(deployment, "approve/"), {"reason": "", "expected_status": "queued"})
    assert stale.status_code == 409
    assert "now running" in stale.content.decode()
    ada = Client()
    ada.force_login(User.objects.get(username="ada"))
    other = asked()
    assert ada.post(address(other, "approve/"), {"expected_status": "queued"}).status_code == 403
    assert signed_in("operator").get(address(other, "approve/")).status_code == 403


def test_the_first_page_lists_it_among_those_that_wait_for_a_person() -> None:
    deployment = asked()
    client = signed_in("fleet admin")
    for page in ("/admin/", "/admin/deployments/deployment/"):
        found = client.get(page).content.decode()
        assert "Needs approval" in found
        assert f"/admin/deployments/deployment/{deployment.pk}/details/" in found
