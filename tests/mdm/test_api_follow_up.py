"""Rollback and retry at the operators' door."""

from typing import Any

import pytest

from apks.models import ApkVersion
from deployments.models import Deployment
from deployments.wire import DeploymentOut, DryRunOut, StartedOut
from devices.models import Device
from tests.calls import Caller, as_user
from tests.deployments import going_back, scene
from tests.factories import AdminFactory, member

pytestmark = pytest.mark.django_db


@pytest.fixture
def call() -> Caller:
    return as_user(AdminFactory())


@pytest.fixture
def version() -> ApkVersion:
    scene.enable()
    return scene.version()


def body(version: ApkVersion, **more: Any) -> dict[str, Any]:
    return {"apk_version_id": version.pk, "target": {"type": "fleet"}, **more}


def _tripped(fleet: list[Device]) -> Deployment:
    going_back.rebuilt()
    return going_back.tripped(fleet)


def test_a_rollback_is_offered_carried_out_and_refused_the_second_time(call: Caller) -> None:
    bad = _tripped(scene.devices(3))
    seen = call("GET", f"/v1/deployments/{bad.pk}").body
    assert DeploymentOut.model_validate(seen)
    assert (seen["rollback"]["offered"], seen["rollback"]["kind"]) == (True, "rebuild")
    listed = call("GET", "/v1/deployments").body["items"][0]
    assert listed["rollback"] == seen["rollback"]

    made = call("POST", f"/v1/deployments/{bad.pk}/rollback", {"reason": "tills freeze"})
    assert made.status == 201
    assert StartedOut.model_validate(made.body)
    again = call("POST", f"/v1/deployments/{bad.pk}/rollback")
    assert (again.status, again.type) == (409, "rollback_not_offered")
    assert again.body["current_status"] == "canceled"
    assert again.body["deployment_id"] == made.body["deployment_id"]
    assert "already" in again.body["why_not"]
    assert call("GET", f"/v1/deployments/{bad.pk}").body["rolled_back_by"] == made.body["deployment_id"]


@pytest.mark.parametrize(
    "wrong",
    [{"accept_data_loss": "yes"}, {"confirm_version": 120}, {"reason": "x" * 1001}, {"force": True}, []],
)
def test_a_rollback_with_a_wrong_body_is_422(call: Caller, wrong: Any) -> None:
    bad = _tripped(scene.devices(3))
    assert call("POST", f"/v1/deployments/{bad.pk}/rollback", wrong).status == 422
    assert Deployment.objects.count() == 1


def test_rollback_is_for_fleet_admins_and_retry_for_operators(version: ApkVersion) -> None:
    bad = _tripped(scene.devices(3))
    viewer, operator = as_user(member("viewer")), as_user(member("operator"))
    assert operator("POST", f"/v1/deployments/{bad.pk}/rollback").status == 403
    assert as_user(member("fleet admin"))("POST", f"/v1/deployments/{bad.pk}/rollback").status == 201
    stopped = scene.start(scene.devices(1), to=scene.version(130))
    assert viewer("POST", f"/v1/deployments/{stopped.pk}/retry").status == 403
    refused = operator("POST", f"/v1/deployments/{stopped.pk}/retry")
    assert (refused.status, refused.body["current_status"]) == (409, "running")
    assert operator("POST", f"/v1/deployments/{stopped.pk}/cancel").status == 200
    stale = operator("POST", f"/v1/deployments/{stopped.pk}/retry", {"expected_status": "complete"})
    assert (stale.status, stale.body["current_status"]) == (409, "canceled")
    made = operator("POST", f"/v1/deployments/{stopped.pk}/retry", {"expected_status": "canceled"})
    assert made.status == 201
    assert call_of(operator, made)["retry_of"] == stopped.pk


def call_of(call: Caller, made: Any) -> Any:
    return call("GET", f"/v1/deployments/{made.body['deployment_id']}").body


def test_a_dry_run_says_which_way_back_there_would_be(call: Caller, version: ApkVersion) -> None:
    scene.devices(2)
    found = call("POST", "/v1/deployments/dry-run", body(version)).body["rollback"]
    assert (found["offered"], found["kind"]) == (False, None)
    assert "no earlier version" in found["why_not"]
    good = scene.version(120)
    found = call("POST", "/v1/deployments/dry-run", body(version)).body["rollback"]
    assert "Missing: a rebuild of 1.0.120" in found["why_not"]
    scene.version(122, rebuild_of=good)
    made = call("POST", "/v1/deployments/dry-run", body(version)).body
    assert DryRunOut.model_validate(made)
    assert made["rollback"]["offered"]
    assert (made["rollback"]["kind"], made["rollback"]["to_version"]["version_code"]) == ("rebuild", 122)
    options = {"canary": 1, "allow_rollback": False}
    off = call("POST", "/v1/deployments/dry-run", body(version, options=options)).body["rollback"]
    assert (off["offered"], off["kind"]) == (False, "rebuild")
