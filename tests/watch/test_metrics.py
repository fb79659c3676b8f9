"""/metrics: who may read it, and that each number is what the rows say."""

import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from deployments.models import DeploymentTask
from mdm import counters, worker_beat
from mdm.environment import networks
from mdm.models import RecentCount
from mdm.watch import alerts, reading, rounds, sealing
from mdm.watch.alerts import Cause
from mdm.watch.models import Reading
from tests.calls import Caller, as_device
from tests.deployments import scene

pytestmark = pytest.mark.django_db

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def _read() -> Samples:
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    families = list(text_string_to_metric_families(answer.content.decode()))
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_an_empty_installation_answers_too() -> None:
    samples = _read()
    assert _of(samples, "nexmdm_tasks", status="queued") == 0
    assert _of(samples, "nexmdm_oldest_due_task_seconds") == 0
    assert math.isnan(_of(samples, "nexmdm_success_ratio"))


def test_every_number_is_what_the_rows_say() -> None:
    fleet = scene.devices(5)
    deployment = scene.start(fleet)
    for device in fleet[:2]:
        assert scene.beat(device)
        path = f"/v1/agent/deployments/{deployment.pk}/devices/{device.pk}/status"
        for step in ("received", "downloading", "installing", "succeeded"):
            assert as_device(device)("POST", path, {"status": step}).status == 200
    assert scene.beat(fleet[2])
    scene.report(deployment, fleet[2], "failed", error_code="apk_invalid")
    assert scene.beat(fleet[3])
    assert Caller()("POST", path, {"status": "received"}).status == 401
    counters.add({counters.key(counters.PUSHES, outcome="delivered"): 3})
    worker_beat.beat("worker")
    alerts.raise_once(Cause("serial_taken", "device 1", "Refused."))
    counters.gatherer.flush()
    rounds.watch()
    sealing.seal()
    samples = _read()
    depth = {
        status: _of(samples, "nexmdm_tasks", status=status) for status in ("queued", "sending", "succeeded")
    }
    assert depth == {"queued": 1, "sending": 1, "succeeded": 2}
    assert (
        sum(v for (name, _), v in samples.items() if name == "nexmdm_tasks") == DeploymentTask.objects.count()
    )
    assert _of(samples, "nexmdm_deployments", status="running") == 1
    assert _of(samples, "nexmdm_task_moves_total", to="sending") == 4
    assert _of(samples, "nexmdm_task_moves_total", to="succeeded") == 2
    assert _of(samples, "nexmdm_failures_total", code="apk_invalid") == 1
    assert _of(samples, "nexmdm_agent_requests_total", route="status", status="200") == 8
    assert _of(samples, "nexmdm_agent_requests_total", route="status", status="401") == 1
    assert _of(samples, "nexmdm_pushes_total", outcome="delivered") == 3
    assert _of(samples, "nexmdm_install_seconds_count") == 2
    assert _of(samples, "nexmdm_success_ratio") == pytest.approx(2 / 3)
    assert _of(samples, "nexmdm_installs_per_minute") == pytest.approx(2 / 5)
    assert _of(samples, "nexmdm_tasks_per_second") == pytest.approx(3 / 300)
    assert 0 < _of(samples, "nexmdm_install_mean_seconds") < 60
    assert _of(samples, "nexmdm_alerts", kind="serial_taken", state="open") == 1
    assert _of(samples, "nexmdm_audit_unsealed_seconds") == 0
    ages = [value for (name, _), value in samples.items() if name == "nexmdm_worker_beat_age_seconds"]
    assert len(ages) == 1
    assert 0 <= ages[0] < 60


def test_what_happened_long_ago_leaves_the_last_minutes_and_stays_in_the_totals() -> None:
    counters.add({counters.key("task_moves", to="succeeded"): 7})
    RecentCount.objects.update(slot=timezone.now() - timedelta(minutes=6))
    samples = _read()
    assert _of(samples, "nexmdm_task_moves_total", to="succeeded") == 7
    assert _of(samples, "nexmdm_installs_per_minute") == 0
    RecentCount.objects.update(slot=timezone.now() - timedelta(hours=2))
    counters.forget_old()
    assert not RecentCount.objects.exists()


def test_an_old_reading_is_not_believed() -> None:
    deployment = scene.start(scene.devices(1))
    reading.take(timezone.now())
    scene.install(deployment, scene.Device.objects.get())
    assert reading.latest().depth["queued"] == 1, "at most 15 s old"
    Reading.objects.update(taken_at=timezone.now() - timedelta(seconds=16))
    assert reading.latest().depth["succeeded"] == 1


def test_it_costs_the_same_however_many_tasks_there_are() -> None:
    scene.start(scene.devices(2))
    rounds.watch()
    with CaptureQueriesContext(
        connection,
    ) as few:
        _read()
    scene.start(scene.devices(20))
    rounds.watch()
    with CaptureQueriesContext(connection) as many:
        _read()
    assert len(many) == len(few) <= 20
    assert not [query for query in many if "deployment_task" in query["sql"]]


# --- who may read it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "token", "status"),
    [
        pytest.param({}, "", 200, id="from this host"),
        pytest.param({"REMOTE_ADDR": "::1"}, "", 200, id="from this host by IPv6"),
        pytest.param({"REMOTE_ADDR": "::ffff:127.0.0.1"}, "", 200, id="the same, mapped"),
        pytest.param({"REMOTE_ADDR": "192.0.2.7"}, "", 401, id="from elsewhere"),
        pytest.param({"REMOTE_ADDR": "192.0.2.7"}, "scrape-me", 200, id="from elsewhere with the token"),
        pytest.param({"REMOTE_ADDR": "192.0.2.7"}, "scrape", 401, id="with a part of the token"),
        pytest.param({"HTTP_X_FORWARDED_FOR": "192.0.2.7"}, "", 401, id="by a proxy on this host"),
        pytest.param({"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, "", 401, id="by a proxy, forged"),
        pytest.param({"HTTP_FORWARDED": "for=192.0.2.7"}, "", 401, id="by a proxy of another kind"),
        pytest.param({"HTTP_X_FORWARDED_PROTO": "https"}, "scrape-me", 200, id="by a proxy with the token"),
    ],
)
@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]], ids=["unknown proxy", "trusted proxy"])
def test_only_this_host_and_the_holder_of_the_token_may_read(
    settings: Any, meta: dict[str, str], token: str, status: int, trusted: list[str]
) -> None:
    settings.METRICS_TOKEN, settings.TRUSTED_PROXIES = "scrape-me", networks("X", trusted)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    assert Client().get("/metrics", headers=headers, **meta).status_code == status  # type: ignore[arg-type]


def test_without_a_token_set_none_opens_it(settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    for token in ("", "Bearer ", "Bearer x"):
        answer = Client().get("/metrics", REMOTE_ADDR="192.0.2.7", headers={"Authorization": token})
        assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert Client(enforce_csrf_checks=True).post("/metrics").status_code == 405


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    answer = Client().get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert re.search(r"# EOF\s*$", answer.content.decode())


def test_who_guesses_the_token_is_slowed(settings: Any) -> None:
    settings.METRICS_TOKEN = "scrape-me"

    def told(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return Client().get("/metrics", REMOTE_ADDR="192.0.2.7", headers=headers).status_code

    assert (told("guess"), {told(f"guess-{number}") for number in range(90)}) == (401, {401, 429})
    assert told("scrape-me") == 200, "the right one waits behind nobody's wrong ones"
