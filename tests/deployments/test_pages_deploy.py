"""Deploy: from the row of a version over the dry run to a deployment of exactly those devices."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apks.models import Apk, ApkVersion
from deployments import tick
from deployments.models import Deployment, DeploymentTask, DryRun, FleetSwitch
from deployments.rules.option_fields import FIELDS
from deployments.rules.options import DeploymentOptions
from tests.deployments import scene
from tests.deployments.pages import signed_in

pytestmark = pytest.mark.django_db

VERSIONS = "/admin/apks/apkversion/"
DAYS = ["mon", "tue"]


def page_of(version: ApkVersion) -> str:
    return f"{VERSIONS}{version.pk}/deploy/"


def filled(**changes: Any) -> dict[str, Any]:
    """The form as the page shows it at first, with these changes; None leaves an input out."""
    values: dict[str, Any] = {"target_type": "fleet", "window_kind": "none", "window_tz": "UTC"}
    for option in FIELDS:
        if option.kind == "boolean":
            values |= {option.name: "on"} if option.default else {}
        elif option.kind != "window" and option.default not in (None, {}):
            values[option.name] = option.default
    values["post_install.restart_intent.extras"] = "{}"
    return {name: value for name, value in (values | changes).items() if value is not None}


def ask(client: Client, version: ApkVersion, act: str = "dry_run", **changes: Any) -> Any:
    return client.post(page_of(version), filled(act=act, **changes))


def run_id(answer: Any) -> str:
    found = re.search(r'name="dry_run_id" value="(\d+)"', answer.content.decode())
    assert found
    return found[1]


def test_every_option_has_an_input_with_its_default_and_the_defaults_are_the_options() -> None:
    scene.enable()
    scene.devices(1)
    version, client = scene.version(), signed_in("operator")
    page = client.get(page_of(version)).content.decode()
    for option in FIELDS:
        if option.kind != "window":
            assert f'name="{option.name}"' in page
            assert option.help.replace("'", "&#x27;") in page
    assert ask(client, version).status_code == 200
    assert DryRun.objects.get().options == DeploymentOptions().to_json()


def test_a_dry_run_says_who_and_why_and_sends_nothing() -> None:
    scene.enable()
    scene.devices(3)
    scene.devices(2, installed=121)
    scene.devices(4, beat={"battery": 3})
    answer = ask(signed_in("operator"), scene.version())
    page = answer.content.decode()
    assert "will update, of 9 devices" in page
    assert "2 excluded" in page
    assert "4 will start later" in page
    assert "Battery too low" in page
    assert "Start deployment on 7 devices" in page
    assert "aria-disabled" not in page
    assert not Deployment.objects.exists()


def test_a_start_takes_exactly_the_devices_and_options_of_the_dry_run() -> None:
    scene.enable()
    scene.devices(3, groups=["Berlin"])
    scene.devices(5, groups=["Porto"])
    version, client = scene.version(), signed_in("operator")
    wanted = {"target_type": "matching", "groups": ["Berlin"], "canary": 2, "min_battery": 55, "rate": 7}
    dry = ask(client, version, **wanted)
    scene.devices(1, groups=["Berlin"])
    answer = ask(client, version, "start", dry_run_id=run_id(dry), **wanted)
    deployment = Deployment.objects.get()
    assert answer.headers["Location"] == f"/admin/deployments/deployment/{deployment.pk}/details/"
    tick.advance(deployment.pk)
    assert DeploymentTask.objects.count() == 3
    told = deployment.options
    assert (told["canary"], told["min_battery"], told["rate"]) == (2, 55, 7)
    assert deployment.created_by == client_user(client)


def client_user(client: Client) -> Any:
    return client.get("/admin/").wsgi_request.user


def test_pressing_start_twice_starts_once() -> None:
    scene.enable()
    scene.devices(2)
    version, client = scene.version(), signed_in("operator")
    dry = run_id(ask(client, version))
    first, second = (ask(client, version, "start", dry_run_id=dry) for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert Deployment.objects.count() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"rate": 11},
        {"wifi_only": None},
        {"target_type": "matching", "query": "till"},
        {"dry_run_id": "987654321"},
        {"dry_run_id": "nonsense"},
        {"dry_run_id": None},
    ],
    ids=[
        "another rate",
        "a condition less",
        "another target",
        "an unknown dry run",
        "nonsense for a dry run",
        "none",
    ],
)
def test_a_start_without_a_dry_run_of_exactly_this_makes_one_and_starts_nothing(
    changes: dict[str, Any],
) -> None:
    scene.enable()
    scene.devices(2)
    version, client = scene.version(), signed_in("operator")
    answer = ask(client, version, "start", **({"dry_run_id": run_id(ask(client, version))} | changes))
    assert answer.status_code == 409
    assert "other options or too old" in answer.content.decode()
    assert not Deployment.objects.exists()
    assert ask(client, version, "start", **(changes | {"dry_run_id": run_id(answer)})).status_code == 302


def test_the_dry_run_of_somebody_else_starts_nothing() -> None:
    scene.enable()
    scene.devices(2)
    version = scene.version()
    theirs = run_id(ask(signed_in("fleet admin"), version))
    assert ask(signed_in("operator"), version, "start", dry_run_id=theirs).status_code == 409
    assert not Deployment.objects.exists()


def test_a_viewer_makes_dry_runs_and_starts_nothing() -> None:
    scene.enable()
    scene.devices(2)
    version, client = scene.version(), signed_in("viewer")
    dry = ask(client, version)
    assert "Your account may make dry runs, but not start deployments." in dry.content.decode()
    assert 'id="nx-start"' not in dry.content.decode()
    assert ask(client, version, "start", dry_run_id=run_id(dry)).status_code == 403
    assert not Deployment.objects.exists()


def test_staff_without_a_group_may_not_even_look() -> None:
    version = scene.version()
    assert signed_in().get(page_of(version)).status_code == 403
    assert Client().get(page_of(version)).status_code == 302


@pytest.mark.parametrize(
    ("flag", "kill", "status"), [(False, False, 403), (True, True, 409)], ids=["flag off", "switch on"]
)
def test_where_nothing_may_start_the_page_says_why_and_a_start_is_refused(
    flag: bool, kill: bool, status: int
) -> None:
    FleetSwitch.objects.update(deployments_enabled=flag, kill_switch=kill, reason="bad build")
    scene.devices(2)
    version, client = scene.version(), signed_in("operator")
    dry = ask(client, version)
    words = "the kill switch is on: bad build" if kill else "Deployments are switched off"
    assert words in dry.content.decode()
    assert ask(client, version, "start", dry_run_id=run_id(dry)).status_code == status
    assert not Deployment.objects.exists()


def test_each_row_of_the_versions_has_a_real_link_or_the_reason_why_not() -> None:
    good = scene.version(121)
    withdrawn = scene.version(122)
    ApkVersion.objects.filter(pk=withdrawn.pk).update(withdrawn_at=timezone.now(), withdrawn_reason="crashes")
    scene.version(1, package="com.unmanaged")
    Apk.objects.filter(package_name="com.unmanaged").update(managed=False)
    page = signed_in("operator").get(VERSIONS).content.decode()
    links = re.findall(r'<a class="nx-button[^>]*>Deploy</a>', page)
    (link,) = [found for found in links if "href" in found]
    assert f'href="{page_of(good)}"' in link
    assert 'aria-label="Deploy NexMDM 1.0.121 (121)"' in link
    assert sum('aria-disabled="true"' in found for found in links) == 2
    assert "Cannot be deployed. Withdrawn: crashes" in page
    assert "Cannot be deployed. com.unmanaged is not on the allowlist." in page
    assert ">Dry run</a>" in signed_in("viewer").get(VERSIONS).content.decode()


def test_a_version_that_may_not_be_deployed_is_refused_by_the_form_too() -> None:
    scene.enable()
    scene.devices(1)
    version = scene.version()
    Apk.objects.update(managed=False)
    answer = ask(signed_in("operator"), version)
    assert answer.status_code == 422
    assert "not on the allowlist" in answer.content.decode()


def test_a_debuggable_build_and_a_live_deployment_of_the_package_are_named() -> None:
    live = scene.start(scene.devices(1))
    page = signed_in("operator").get(page_of(scene.version(122, debuggable=True))).content.decode()
    assert "This is a debuggable build" in page
    assert f"#{live.pk} NexMDM 1.0.121 (121)" in page


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        ({"window_kind": "none"}, None),
        (
            {"window_kind": "recurring", "window_days": DAYS, "window_start": "22:00", "window_end": "05:00"},
            {"days": DAYS, "start": "22:00", "end": "05:00", "tz": "Europe/Berlin"},
        ),
        (
            {
                "window_kind": "absolute",
                "window_from": "2031-01-10T22:00",
                "window_until": "2031-07-11T05:00",
            },
            {"start_iso": "2031-01-10T22:00:00+01:00", "end_iso": "2031-07-11T05:00:00+02:00"},
        ),
    ],
    ids=["none", "every week", "once, over a clock change"],
)
def test_a_window_is_read_in_its_zone(changes: dict[str, Any], window: Any) -> None:
    scene.enable()
    scene.devices(1)
    answer = ask(signed_in("operator"), scene.version(), window_tz="Europe/Berlin", **changes)
    assert answer.status_code == 200
    assert DryRun.objects.get().options["window"] == window


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"canary": 0}, "A deployment to the entire fleet needs a canary of at least 1 device."),
        ({"rate": 0}, "Ensure this value is greater than or equal to 1."),
        ({"rate": ""}, "This field is required."),
        ({"min_battery": 101}, "Ensure this value is less than or equal to 100."),
        ({"canary_timeout_min": 0}, "Must be greater than 0."),
        ({"canary_timeout_min": "nan"}, "Enter a number."),
        ({"target_type": "matching"}, "Set at least one filter, or choose the entire fleet."),
        ({"target_type": "ticked"}, "Tick at least one device."),
        ({"target_type": "ticked", "device_ids": "987654321, abc"}, "Unknown: 987654321, abc."),
        ({"target_type": "matching", "query": "nobody has this"}, "The target matches no device."),
        ({"target_type": "matching", "groups": ["nowhere"]}, "The target matches no device."),
        ({"target_type": "matching", "groups": ["x" * 201]}, "at most 200 characters"),
        ({"exclude_ids": "987654321"}, "Unknown: 987654321."),
        ({"target_type": "both"}, "both is not one of the available choices"),
        ({"window_kind": "recurring"}, "Choose at least one day."),
        (
            {"window_kind": "recurring", "window_days": DAYS, "window_start": "25:00", "window_end": "05:00"},
            "Give the time as HH:MM",
        ),
        (
            {"window_kind": "recurring", "window_days": DAYS, "window_start": "05:00", "window_end": "05:00"},
            "Start and end must differ",
        ),
        ({"window_kind": "absolute"}, "Give date and time."),
        (
            {"window_kind": "absolute", "window_from": "2031-01-10T22:00", "window_tz": "Mars/Base"},
            "Give an IANA time zone",
        ),
        (
            {
                "window_kind": "absolute",
                "window_from": "2001-01-10T22:00",
                "window_until": "2001-01-11T22:00",
            },
            "The maintenance window has already ended.",
        ),
        ({"post_install.restart_intent.action": "no action!"}, "Give an action such as com.nexmdm.RESTART."),
        ({"post_install.restart_intent.extras": "{"}, "Enter a valid JSON."),
        ({"post_install.restart_intent.extras": '{"a": 1}'}, "Extras want a restart intent."),
        (
            {
                "post_install.restart_intent.action": "com.nexmdm.RESTART",
                "post_install.restart_intent.extras": '{"a": "' + "x" * 1100 + '"}',
            },
            "More than 1 KB of JSON.",
        ),
        ({"query": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_kept(changes: dict[str, Any], sentence: str) -> None:
    scene.enable()
    scene.devices(1)
    answer = ask(signed_in("operator"), scene.version(), **changes)
    assert answer.status_code in (200, 422)
    assert sentence in answer.content.decode()
    assert not DryRun.objects.exists()


def test_ids_may_be_written_in_any_way() -> None:
    scene.enable()
    first, second, third = scene.devices(3)
    given = f"{first.pk}, {second.pk};\n{third.pk}"
    answer = ask(signed_in("operator"), scene.version(), canary=0, target_type="ticked", device_ids=given)
    assert "will update, of 3 devices" in answer.content.decode()


@pytest.mark.parametrize(
    ("target", "chosen"), [({"target_type": "fleet"}, 5), ({"target_type": "matching", "tags": ["kiosk"]}, 2)]
)
def test_ids_left_out_are_left_out_of_fleet_and_filters(target: dict[str, Any], chosen: int) -> None:
    scene.enable()
    scene.devices(3)
    out, *_ = scene.devices(3, tags=["kiosk"])
    answer = ask(signed_in("operator"), scene.version(), exclude_ids=str(out.pk), **target)
    assert f"will update, of {chosen} devices" in answer.content.decode()


def test_a_dry_run_older_than_ten_minutes_starts_nothing() -> None:
    scene.enable()
    scene.devices(2)
    version, client = scene.version(), signed_in("operator")
    dry = run_id(ask(client, version))
    DryRun.objects.update(created_at=timezone.now() - timedelta(minutes=9, seconds=50))
    fresh = run_id(ask(client, version))
    DryRun.objects.filter(pk=fresh).update(created_at=timezone.now() - timedelta(minutes=10, seconds=1))
    assert ask(client, version, "start", dry_run_id=fresh).status_code == 409
    assert ask(client, version, "start", dry_run_id=dry).status_code == 302
    assert Deployment.objects.count() == 1


def test_a_restart_intent_reaches_the_options() -> None:
    scene.enable()
    scene.devices(1)
    action = "com.nexmdm.RESTART"
    ask(
        signed_in("operator"),
        scene.version(),
        **{"post_install.restart_intent.action": action, "post_install.restart_intent.extras": '{"a": 1}'},
    )
    assert DryRun.objects.get().options["post_install"] == {
        "restart_intent": {"action": action, "extras": {"a": 1}}
    }


def test_unknown_versions_are_not_found() -> None:
    client = signed_in("operator")
    assert client.get(f"{VERSIONS}987654321/deploy/").status_code == 404
    assert client.get(f"{VERSIONS}{2**80}/deploy/").status_code == 404


def test_the_number_of_queries_does_not_grow_with_the_fleet() -> None:
    scene.enable()
    version, client = scene.version(), signed_in("operator")
    counted = []
    for more in (1, 150):
        scene.devices(more)
        with CaptureQueriesContext(connection) as queries:
            assert ask(client, version).status_code == 200
        counted.append(len(queries))
    assert counted[0] == counted[1] <= 30
