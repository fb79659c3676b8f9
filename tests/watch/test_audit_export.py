"""The audit logs as JSON lines, through each door."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from deployments.models import DeploymentEvent
from mdm.models import AuditEvent
from mdm.watch import sealing
from tests.calls import Caller, as_user
from tests.deployments import scene
from tests.deployments.pages import signed_in
from tests.factories import member

pytestmark = pytest.mark.django_db
ROUTE = "/v1/audit/export.jsonl"


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_row_is_a_line_as_it_is_stored_with_its_seal() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet)
    scene.install(deployment, fleet[0])
    sealing.seal()
    sealed = DeploymentEvent.objects.count()
    scene.install(deployment, fleet[1])
    out = StringIO()
    call_command("export_audit", stdout=out)
    found = _lines(out.getvalue())
    events = [line for line in found if line["log"] == "deployment_event"]
    assert [line["id"] for line in events] == list(DeploymentEvent.objects.values_list("id", flat=True))
    assert [line["seal"] for line in events] == [1] * sealed + [None] * (len(events) - sealed)
    first = DeploymentEvent.objects.all()[0]
    assert (events[0]["message"], events[0]["meta"], events[0]["actor"]) == (
        first.message,
        first.meta,
        first.actor,
    )
    assert [line["action"] for line in found if line["log"] == "audit_event"][-1] == "audit.export"


def test_one_deployments_log_from_a_row_on() -> None:
    mine, other = scene.start(scene.devices(1)), scene.start(scene.devices(1))
    (first, *rest) = DeploymentEvent.objects.filter(deployment=mine).values_list("id", flat=True)
    reply = as_user(member("fleet admin"))("GET", f"{ROUTE}?deployment_id={mine.pk}&since={first}")
    assert [line["id"] for line in _lines(reply.content.decode())] == rest
    assert reply.headers["Content-Disposition"] == 'attachment; filename="audit.jsonl"'
    assert other.pk != mine.pk


@pytest.mark.parametrize(("group", "status"), [("viewer", 403), ("operator", 403), ("fleet admin", 200)])
def test_only_who_may_see_the_audit_log_exports_it(group: str, status: int) -> None:
    assert as_user(member(group))("GET", ROUTE).status == status
    assert as_user(member(group), read_only=True)("GET", ROUTE).status == status
    assert Caller()("GET", ROUTE).status == 401


def test_the_page_of_the_seals_offers_it() -> None:
    client: Client = signed_in("fleet admin")
    assert f'href="{ROUTE}"' in client.get("/admin/watch/auditseal/").content.decode()
    assert b"".join(client.get(ROUTE).streaming_content)  # type: ignore[attr-defined]
    assert AuditEvent.objects.filter(action="audit.export", actor="user:fleet-admin").exists()
