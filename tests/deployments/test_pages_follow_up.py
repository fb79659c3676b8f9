"""The pages of going back and trying again: who is offered what, what is confirmed, what a stale page is told."""

import re
from typing import Any

import pytest
from django.test import Client

from apks import allowlist
from deployments import tick
from deployments.models import Deployment
from deployments.operations import lifecycle, rollback
from deployments.operations.rollback import Consent
from tests.deployments import scene
from tests.deployments.going_back import SHOP, go_back, on, rebuilt, tripped, version
from tests.deployments.pages import address, signed_in

pytestmark = pytest.mark.django_db


def html(client: Client, where: str) -> str:
    answer = client.get(where)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def fields(page: str) -> dict[str, str]:
    """The hidden inputs, as the browser would send them."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: value for name, value in found if name != "csrfmiddlewaretoken"}


def by_rebuild() -> Deployment:
    rebuilt()
    return tripped(scene.devices(4), installed=2)


def by_reinstall() -> Deployment:
    version(120, SHOP)
    return tripped(scene.devices(4, current_versions=on(SHOP, 120)), package=SHOP, installed=2)


def test_a_tripped_gate_offers_the_rebuild_to_a_fleet_admin_and_names_one_to_an_operator() -> None:
    bad = by_rebuild()
    page = html(signed_in("fleet admin"), address(bad))
    assert "An update to 1.0.122, a rebuild of the last good version, takes 1.0.121 off" in page
    assert 'id="nx-rollback"' in page
    page = html(signed_in("operator"), address(bad))
    assert "A fleet admin can roll it back." in page
    assert 'id="nx-rollback"' not in page


def test_before_a_gate_has_tripped_the_page_says_what_the_way_back_would_be() -> None:
    rebuilt()
    page = html(signed_in("fleet admin"), address(scene.start(scene.devices(1))))
    assert "Update to 1.0.122 (122), a rebuild of the last good version; data stays" in page
    assert "offered once the canary has failed" in page
    assert 'id="nx-rollback"' not in page


def test_where_there_is_no_way_back_the_page_says_what_is_missing() -> None:
    version(120)
    page = html(signed_in("fleet admin"), address(tripped(scene.devices(3))))
    assert "Missing: a rebuild of 1.0.120 (120)" in page
    assert 'id="nx-rollback"' not in page


def test_a_rebuild_is_one_click_and_one_confirmation() -> None:
    bad, client = by_rebuild(), signed_in("fleet admin")
    page = html(client, address(bad, "rollback/"))
    assert "Roll back 3 devices to 1.0.122" in page
    assert "The app&#x27;s data stays." in page
    answer = client.post(address(bad, "rollback/"), fields(page), follow=True)
    made = Deployment.objects.get(rollback_of=bad)
    assert answer.redirect_chain == [(address(made), 302)]
    assert f'Rollback of <a href="{address(bad)}">' in answer.content.decode()
    assert f'Rolled back by <a href="{address(made)}">' in html(client, address(bad))


def test_a_reinstall_says_that_data_is_lost_and_wants_the_version_typed() -> None:
    bad, client = by_reinstall(), signed_in("fleet admin")
    assert "All data of the app on these devices is lost." in html(client, address(bad))
    page = html(client, address(bad, "rollback/"))
    assert f"All data of {SHOP} on them is lost" in page
    unsaid = client.post(address(bad, "rollback/"), fields(page))
    assert "This field is required." in unsaid.content.decode()
    said: dict[str, Any] = fields(page) | {"accept_data_loss": "on", "confirm_version": "1.0.121"}
    assert client.post(address(bad, "rollback/"), said).status_code == 422
    assert not Deployment.objects.filter(rollback_of=bad).exists()
    client.post(address(bad, "rollback/"), said | {"confirm_version": "1.0.120", "reason": "tills freeze"})
    assert Deployment.objects.get(rollback_of=bad).install_mode == "reinstall"


def test_the_second_tab_is_told_that_it_is_done() -> None:
    bad, client = by_rebuild(), signed_in("fleet admin")
    page = html(client, address(bad, "rollback/"))
    made = go_back(bad)
    answer = client.post(address(bad, "rollback/"), fields(page))
    assert answer.status_code == 409
    assert f"Rolled back already, by deployment #{made.pk}." in answer.content.decode()
    assert client.get(address(bad, "rollback/")).status_code == 302


def test_a_page_that_showed_another_way_back_is_told() -> None:
    bad, client = by_rebuild(), signed_in("fleet admin")
    page = html(client, address(bad, "rollback/"))
    version(123, rebuild_of=version(120))
    answer = client.post(address(bad, "rollback/"), fields(page))
    assert answer.status_code == 409
    assert "another by now" in answer.content.decode()


@pytest.mark.parametrize("page", ["rollback/", "retry/"])
@pytest.mark.parametrize("group", ["", "viewer"])
def test_who_may_not_gets_neither_page(page: str, group: str) -> None:
    bad = by_rebuild()
    client = signed_in(group)
    assert client.get(address(bad, page)).status_code == 403
    assert client.post(address(bad, page), {"reason": ""}).status_code == 403


def test_an_operator_may_not_roll_back() -> None:
    bad = by_rebuild()
    assert signed_in("operator").post(address(bad, "rollback/"), {"reason": ""}).status_code == 403
    assert Deployment.objects.count() == 1


def canceled() -> Deployment:
    deployment = scene.start(scene.devices(3))
    lifecycle.cancel(scene.admin(), deployment.pk)
    return deployment


def test_a_finished_deployment_is_tried_again_by_an_operator() -> None:
    first, client = canceled(), signed_in("operator")
    assert "3 devices failed or were skipped." in html(client, address(first))
    page = html(client, address(first, "retry/"))
    assert "Try 3 devices again" in page
    answer = client.post(address(first, "retry/"), fields(page), follow=True)
    made = Deployment.objects.get(retry_of=first)
    assert answer.redirect_chain == [(address(made), 302)]
    assert f'Retry of <a href="{address(first)}">' in answer.content.decode()
    shown = html(client, address(first))
    assert f'Tried again by <a href="{address(made)}">' in shown
    assert 'id="nx-retry"' not in shown
    again = client.post(address(first, "retry/"), fields(page))
    assert again.status_code == 409
    assert f"already, by deployment #{made.pk}" in again.content.decode()


def test_one_that_runs_or_whose_version_is_withdrawn_offers_no_retry() -> None:
    client = signed_in("operator")
    assert 'id="nx-retry"' not in html(client, address(scene.start(scene.devices(1))))
    first = canceled()
    allowlist.withdraw(scene.admin(), first.to_version_id, "bad")
    page = html(client, address(first))
    assert "The version was withdrawn, so it cannot be tried again." in page
    assert 'id="nx-retry"' not in page


def test_a_rollback_says_whom_it_is_for() -> None:
    bad = by_rebuild()
    made = rollback.roll_back(scene.admin(), bad.pk, Consent())
    tick.advance(made)
    page = html(signed_in("viewer"), address(Deployment.objects.get(pk=made)))
    assert f"Devices that got {bad.to_version}, or may have it" in page


# --- withdrawing ---------------------------------------------------------------------------------------------
def test_the_page_of_a_withdrawal_says_whom_it_affects() -> None:
    fleet = scene.devices(3)
    deployment = scene.start(fleet)
    scene.install(deployment, fleet[0])
    assert scene.beat(fleet[1])
    where = f"/admin/apks/apkversion/{deployment.to_version_id}/withdraw/"
    client = signed_in("fleet admin")
    page = html(client, where)
    assert "1 device that has it keeps it." in page
    assert f"1 live deployment of it must stop at once: #{deployment.pk}" in page
    assert "1 device at work" in page
    assert client.post(where, {"reason": ""}).status_code == 200
    assert scene.state(deployment) == ("running", "")
    client.post(where, {"reason": "tills freeze"})
    assert scene.state(deployment) == ("paused", "version_withdrawn")
    second = client.post(where, {"reason": "another"}, follow=True).content.decode()
    assert "was withdrawn already: tills freeze" in second
    assert client.get(where).status_code == 302
