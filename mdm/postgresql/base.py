import select
from typing import Any

from django.db.backends.postgresql import base, operations


class DatabaseOperations(operations.DatabaseOperations):
    """Shows a prepared statement where queries are looked at: psycopg keeps no text of one."""

    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        return super().last_executed_query(cursor, sql, params) or sql


class DatabaseWrapper(base.DatabaseWrapper):
    """Keeps a connection on which nothing failed, and asks whether it still lives only where the far end has spoken.

    What failed may be a prepared statement whose plan a migration made invalid: it would fail for as long as the
    connection lives. CONN_HEALTH_CHECKS costs each request a round trip, a quarter of what a heartbeat asks of the
    database. A server that stopped, died or was restarted has closed its end, and that is to be read from the
    socket; a server that vanished without a word is noticed by neither way.
    """

    ops_class = DatabaseOperations

    def is_usable(self) -> bool:
        if self.connection is None or self.connection.closed or self.errors_occurred:
            return False
        if _has_something_to_read(self.connection.pgconn.socket):
            usable: bool = super().is_usable()
            return usable
        return True


def _has_something_to_read(socket: int) -> bool:
    """Data, or that the far end has closed."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
