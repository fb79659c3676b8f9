from datetime import timedelta

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone

from mdm import health, worker_beat
from mdm.models import WorkerBeat


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.Applied, "known", False)


def test_healthz_asks_nobody_else(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_it_is_ready_with_a_database_migrations_and_a_worker(client: Client) -> None:
    worker_beat.beat("worker")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.django_db
def test_without_a_worker_it_is_not_ready_and_says_so(client: Client) -> None:
    worker_beat.beat("ticker")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["missing"] == ["no worker has started"]


@pytest.mark.django_db
def test_a_worker_that_fell_silent_does_not_count(client: Client) -> None:
    WorkerBeat.objects.create(name="w", part="worker", beat_at=timezone.now() - timedelta(seconds=90))
    assert "no worker has been heard of for 9" in client.get("/readyz").json()["detail"]


@pytest.mark.django_db
def test_unapplied_migrations_are_named(client: Client) -> None:
    recorder = MigrationRecorder(connection)
    newest = recorder.migration_qs.filter(app="mdm").latest("id")
    recorder.record_unapplied("mdm", newest.name)
    assert client.get("/readyz").json()["missing"] == ["migrations are not applied"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "HOST", "/nonexistent")
        assert health.missing_for_service() == ["the database cannot be reached"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_they_are_only_read(path: str) -> None:
    assert Client(enforce_csrf_checks=True).post(path).status_code == 405
