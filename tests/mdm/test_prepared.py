"""Statements of every agent request are planned once per connection, and a changed table costs one failure."""

from collections.abc import Iterator

import pytest
from django.db import NotSupportedError, close_old_connections, connection

from mdm import prepared
from tests import beside
from tests.calls import as_device
from tests.deployments import scene

pytestmark = pytest.mark.django_db(transaction=True)
BEATS = 8


@pytest.fixture(autouse=True)
def own_connection() -> Iterator[None]:
    connection.close()
    yield
    connection.close()


def _plans() -> dict[str, tuple[int, int]]:
    """Statement -> how often it was planned anew, and run by a plan that was kept."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement, custom_plans, generic_plans FROM pg_prepared_statements")
        return {statement: (custom, kept) for statement, custom, kept in cursor.fetchall()}


def _beat(times: int) -> None:
    (device,) = scene.devices(1)
    call = as_device(device)
    for _ in range(times):
        assert call("POST", f"/v1/agent/devices/{device.pk}/heartbeat", scene.READY).status == 200


def test_a_device_that_comes_again_and_again_costs_no_planning() -> None:
    _beat(BEATS)
    plans = _plans()
    for words in ("FROM device_token", "UPDATE heartbeat"):
        assert any(words in statement for statement in plans), words
    kept_from = 5  # PostgreSQL tries five plans for the parameters at hand first
    assert {planned + kept for planned, kept in plans.values()} == {BEATS}
    assert {planned for planned, _ in plans.values()} == {kept_from}


def test_without_a_threshold_every_statement_would_be_planned_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(connection.settings_dict["OPTIONS"], "prepare_threshold")
    _beat(BEATS)
    assert _plans() == {}


def test_a_statement_whose_table_changed_its_type_fails_in_one_request_only() -> None:
    def read() -> str:
        with prepared.cursor() as cursor:
            cursor.execute("SELECT kind FROM widened WHERE id = %s", [1])
            return str(cursor.fetchone()[0])

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE widened AS SELECT 1 AS id, 7::integer AS kind")
    try:
        assert read() == "7"
        beside.run("ALTER TABLE widened ALTER kind TYPE bigint")
        with pytest.raises(NotSupportedError, match="cached plan must not change result type"):
            read()
        close_old_connections()  # as at the end of every request
        assert read() == "7"
    finally:
        beside.run("DROP TABLE widened")
