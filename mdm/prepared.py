"""A cursor for the statements of every agent request, whose parameters the server binds.

They are planned once per connection: planning the join that reads a task takes six times as long as running it.
psycopg heeds `prepare=True` only where the connection has a `prepare_threshold`; Django sets none, our settings do.
"""

from typing import Any, Self

import psycopg
from django.db import connection
from django.db.backends.utils import CursorWrapper


class _Preparing(psycopg.Cursor[Any]):
    def execute(self, *args: Any, **kwargs: Any) -> Self:
        return super().execute(*args, **kwargs, prepare=True)


def cursor() -> CursorWrapper:
    """As `connection.cursor()`. The server binds the parameters, so it must be able to tell their types."""
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    plain: Any = _Preparing(connection.connection)
    return connection.make_debug_cursor(plain) if connection.queries_logged else connection.make_cursor(plain)
