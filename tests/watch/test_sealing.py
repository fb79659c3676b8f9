"""The seals over the audit logs: whatever was removed, changed, added or put elsewhere behind them is found."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from deployments.models import Deployment, DeploymentEvent, DeploymentTask
from mdm import audit, counters
from mdm.models import AuditEvent
from mdm.people import SYSTEM
from mdm.watch import seal_head, sealing
from mdm.watch.models import AuditSeal
from mdm.watch.seal_check import Check
from mdm.watch.seal_head import Head
from tests.deployments import scene, stages
from tests.deployments.crowd import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> Path:
    """The head that one test wrote down means nothing to another."""
    settings.DATA_DIR = tmp_path
    return tmp_path


def _faults(*witnesses: Head) -> list[str]:
    return list(Check(witnesses=list(witnesses)).faults())


def _run(sql: str, *params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def as_superuser() -> Iterator[None]:
    """Past the triggers, as whoever owns the server can; and undone afterwards."""

    with transaction.atomic():
        _run("SET LOCAL session_replication_role = replica")
        yield
        transaction.set_rollback(True)


def _logs(count: int = 12) -> Deployment:
    """Both logs with some rows, sealed in several links."""
    deployment = Deployment.objects.first() or scene.start(scene.devices(2))
    for number in range(count):
        DeploymentEvent.objects.create(
            deployment=deployment, message=f"event, {number}\nof\x1fmany", actor="system", meta={"n": number}
        )
        audit.record(SYSTEM, "note", "nothing", f"note {number}", {"n": number})
    return deployment


def _sealed(monkeypatch: pytest.MonkeyPatch | None = None, batch: int = 5) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "BATCH", batch)
        sealing.seal()


def test_every_event_is_sealed_once_and_every_seal_holds() -> None:
    _logs()
    _sealed()
    rows = DeploymentEvent.objects.count() + AuditEvent.objects.count()
    check = Check()
    assert list(check.faults()) == []
    assert (check.rows, check.unsealed) == (rows, 0)
    assert check.seals > 5
    assert sealing.seal() == 0, "nothing new, no new seal"
    _logs(1)
    assert list((check := Check()).faults()) == []
    assert check.unsealed == 2


def test_of_two_that_seal_at_once_the_chain_does_not_fork(transactional_db: None) -> None:
    _logs(30)
    sealed = at_once(*[sealing.seal] * 4)
    assert sum(sealed) == DeploymentEvent.objects.count() + AuditEvent.objects.count()
    assert _faults() == []


COLUMNS = {
    "deployment_event": {
        "message": "'forged'", "actor": "'user:nobody'", "level": "'error'", "meta": "'{}'::jsonb",
        "created_at": "created_at + interval '1 microsecond'", "device_id": "(SELECT min(id) FROM device)",
        "deployment_id": "(SELECT max(id) FROM deployment)", "id": "id + 1000000",
    },
    "audit_event": {
        "message": "'forged'", "actor": "'user:nobody'", "level": "'error'", "meta": "'{}'::jsonb",
        "created_at": "created_at - interval '1 hour'", "action": "'x'", "subject_kind": "'x'",
        "subject_id": "'x'", "id": "-id",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table, columns in COLUMNS.items() for column in columns]
)
def test_no_column_of_any_row_can_be_changed_unseen(table: str, column: str) -> None:
    _logs()
    scene.start(scene.devices(1))
    _sealed()
    for (pk,) in _run(f"SELECT id FROM {table} WHERE message LIKE '%%e%%' ORDER BY id")[:4]:
        with as_superuser():
            _run(f"UPDATE {table} SET {column} = {COLUMNS[table][column]} WHERE id = %s", pk)
            assert _faults() != [], f"{column} of {pk}"
        assert _faults() == []


_TABLES = st.sampled_from(["deployment_event", "audit_event"])
_SOME = st.sets(st.integers(0, 11), min_size=1, max_size=4)
_DEEDS = st.one_of(
    st.tuples(st.just("remove"), _TABLES, _SOME),
    st.tuples(st.just("change"), _TABLES, _SOME),
    st.tuples(st.just("exchange"), _TABLES, st.sets(st.integers(0, 11), min_size=2, max_size=2)),
    st.tuples(st.just("add"), _TABLES, st.sets(st.integers(0, 11), min_size=1, max_size=1)),
    st.tuples(st.just("tail"), _TABLES, st.sets(st.integers(8, 11), min_size=1, max_size=1)),
)


def _do(deed: str, table: str, chosen: list[int]) -> None:
    """One forgery of rows, with the seals over them where that hides it better."""
    ids = [row[0] for row in _run(f"SELECT id FROM {table} ORDER BY id")]
    picked = [ids[index] for index in chosen]
    if deed == "remove":
        _run(f"DELETE FROM {table} WHERE id = ANY(%s)", picked)
    elif deed == "change":
        _run(f"UPDATE {table} SET message = message || ' ' WHERE id = ANY(%s)", picked)
    elif deed == "exchange":
        one, other = picked
        _run(f"UPDATE {table} SET id = -999 WHERE id = %s", one)
        _run(f"UPDATE {table} SET id = %s WHERE id = %s", one, other)
        _run(f"UPDATE {table} SET id = %s WHERE id = -999", other)
    elif deed == "add":
        columns = [name for (name,) in _run(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = %s AND column_name <> 'id'"
            " ORDER BY 1", table)]  # fmt: skip
        names = ", ".join(columns)
        _run(
            f"INSERT INTO {table} (id, {names}) SELECT (SELECT min(id) - 1 FROM {table}), {names} FROM {table}"
            " WHERE id = %s",
            picked[0],
        )
    else:
        _run(f"DELETE FROM {table} WHERE id >= %s", picked[0])
        _run("DELETE FROM audit_seal WHERE number >= (SELECT min(number) FROM audit_seal"
             " WHERE stream = %s AND last_id >= %s)", table, picked[0])  # fmt: skip


@hypothesis_settings(max_examples=60)
@given(deeds=st.lists(_DEEDS, min_size=1, max_size=3), batch=st.integers(1, 30))
def test_whatever_is_done_to_sealed_rows_is_found(deeds: list[tuple[str, str, set[int]]], batch: int) -> None:
    with transaction.atomic():
        _logs()
        _sealed(batch=batch)
        assert _faults() == []
        before = _everything()
        with as_superuser():
            for deed, table, chosen in deeds:
                if len(_run(f"SELECT id FROM {table}")) > max(chosen):
                    _do(deed, table, sorted(chosen))
            assert (_faults() != []) is (_everything() != before)
        transaction.set_rollback(True)


def _everything() -> list[Any]:
    tables = ("deployment_event", "audit_event", "audit_seal")
    return [_run(f"SELECT x.*::text FROM {table} x ORDER BY 1") for table in tables]


def test_without_the_head_the_last_rows_could_be_cut_off_unseen() -> None:
    """The negative control: this is what the head is for."""
    _logs()
    _sealed()
    head = seal_head.current()
    assert head is not None
    with as_superuser():
        _do("tail", "audit_event", [9])
        seal_head._file().unlink()
        assert _faults() == []
        assert _faults(head) == [f"seal {head.number} is gone: it was written down as {head}"]


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE audit_seal SET mac = repeat('0', 64) WHERE number = 2",
        "UPDATE audit_seal SET digests = '{}' WHERE number = 2",
        "UPDATE audit_seal SET sealed_at = sealed_at + interval '1 second' WHERE number = 2",
        "UPDATE audit_seal SET rows = rows - 1 WHERE number = 2",
        "UPDATE audit_seal SET last_id = last_id + 1 WHERE number = 2",
        "DELETE FROM audit_seal WHERE number = 2",
        "DELETE FROM audit_seal WHERE number = 1",
        "DELETE FROM audit_seal",
    ],
)
def test_a_seal_cannot_be_changed_or_removed_unseen(forgery: str) -> None:
    _logs()
    _sealed()
    with as_superuser():
        _run(forgery)
        assert _faults() != []


def test_who_seals_anew_without_the_key_is_found(settings: Any) -> None:
    _logs()
    _sealed()
    with as_superuser():
        _run("UPDATE audit_event SET message = 'forged' WHERE id = (SELECT min(id) FROM audit_event)")
        _run("DELETE FROM audit_seal")
        seal_head._file().unlink()
        settings.AUDIT_KEY = ["a guess"]
        _sealed()
        settings.AUDIT_KEY = []
        assert "was made with another key" in _faults()[0]


def test_a_changed_key_checks_what_the_old_one_sealed(settings: Any) -> None:
    settings.AUDIT_KEY = ["old"]
    _logs()
    _sealed()
    settings.AUDIT_KEY = ["new", "old"]
    _logs(3)
    _sealed()
    assert _faults() == []
    assert len(set(AuditSeal.objects.values_list("key_id", flat=True))) == 2
    settings.AUDIT_KEY = ["new"]
    assert "name it in AUDIT_KEY" in _faults()[0]


# --- ids are given out before rows are committed --------------------------------------------------------------


def _other_connection() -> psycopg.Connection[Any]:
    database = connection.settings_dict
    return psycopg.connect(host=database["HOST"], user=database["USER"], dbname=database["NAME"])


_INSERT = """INSERT INTO audit_event (actor, action, subject_kind, subject_id, level, message, meta)
    SELECT 'x', 'late', '', '', 'info', 'late', '{}'::jsonb"""
# The id is taken in the inner query, before the lock is waited for and before the transaction has a number.
_TAKES_ITS_ID_FIRST = """INSERT INTO audit_event (id, actor, action, subject_kind, subject_id, level, message, meta)
    SELECT id, 'x', 'late', '', '', 'info', 'late' || pg_advisory_xact_lock(77)::text, '{}'::jsonb
    FROM (SELECT nextval('audit_event_id_seq') AS id OFFSET 0) given"""


def test_a_row_that_is_committed_after_a_later_one_is_not_left_out(transactional_db: None) -> None:
    with _other_connection() as other:
        other.execute(_INSERT)
        audit.record(SYSTEM, "note", "nothing", "committed first, with a greater id")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sealing, "WAIT_SEC", 0.1)
            assert sealing.seal() == 0, "who may still commit a smaller id is waited for"
        other.commit()
    assert sealing.seal() == 2
    assert _faults() == []


def test_without_waiting_for_writers_such_a_row_would_break_its_seal(transactional_db: None) -> None:
    """The negative control."""
    with _other_connection() as other, pytest.MonkeyPatch.context() as patch:
        other.execute(_INSERT)
        audit.record(SYSTEM, "note", "nothing", "committed first, with a greater id")
        patch.setattr(sealing, "_writers", lambda _: set())
        assert sealing.seal() == 1
        other.commit()
    assert len(_faults()) == 1


def test_who_has_an_id_and_no_transaction_number_is_waited_for_too(transactional_db: None) -> None:
    """Where a horizon of transaction ids would have gone past."""
    with _other_connection() as gate, _other_connection() as other, pytest.MonkeyPatch.context() as patch:
        gate.execute("SELECT pg_advisory_lock(77)")
        writing = at_once_later(lambda: other.execute(_TAKES_ITS_ID_FIRST))
        _await_waiter()
        audit.record(SYSTEM, "note", "nothing", "committed first, with a greater id")
        ((horizon,),) = _run("SELECT pg_snapshot_xmin(pg_current_snapshot()) > (SELECT max(xmin::text::bigint)"
                             " FROM audit_event)::text::xid8")  # fmt: skip
        assert horizon, "by the horizon everything below is over"
        patch.setattr(sealing, "WAIT_SEC", 0.1)
        assert sealing.seal() == 0
        gate.execute("SELECT pg_advisory_unlock(77)")
        writing.join(20)
        other.commit()
        assert sealing.seal() == 2
    assert _faults() == []


def at_once_later(deed: Any) -> Any:
    import threading

    thread = threading.Thread(target=deed)
    thread.start()
    return thread


def _await_waiter() -> None:
    import threading

    pause = threading.Event()
    for _ in range(1000):
        if _run("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            return
        pause.wait(0.01)
    raise AssertionError("It was to wait for the lock.")


def test_a_row_that_was_rolled_back_leaves_a_hole_that_nobody_can_fill(transactional_db: None) -> None:
    with _other_connection() as other:
        other.execute(_INSERT)
        other.rollback()
    audit.record(SYSTEM, "note", "nothing", "after the hole")
    sealing.seal()
    assert _faults() == []
    _run("""INSERT INTO audit_event (id, actor, action, subject_kind, subject_id, level, message, meta)
        SELECT min(id) - 1, 'x', 'forged', '', '', 'info', '', '{}'::jsonb FROM audit_event""")
    assert len(_faults()) == 1


# --- what is said ---------------------------------------------------------------------------------------------


def test_the_head_goes_to_the_log_and_to_a_file(caplog: pytest.LogCaptureFixture, own_folder: Path) -> None:
    _logs(2)
    with caplog.at_level(logging.INFO, "mdm.watch.seal_head"):
        sealing.seal()
    head = seal_head.current()
    assert head is not None
    assert caplog.messages == [f"The audit log is sealed up to {head}"]
    assert seal_head.kept() == head == Head.parse(str(head))
    (own_folder / "audit_head").write_text("{")
    assert seal_head.kept() is None


def _verify(*arguments: str) -> str:
    out = StringIO()
    call_command("verify_audit", *arguments, stdout=out, stderr=out)
    return out.getvalue().strip()


def test_the_command_says_that_all_is_well() -> None:
    deployment, _ = stages.STATES["succeeded"]()
    scene.start(scene.devices(1))
    sealing.seal()
    assert _verify(str(deployment.pk)).startswith("Log and tables agree (1 deployments).\nEvery seal holds (")
    audit.record(SYSTEM, "note", "nothing", "just now")
    said = _verify("--all", "--head", str(seal_head.current()))
    assert said.startswith("Log and tables agree (2 deployments).\nEvery seal holds (")
    assert said.endswith("; 1 events are too new).")


def test_the_command_prints_what_differs_and_fails() -> None:
    deployment, device = stages.STATES["failed"]()
    sealing.seal()
    DeploymentTask.objects.update(status="succeeded")
    out = StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("verify_audit", "--all", stdout=out, stderr=out)
    assert failed.value.returncode == 1
    assert out.getvalue() == (
        f"#{deployment.pk}: device {device.pk}: the log says failed, the table succeeded\n"
        "Log and tables differ in 1 places.\n"
    )


def test_the_command_checks_the_seals_over_one_deployment_alone() -> None:
    mine, other = _logs(3), scene.start(scene.devices(1))
    sealing.seal()
    with as_superuser():
        _run("UPDATE deployment_event SET actor = 'user:nobody' WHERE deployment_id = %s", other.pk)
        assert "Every seal holds" in _verify(str(mine.pk))
        with pytest.raises(CommandError):
            _verify(str(other.pk))


@pytest.mark.parametrize(
    "arguments",
    [["999999"], [], ["1", "--all"], ["--all", "--head", "7"], ["--all", "--head", "x:" + "0" * 64]],
    ids=["unknown", "none", "both", "no head", "no number"],
)
def test_the_command_refuses_what_it_cannot_mean(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        _verify(*arguments)


def test_what_became_of_tasks_is_counted_once_as_it_is_sealed() -> None:
    fleet = scene.devices(2)
    deployment = scene.start(fleet)
    scene.install(deployment, fleet[0])
    assert scene.beat(fleet[1])
    scene.report(deployment, fleet[1], "failed", error_code="made_up_by_an_agent")
    sealing.seal()
    sealing.seal()
    moves = {labels["to"]: count for labels, count in counters.totals("task_moves")}
    assert (moves["sending"], moves["succeeded"]) == (2, 1)
    assert counters.totals("failures") == [({"code": "internal"}, 1)]
    installs = {labels["what"]: count for labels, count in counters.totals("installs")}
    assert installs["count"] == 1
    assert 0 < installs["milliseconds"] < 60_000
    recent = {labels["to"]: n for labels, n in counters.recent("task_moves", timedelta(minutes=5))}
    assert recent == moves
