"""Migrations only add: an installation's rows outlive every upgrade."""

import re
from collections.abc import Iterable, Iterator

import pytest
from django.apps import apps
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import (
    AddConstraint,
    AddField,
    AddIndex,
    CreateModel,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.models import AlterModelOptions

OURS = ("mdm", "apks", "devices", "deployments", "watch")
ADDING = (AddConstraint, AddField, AddIndex, AlterModelOptions, CreateModel, RunSQL)
DESTROYING = ("DROP TABLE", "DROP COLUMN", "DELETE FROM", "TRUNCATE TABLE")


def _on_the_database(operations: Iterable[Operation]) -> Iterator[Operation]:
    """What is only told to Django's models (an index of a foreign key that is not wanted) changes no table."""
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _on_the_database(operation.database_operations)
        else:
            yield operation


def _done(sql: str) -> str:
    """What a migration itself does, in capitals: without the bodies of functions that it only makes."""
    return re.sub(r"CREATE FUNCTION[^$]*\$\$.*?\$\$", "", sql, flags=re.DOTALL).upper()


@pytest.mark.parametrize("label", OURS)
def test_no_migration_takes_a_table_or_a_column_away(label: str) -> None:
    assert apps.get_app_config(label)
    migrations = MigrationLoader(None).disk_migrations
    operations = [
        operation
        for (app, _), migration in migrations.items()
        if app == label
        for operation in _on_the_database(migration.operations)
    ]
    assert operations
    assert [operation for operation in operations if not isinstance(operation, ADDING)] == []
    sql = " ".join(_done(str(operation.sql)) for operation in operations if isinstance(operation, RunSQL))
    assert [words for words in DESTROYING if words in sql] == []
