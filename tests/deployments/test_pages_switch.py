"""Kill switch and feature flag on their page, and the banner on every other."""

from typing import Any

import pytest
from django.test import Client

from deployments.models import FleetSwitch
from mdm.models import AuditEvent
from tests.deployments import scene
from tests.deployments.pages import GROUPS, address, signed_in

pytestmark = pytest.mark.django_db

PAGE = "/admin/deployments/fleetswitch/"


def turn(client: Client, name: str, **given: Any) -> Any:
    seen = FleetSwitch.objects.get().changed_at.isoformat()
    body = {"reason": "tills freeze", "changed_at": seen} | given
    return client.post(PAGE, {"turn": name} | {f"{name}-{field}": value for field, value in body.items()})


def switch() -> FleetSwitch:
    return FleetSwitch.objects.get()


def test_the_page_says_what_the_switch_would_stop_now() -> None:
    running = scene.start(scene.devices(2))
    page = signed_in("viewer").get(PAGE).content.decode()
    assert "What the kill switch would stop now: 1 deployment" in page
    assert "2 devices waiting, 0 at work." in page
    assert address(running) in page
    assert "?turn=" not in page


@pytest.mark.parametrize(
    ("group", "allowed"),
    [
        ("viewer", set()),
        ("operator", {"engage"}),
        ("fleet admin", {"engage", "release", "enable", "disable"}),
    ],
)
def test_each_turn_says_first_what_it_would_do_to_who_may_turn_it(group: str, allowed: set[str]) -> None:
    scene.start(scene.devices(2))
    client = signed_in(group)
    for name in ("engage", "release", "enable", "disable"):
        for headers in ({}, {"HX-Request": "true"}):
            answer = client.get(f"{PAGE}?turn={name}", headers=headers)
            assert answer.status_code == (200 if name in allowed else 403), name
            if name in ("engage", "disable") and name in allowed:
                said = answer.content.decode()
                assert "Pauses every queued or running deployment: 1." in said
                assert f'name="{name}-reason"' in said
                assert ("<html" in said) == (not headers)
    assert client.get(f"{PAGE}?turn=everything").status_code == 403


def test_the_last_changes_are_shown_to_who_may_read_the_log() -> None:
    admin = signed_in("fleet admin")
    turn(admin, "enable")
    assert "Last changes" in admin.get(PAGE).content.decode()
    assert "Last changes" not in signed_in("viewer").get(PAGE).content.decode()


def test_the_banner_leads_to_turning_it_off_for_who_may() -> None:
    FleetSwitch.objects.update(kill_switch=True, reason="bad build")
    assert f'{PAGE}?turn=release"' in signed_in("fleet admin").get("/admin/").content.decode()
    assert "?turn=release" not in signed_in("operator").get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("group", "allowed"),
    [
        ("viewer", set()),
        ("operator", {"engage"}),
        ("fleet admin", {"engage", "release", "enable", "disable"}),
    ],
)
def test_each_group_turns_what_it_may_and_is_refused_the_rest(group: str, allowed: set[str]) -> None:
    client = signed_in(group)
    for name in ("engage", "release", "enable", "disable"):
        before = (switch().kill_switch, switch().deployments_enabled)
        status = turn(client, name, typed="RESUME ALL").status_code
        assert status == (302 if name in allowed else 403), name
        if name not in allowed:
            assert (switch().kill_switch, switch().deployments_enabled) == before


def test_the_switch_stops_running_deployments_and_says_so_everywhere() -> None:
    deployment = scene.start(scene.devices(2))
    client = signed_in("operator")
    assert turn(client, "engage").status_code == 302
    assert scene.state(deployment) == ("paused", "kill_switch")
    for where in ("/admin/", PAGE, address(deployment), "/admin/devices/device/", "/admin/apks/apkversion/"):
        page = client.get(where).content.decode()
        assert "All rollouts are stopped: the kill switch is on." in page
        assert "“tills freeze”" in page
    assert "kill switch is on" not in Client().get("/admin/login/").content.decode()


def test_turning_it_off_wants_the_words_typed_and_leaves_deployments_paused() -> None:
    deployment = scene.start(scene.devices(2))
    client = signed_in("fleet admin")
    turn(client, "engage")
    refused = turn(client, "release", typed="resume all")
    assert "Type RESUME ALL, in capitals." in refused.content.decode()
    assert switch().kill_switch
    assert turn(client, "release", typed="RESUME ALL").status_code == 302
    assert not switch().kill_switch
    assert scene.state(deployment) == ("paused", "kill_switch")
    assert "All rollouts are stopped" not in client.get("/admin/").content.decode()


def test_every_turn_wants_a_reason() -> None:
    answer = turn(signed_in("fleet admin"), "engage", reason="  ")
    assert "This field is required." in answer.content.decode()
    assert not switch().kill_switch


def test_who_looked_at_an_older_state_is_told() -> None:
    answer = turn(signed_in("fleet admin"), "engage", changed_at="2020-01-01T00:00:00+00:00")
    assert answer.status_code == 409
    assert "Somebody changed the switch meanwhile" in answer.content.decode()
    assert not switch().kill_switch


def test_the_flag_is_turned_with_a_reason_and_audited() -> None:
    client = signed_in("fleet admin")
    assert turn(client, "enable").status_code == 302
    assert switch().deployments_enabled
    assert AuditEvent.objects.filter(action="fleet_switch", actor="user:fleet-admin").exists()
    assert turn(client, "disable").status_code == 302
    assert not switch().deployments_enabled


@pytest.mark.parametrize("turned", ["", "everything", "engage\0"])
def test_what_is_no_turn_is_refused(turned: str) -> None:
    assert signed_in("fleet admin").post(PAGE, {"turn": turned}).status_code == 403


@pytest.mark.parametrize("stamp", ["", "nonsense", "2020-01-01T00:00:00", "9" * 400])
def test_a_broken_stamp_turns_nothing(stamp: str) -> None:
    assert turn(signed_in("fleet admin"), "engage", changed_at=stamp).status_code in (200, 409)
    assert not switch().kill_switch


@pytest.mark.parametrize("group", GROUPS)
def test_everybody_in_a_group_sees_the_page(group: str) -> None:
    assert signed_in(group).get(PAGE).status_code == 200
