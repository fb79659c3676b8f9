"""A second connection to the test's database, as another process would have it."""

from typing import Any

import psycopg
from django.db import connection


def run(sql: str, *params: Any) -> Any:
    """Commits; the first value of the first row, where there is one."""
    known = connection.settings_dict
    with psycopg.connect(dbname=known["NAME"], user=known["USER"], host=known["HOST"]) as other:
        cursor = other.execute(sql, params)
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]
