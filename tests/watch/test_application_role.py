"""A database role that runs the product and cannot touch what is written in the audit log."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import Error, connection
from django.utils import timezone

from deployments import tick
from deployments.operations import lifecycle
from mdm import audit
from mdm.people import SYSTEM
from mdm.watch import cutting, rounds, sealing
from mdm.watch.models import Alert, AuditCut, AuditSeal
from mdm.watch.seal_check import Check
from tests.deployments import scene
from tests.watch import old_log
from tests.watch.test_archive_stuck import cut_one_portion

pytestmark = pytest.mark.django_db(transaction=True)

LOGS = {"deployment_event": "message", "audit_event": "message", "audit_seal": "stream", "audit_cut": "file"}


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def role() -> Iterator[str]:
    name = "nexmdm_app"
    _run(f"CREATE ROLE {name} LOGIN")
    yield name
    _run(f"DROP OWNED BY {name}")
    _run(f"DROP ROLE {name}")


def _run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _grant(*arguments: str) -> str:
    out = StringIO()
    call_command("grant_application_role", *arguments, stdout=out)
    return out.getvalue()


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    _run(f"SET ROLE {role}")
    try:
        yield
    finally:
        _run("RESET ROLE")


def test_the_product_runs_with_it(role: str) -> None:
    _grant(role)
    with acting_as(role):
        fleet = scene.devices(3)
        deployment = scene.start(fleet, max_failures=1)
        scene.install(deployment, fleet[0])
        assert scene.beat(fleet[1])
        scene.report(deployment, fleet[1], "failed", error_code="apk_invalid")
        tick.ring_due_deployments()
        tick.advance(deployment.pk)
        rounds.watch()
        assert sealing.seal() > 0
        assert list(Check().faults()) == []
        lifecycle.cancel(scene.admin(), deployment.pk)


@pytest.mark.parametrize("table", LOGS)
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {table} SET {column} = {column}",
        "DELETE FROM {table}",
        "TRUNCATE {table} CASCADE",
        "ALTER TABLE {table} DISABLE TRIGGER ALL",
        "ALTER TABLE {table} DISABLE TRIGGER {table}_append_only",
        "DROP TRIGGER {table}_append_only ON {table}",
        "DROP TABLE {table}",
        "ALTER TABLE {table} RENAME TO mine",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET session_replication_role = replica",
    ],
)
def test_it_can_do_nothing_to_the_log_but_add(role: str, table: str, sql: str) -> None:
    audit.record(SYSTEM, "note", "nothing", "a row")
    _grant(role)
    database = connection.settings_dict
    with psycopg.connect(host=database["HOST"], user=role, dbname=database["NAME"]) as mine:
        mine.execute(f"SELECT count(*) FROM {table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            mine.execute(sql.format(table=table, column=LOGS[table]))


def test_it_moves_old_events_into_files_by_the_function_alone(
    role: str, settings: Any, tmp_path: Path
) -> None:
    settings.KEEP_EVENTS_DAYS, settings.AUDIT_ARCHIVE_DIR = 90, tmp_path / "archive"
    first, young = old_log.old(), old_log.ended()
    old_log.seal()
    _grant(role)
    with acting_as(role):
        rows = old_log.events(first)
        assert cutting.run(60).rows == rows
        assert old_log.events(first) == 0
        out = StringIO()
        call_command("verify_audit", "--all", stdout=out)
        assert f"Rebuilt from the archive: 1 deployments ({rows} events)." in out.getvalue()
        # Even with an anchor of its own making it cannot touch what is younger than four weeks.
        seal = AuditSeal.objects.filter(stream="deployment_event").latest("number")
        AuditCut.objects.create(
            number=2, deployment=young, after_id=-(2**63), last_id=seal.last_id, rows=1, size_bytes=1,
            seal_number=seal.number, cut_at=timezone.now(),
        )  # fmt: skip
        with pytest.raises(Error, match="append-only"):
            _run("SELECT cut_events(2, 1000)")
    assert old_log.events(young) > 0


def test_a_role_that_was_not_granted_it_may_not_call_the_function(role: str) -> None:
    _grant(role)
    _run(f"REVOKE EXECUTE ON FUNCTION cut_events(bigint, integer) FROM {role}")
    with acting_as(role), pytest.raises(Error, match="permission denied for function cut_events"):
        _run("SELECT cut_events(1, 1000)")


def test_that_it_may_not_is_told_until_it_may(
    role: str, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEP_EVENTS_DAYS, settings.AUDIT_ARCHIVE_DIR = 90, tmp_path / "archive"
    first, second = old_log.old(), old_log.old()
    old_log.seal()
    _grant(role)
    _run(f"REVOKE EXECUTE ON FUNCTION cut_events(bigint, integer) FROM {role}")
    with acting_as(role):
        assert cutting.run(60).rows == 0
        rounds.watch()
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject, alert.state) == ("archive_stuck", "database", "open")
    assert "permission denied for function cut_events" in alert.message
    _grant(role)
    with acting_as(role):
        assert cut_one_portion(monkeypatch) > 0
        rounds.watch()
    assert (Alert.objects.get().state, old_log.events(first)) == ("resolved", 0)
    assert old_log.events(second) > 0, "there is more to do, but nothing in the way"


def test_a_table_of_its_own_does_not_stand_in_for_the_anchors(role: str) -> None:
    deployment = old_log.old()
    old_log.seal()
    _grant(role)
    with acting_as(role):
        _run("CREATE TEMP TABLE audit_cut AS SELECT * FROM public.audit_cut WITH NO DATA")
        _run(f"""INSERT INTO pg_temp.audit_cut (number, deployment_id, after_id, last_id)
            VALUES (1, {deployment.pk}, -1000000, 1000000)""")
        with pytest.raises(Error, match="no rows"):
            _run("SELECT cut_events(1, 1000)")
        _run("DROP TABLE pg_temp.audit_cut")
    assert old_log.events(deployment) > 0


def test_without_the_command_the_owner_could(role: str) -> None:
    """The negative control: the triggers alone bind nobody who owns them."""
    audit.record(SYSTEM, "note", "nothing", "a row")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_event DISABLE TRIGGER audit_event_append_only")
        cursor.execute("UPDATE audit_event SET message = message")
        assert cursor.rowcount == 1
        cursor.execute("ALTER TABLE audit_event ENABLE TRIGGER audit_event_append_only")


def test_it_may_be_granted_again_and_printed(role: str) -> None:
    assert "may run the product" in _grant(role) == _grant(role)
    assert (
        f'REVOKE UPDATE, DELETE, TRUNCATE ON deployment_event, audit_event, audit_seal, audit_cut FROM "{role}"'
        in _grant(role, "--print")
    )


def test_a_role_that_no_grant_could_bind_is_refused(role: str) -> None:
    with pytest.raises(CommandError, match="superuser or owns"):
        _grant(connection.settings_dict["USER"])
    _run(f"GRANT {connection.settings_dict['USER']} TO {role}")
    with pytest.raises(CommandError, match="superuser or owns"):
        _grant(role)


@pytest.mark.parametrize("name", ["nobody_at_all", "x; DROP TABLE device", '"', ""])
def test_a_name_that_is_no_role_is_refused(name: str) -> None:
    with pytest.raises(CommandError):
        _grant(name)
