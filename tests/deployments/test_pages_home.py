"""The first page of the admin, and the page of a device: what needs a person, and why not."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deployments import tick
from deployments.models import FleetSwitch
from deployments.operations import fleet_switch, lifecycle
from tests.deployments import scene
from tests.deployments.pages import address, signed_in

pytestmark = pytest.mark.django_db


def home(group: str = "viewer") -> str:
    return signed_in(group).get("/admin/").content.decode()


def test_an_empty_installation_shows_the_three_steps_to_the_first_deployment() -> None:
    page = home("fleet admin")
    assert "Three steps to the first deployment" in page
    assert "Done:" not in page
    assert "issue an enrolment token" in page


def test_steps_that_are_done_are_marked() -> None:
    scene.version()
    assert home().count("Done:") == 2


def test_held_deployments_come_first_then_those_on_their_way() -> None:
    held = scene.start(scene.devices(2))
    running = scene.start(scene.devices(2), to=scene.version(122))
    lifecycle.pause(scene.admin(), held.pk, reason="lunch")
    page = home()
    assert page.index("Held: a person has to decide") < page.index(address(held))
    assert page.index(address(held)) < page.index("On their way") < page.index(address(running))
    assert "Three steps" not in page


def test_with_the_flag_off_the_first_page_says_so() -> None:
    FleetSwitch.objects.update(deployments_enabled=False)
    assert "Deployments are switched off" in home()


def test_the_first_page_says_where_the_switch_stands_and_who_turned_it() -> None:
    assert "Kill switch off" in home()
    fleet_switch.change(scene.admin(), kill_switch=True, reason="<bad> build")
    page = signed_in("operator").get("/admin/").content.decode()
    assert "Kill switch <strong>on</strong>" in page
    assert "last turned by ada" in page
    assert "&lt;bad&gt; build" in page


def test_staff_without_a_group_sees_nothing_of_deployments() -> None:
    scene.start(scene.devices(1))
    page = home("")
    assert "On their way" not in page
    assert "nx-bar" not in page


def test_an_idle_installation_says_that_nothing_waits() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    scene.install(deployment, device)
    tick.advance(deployment.pk)
    assert "Nothing is held and nothing is on its way." in home()


def test_the_number_of_queries_does_not_grow_with_the_deployments() -> None:
    client = signed_in("viewer")
    counted = []
    for code in (121, 122):
        scene.start(scene.devices(20), to=scene.version(code))
        with CaptureQueriesContext(connection) as queries:
            client.get("/admin/")
        counted.append(len(queries))
    assert counted[0] == counted[1]


def test_the_page_of_a_device_says_why_it_was_not_updated() -> None:
    (device,) = scene.devices(1, beat={"battery": 12})
    waiting = scene.start([device])
    page = signed_in("viewer").get(f"/admin/devices/device/{device.pk}/change/").content.decode()
    assert address(waiting) in page
    assert "Battery too low: 12 %; needed: at least 40 %" in page


def test_the_page_of_a_device_keeps_what_became_of_earlier_deployments() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], retry={"max": 0, "backoff_sec": 1})
    scene.beat(device)
    scene.report(deployment, device, "failed", error_code="install_blocked", error="<b>no</b>")
    page = signed_in("viewer").get(f"/admin/devices/device/{device.pk}/change/").content.decode()
    assert "Installation blocked" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page


def test_the_page_of_a_device_shows_every_check_of_what_it_waits_for() -> None:
    (device,) = scene.devices(1, beat={"battery": 12})
    deployment = scene.start([device], min_battery=40)
    page = signed_in("viewer").get(f"/admin/devices/device/{device.pk}/change/").content.decode()
    assert f"#{deployment.pk} " in page
    assert "what is asked of this device" in page
    checks = page.partition("Every check")[2].partition("</table>")[0]
    battery = checks.partition('<th scope="row">Battery</th>')[2].partition("</tr>")[0]
    assert "failed" in battery
    assert "12 %" in battery
    wifi = checks.partition('<th scope="row">Wi-Fi or Ethernet</th>')[2].partition("</tr>")[0]
    assert "passed" in wifi


def test_nothing_is_asked_of_a_device_that_is_done() -> None:
    (device,) = scene.devices(1)
    scene.install(scene.start([device], canary=0), device)
    page = signed_in("viewer").get(f"/admin/devices/device/{device.pk}/change/").content.decode()
    assert "Succeeded" in page
    assert "Every check" not in page
