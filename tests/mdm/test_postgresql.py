"""A connection that died while it lay idle is noticed before it is used, and one that lives is not asked."""

from collections.abc import Iterator

import pytest
from django.db import OperationalError, close_old_connections, connection

from mdm.postgresql.base import DatabaseWrapper
from tests import beside

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_connection() -> Iterator[None]:
    connection.ensure_connection()
    yield
    connection.close()


def _next_request() -> None:
    close_old_connections()
    connection.close_if_health_check_failed()


def _pid() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _terminate(pid: int) -> None:
    """Comes back once its backend is gone."""
    assert beside.run("SELECT pg_terminate_backend(%s, 10000)", pid)


def test_one_that_the_server_has_closed_is_replaced_before_it_is_used() -> None:
    before = _pid()
    _terminate(before)
    _next_request()
    assert _pid() != before


def test_without_the_look_the_next_statement_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatabaseWrapper, "is_usable", lambda _: True)
    _terminate(_pid())
    _next_request()
    with pytest.raises(OperationalError):
        _pid()


def test_one_that_lives_is_not_asked() -> None:
    before = _pid()
    _next_request()
    last = beside.run("SELECT query FROM pg_stat_activity WHERE pid = %s", before)
    assert last == "SELECT pg_backend_pid()"
