import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Asks an idle connection whether it still lives only where the far end has said something.

    CONN_HEALTH_CHECKS costs each request a round trip, a quarter of what a heartbeat asks of the database. A server
    that stopped, died or was restarted has closed its end, and that is to be read from the socket; a server
    that vanished without a word is noticed by neither way.
    """

    def is_usable(self) -> bool:
        if self.connection is None or self.connection.closed:
            return False
        if self.errors_occurred or _has_something_to_read(self.connection.pgconn.socket):
            usable: bool = super().is_usable()
            return usable
        return True


def _has_something_to_read(socket: int) -> bool:
    """Data, or that the far end has closed."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
