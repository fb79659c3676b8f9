"""Seals new events in the background: every few seconds one link of a chain of HMACs covers what has come.

No event waits for a seal, and none is left out. Ids are given out before rows are committed, so a row with a small
id may appear after one with a greater id. A seal therefore ends at an id that was seen committed, and is made only
after every transaction that was writing to the log at that moment has ended: whoever may still commit a smaller id
holds a lock on the table since before it took that id. (A horizon of transaction ids would not do: an id can be
taken before the transaction has a number of its own.)
"""

import logging
import threading
import time
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from mdm.watch import outcomes, seal_head
from mdm.watch.models import AuditSeal
from mdm.watch.seal_text import DEPLOYMENTS, FIRST, STREAMS, Link, Stream
from mdm.watch.sealing_keys import all_keys

log = logging.getLogger(__name__)

SEAL_LOCK: Final = 0x6E657870
BATCH: Final = 2_000
ROUND: Final = 50  # batches: an old log that was never sealed takes several rounds
WAIT_SEC: Final = 2.0
LOOK_EVERY_SEC: Final = 0.02

# Whoever inserts holds ROW EXCLUSIVE from before the first id is taken until the transaction has ended.
_WRITERS: Final = """SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted
    AND relation = %s::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND pid IS DISTINCT FROM pg_backend_pid()"""


def seal() -> int:
    """One round over both logs; how many events were sealed."""
    sealed = sum(_seal_stream(stream) for stream in STREAMS)
    if sealed:
        seal_head.tell()
    return sealed


def _seal_stream(stream: Stream) -> int:
    newest = _newest(stream)
    if newest is None or newest <= sealed_to(stream) or not _writers_ended(stream):
        return 0
    sealed = 0
    for _ in range(ROUND):
        rows = _link(stream, newest)
        sealed += rows
        if rows < BATCH:
            break
    return sealed


def _newest(stream: Stream) -> int | None:
    found: int | None = _row(f"SELECT max(id) FROM {stream.table}")[0]
    return found


def sealed_to(stream: Stream) -> int:
    last = AuditSeal.objects.filter(stream=stream.table).order_by("-last_id")
    return last.values_list("last_id", flat=True).first() or FIRST


def _writers_ended(stream: Stream) -> bool:
    """Waits for those who write now, not for those who come after; False where one takes too long."""
    pause, end = threading.Event(), time.monotonic() + WAIT_SEC
    waited_for = _writers(stream)
    while waited_for:
        if time.monotonic() > end:
            return False
        pause.wait(LOOK_EVERY_SEC)
        waited_for &= _writers(stream)
    return True


def _writers(stream: Stream) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS, [stream.table])
        return {row[0] for row in cursor.fetchall()}


def _link(stream: Stream, newest: int) -> int:
    """The next link, of at most BATCH rows up to `newest`; how many. One at a time, over all processes."""
    with transaction.atomic():
        if not _row("SELECT pg_try_advisory_xact_lock(%s)", SEAL_LOCK)[0]:
            return 0
        after = sealed_to(stream)
        last, count = _row(
            f"""SELECT max(id), count(*) FROM (SELECT id FROM {stream.table} WHERE id > %s AND id <= %s
                ORDER BY id LIMIT %s) batch""",
            after,
            newest,
            BATCH,
        )
        if not count:
            return 0
        _append(stream, after, last)
        if stream is DEPLOYMENTS:
            outcomes.count(after, last)
    return int(count)


def _append(stream: Stream, after: int, last: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(stream.digests("e.id > %s AND e.id <= %s"), [after, last])
        parts = cursor.fetchall()
    previous = AuditSeal.objects.order_by("-number").first()
    key = all_keys()[0]
    link = Link(
        number=previous.number + 1 if previous else 1,
        stream=stream.table,
        after_id=after,
        last_id=last,
        rows=sum(rows for _, rows, _ in parts),
        digests={part: digest for part, _, digest in parts},
        sealed_at=timezone.now(),
    )
    AuditSeal.objects.create(
        number=link.number,
        stream=link.stream,
        after_id=link.after_id,
        last_id=link.last_id,
        rows=link.rows,
        digests=dict(link.digests),
        sealed_at=link.sealed_at,
        key_id=key.id,
        mac=key.mac(link.text(previous.mac if previous else "")),
    )


def _row(sql: str, *params: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return tuple(cursor.fetchone() or ())
