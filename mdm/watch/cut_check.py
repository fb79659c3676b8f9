"""What was cut, from its files: held against anchors and seals, and read as one log with what is left of it.

The rows go into temporary tables of this session, so that they are read as stored ones are, and memory stays small.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from django.db import connection

from deployments.reading.log_replay import differences
from mdm.watch import archive
from mdm.watch.anchors import Anchors
from mdm.watch.models import AuditCut
from mdm.watch.seal_check import differing
from mdm.watch.seal_text import DEPLOYMENTS

WHOLE: Final = "whole_event"
_ARCHIVED: Final = replace(DEPLOYMENTS, table="archived_event")
_TABLES: Final = f"""
DROP VIEW IF EXISTS {WHOLE};
DROP TABLE IF EXISTS archived_event, archived_line, archived_to;
CREATE TEMP TABLE archived_line (line text);
CREATE TEMP TABLE archived_event AS SELECT * FROM deployment_event WITH NO DATA;
CREATE INDEX ON archived_event (id);
CREATE TEMP TABLE archived_to (id bigint);
CREATE TEMP VIEW {WHOLE} AS SELECT * FROM archived_event
    UNION ALL SELECT * FROM deployment_event WHERE id > (SELECT id FROM archived_to)"""
_COPY: Final = f"COPY archived_line FROM STDIN {archive.AS_IT_IS}"
_READ: Final = f"""INSERT INTO archived_event SELECT r.* FROM archived_line l,
    jsonb_populate_record(NULL::deployment_event, l.line::jsonb -> 'event') r
    WHERE starts_with(l.line, '{archive.EVENT}')"""
_OF_ANOTHER: Final = """SELECT count(*), count(*) FILTER (WHERE deployment_id <> %s OR id <= %s OR id > %s)
    FROM archived_event WHERE id > %s"""


@dataclass
class ArchiveCheck:
    """Rebuilds deployments whose events were cut. A file that is not in `folder` leaves its deployment out; with
    `demanded` that is a fault."""

    anchors: Anchors
    folder: Path
    demanded: bool = False
    rebuilt: int = 0
    rows: int = 0
    left_out: list[int] = field(default_factory=list)

    def faults(self, deployment_id: int) -> Iterator[str]:
        """A sentence for each file that is not what was signed for, and each status that the events do not lead to."""
        cuts = self.anchors.of[deployment_id]
        absent = [cut.file for cut in cuts if not (self.folder / cut.file).exists()]
        if absent:
            self.left_out.append(deployment_id)
            yield from (f"{name} is not in {self.folder}" for name in absent if self.demanded)
            return
        _run(_TABLES)
        wrong = [sentence for cut in cuts for sentence in self._load(cut)]
        yield from wrong
        if not wrong:
            self.rebuilt += 1
            _run("INSERT INTO archived_to VALUES (%s)", [cuts[-1].last_id])
            yield from differences(deployment_id, WHOLE)

    def _load(self, cut: AuditCut) -> Iterator[str]:
        if fault := archive.fault(cut, self.folder):
            yield f"{cut.file} {fault}"
            return
        with connection.cursor() as cursor:
            copying: Any = cursor
            with copying.copy(_COPY) as there:
                for block in archive.blocks(cut, self.folder):
                    there.write(block)
        _run(_READ)
        _run("TRUNCATE archived_line")
        _run("ANALYZE archived_event")  # else each seal might look at every row
        yield from self._compared(cut)

    def _compared(self, cut: AuditCut) -> Iterator[str]:
        where = (cut.deployment_id, cut.after_id, cut.last_id)
        with connection.cursor() as cursor:
            cursor.execute(_OF_ANOTHER, [*where, cut.after_id])
            rows, strangers = cursor.fetchone() or (0, 0)
        self.rows += rows
        if strangers or rows != cut.rows:
            yield f"{cut.file} holds {rows:,} events, {cut} says {cut.rows:,}"
        for number in differing(_ARCHIVED, *where):
            yield f"seal {number}: its events in {cut.file} are not what was sealed"


def _run(sql: str, params: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
