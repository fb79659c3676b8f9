"""Both audit logs as JSON lines, streamed: each row as it is stored, with the seal that covers it."""

from collections.abc import Iterator
from typing import Any, Final

from django.db import connection, transaction

from mdm import audit
from mdm.people import Actor

CHUNK: Final = 2_000

# Rows are made to JSON by the database: neither memory nor time grows with what a row holds.
_ROWS: Final = """SELECT (to_jsonb(e) || jsonb_build_object('log', %(log)s::text, 'seal', (SELECT min(s.number)
        FROM audit_seal s WHERE s.stream = %(log)s AND s.last_id >= e.id)))::text
    FROM {table} e WHERE e.id > %(since)s {only} ORDER BY e.id"""
_ONE_DEPLOYMENT: Final = "AND e.deployment_id = %(deployment)s"
MAY_EXPORT: Final = "mdm.view_auditevent"


def export(actor: Actor, *, since: int = 0, deployment_id: int | None = None) -> Iterator[str]:
    """Lines, `deployment_event` first, each log in the order of its ids from `since` on. Forbidden.

    Of one deployment: its own log only. The export itself is written to the log.
    """
    actor.require(MAY_EXPORT)
    audit.record(
        actor,
        "audit.export",
        "audit",
        "Exported the audit log",
        {"since": since, "deployment": deployment_id},
    )
    return _lines(since, deployment_id)


def _lines(since: int, deployment_id: int | None) -> Iterator[str]:
    tables = ("deployment_event",) if deployment_id is not None else ("deployment_event", "audit_event")
    for table in tables:
        sql = _ROWS.format(table=table, only=_ONE_DEPLOYMENT if deployment_id is not None else "")
        params: dict[str, Any] = {"log": table, "since": since, "deployment": deployment_id}
        with transaction.atomic(), connection.chunked_cursor() as cursor:
            cursor.execute(sql, params)
            while rows := cursor.fetchmany(CHUNK):
                yield "".join(f"{row[0]}\n" for row in rows)
