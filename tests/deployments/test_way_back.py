"""Which way leads back from a version."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from apks.models import ApkVersion
from deployments import tick
from deployments.operations import rollback, way_back
from deployments.reading import summary
from mdm.problems import Conflict
from tests.deployments import scene
from tests.deployments.going_back import SHOP, go_back, on, rebuilt, tripped, version

pytestmark = pytest.mark.django_db


def test_a_rebuild_of_the_last_good_version_is_preferred() -> None:
    good, rebuild = rebuilt()
    bad = tripped(scene.devices(3))
    found = rollback.offer(bad)
    assert (found.offered, found.way.kind, found.way.version, found.way.good) == (
        True,
        "rebuild",
        rebuild,
        good,
    )


def test_without_a_rebuild_the_good_version_is_reinstalled() -> None:
    good = version(120, SHOP)
    bad = tripped(scene.devices(3, current_versions=on(SHOP, 120)), package=SHOP)
    assert summary.summary(bad.pk)["rollback"] == {
        "offered": True,
        "kind": "reinstall",
        "to_version": {"id": good.pk, "version_name": "1.0.120", "version_code": 120},
        "why_not": None,
    }


def test_the_agent_itself_is_never_reinstalled_and_the_refusal_says_what_is_missing() -> None:
    version(120)
    bad = tripped(scene.devices(3))
    with pytest.raises(Conflict, match=r"Missing: a rebuild of 1\.0\.120 \(120\).*above 121") as refused:
        go_back(bad, accept_data_loss=True, confirm_version="1.0.120")
    assert refused.value.extra["current_status"] == "paused"
    assert "Missing" in refused.value.extra["why_not"]
    assert summary.summary(bad.pk)["rollback"]["kind"] is None


UNUSABLE: dict[str, Callable[[ApkVersion], dict[str, Any]]] = {
    "of another signer": lambda _: {"signer_sha256": "b" * 64},
    "withdrawn": lambda _: {"withdrawn_at": timezone.now(), "withdrawn_reason": "bad as well"},
    "of another version": lambda _: {"rebuild_of": version(119)},
}


@pytest.mark.parametrize("flaw", UNUSABLE)
def test_no_way_leads_over_a_rebuild(flaw: str) -> None:
    good = version(120)
    version(122, **({"rebuild_of": good} | UNUSABLE[flaw](good)))
    assert way_back.back_from(version(121), {120}).kind is None


def test_a_rebuild_below_the_bad_version_would_be_a_downgrade() -> None:
    good = version(119)
    version(120, rebuild_of=good)
    assert way_back.back_from(version(121), {119}).kind is None


@pytest.mark.parametrize("flaw", ["of another signer", "withdrawn"])
def test_a_good_version_must_not_be(flaw: str) -> None:
    older = version(119, SHOP)
    version(120, SHOP, **UNUSABLE[flaw](older))
    assert way_back.back_from(version(121, SHOP), {119, 120}).version == older


def test_what_was_never_on_a_device_is_not_known_to_be_good() -> None:
    version(120, SHOP)
    found = way_back.back_from(version(121, SHOP), set())
    assert (found.kind, found.good) == (None, None)
    assert "no earlier version of com.example.shop" in found.why_not


def test_what_a_completed_deployment_has_installed_is_known_to_be_good() -> None:
    good = version(120, SHOP)
    (device,) = scene.devices(1)
    deployment = scene.start([device], to=good)
    assert way_back.back_from(version(121, SHOP), set()).kind is None
    scene.install(deployment, device)
    tick.advance(deployment.pk)
    assert way_back.back_from(version(121, SHOP), set()).version == good
