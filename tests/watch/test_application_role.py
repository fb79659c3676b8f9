"""A database role that runs the product and cannot touch what is written in the audit log."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from deployments import tick
from deployments.operations import lifecycle
from mdm import audit
from mdm.people import SYSTEM
from mdm.watch import rounds, sealing
from mdm.watch.seal_check import Check
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)

LOGS = ("deployment_event", "audit_event", "audit_seal")


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
    column = "stream" if table == "audit_seal" else "message"
    with psycopg.connect(host=database["HOST"], user=role, dbname=database["NAME"]) as mine:
        mine.execute(f"SELECT count(*) FROM {table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            mine.execute(sql.format(table=table, column=column))


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
        f'REVOKE UPDATE, DELETE, TRUNCATE ON deployment_event, audit_event, audit_seal FROM "{role}"'
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
