"""What a seal covers, as text: the rows exactly as they are stored, and the seal's own line in the chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

FIRST: Final = -(2**63)  # nothing has an id before it


@dataclass(frozen=True, slots=True)
class Stream:
    """A log that is sealed. `line`: one row as unambiguous text (PostgreSQL's row output quotes); columns are named,
    so that one that is added later breaks no old seal. `part`: a number by which the rows of a seal are digested, so
    that a deployment's history can be checked alone; "" where there is but one."""

    table: str
    line: str
    part: str = ""

    def digests(self, where: str) -> str:
        """SQL over the rows `e` that it wants: part, count, SHA-256 of its lines in the order of their ids.

        The rows come sorted by part and id to the aggregate, which takes them as they come: to sort the texts inside
        it would take as long as all the rest."""
        part, by = (f"e.{self.part}::text", f"e.{self.part}, ") if self.part else ("''", "")
        return f"""SELECT {part} AS part, count(*) AS rows, encode(sha256(convert_to(
            string_agg({self.line}, E'\\n'), 'UTF8')), 'hex') AS digest
            FROM (SELECT * FROM {self.table} e WHERE {where} ORDER BY {by}e.id) e
            GROUP BY {f"e.{self.part}" if self.part else "()"} HAVING count(*) > 0"""


_AT: Final = "(EXTRACT(EPOCH FROM e.created_at) * 1000000)::bigint"
DEPLOYMENTS: Final = Stream(
    "deployment_event",
    f"ROW(e.id, e.deployment_id, e.device_id, e.level, e.message, e.actor, e.meta, {_AT})::text",
    "deployment_id",
)
REST: Final = Stream(
    "audit_event",
    f"ROW(e.id, e.actor, e.action, e.subject_kind, e.subject_id, e.level, e.message, e.meta, {_AT})::text",
)
STREAMS: Final = (DEPLOYMENTS, REST)


@dataclass(frozen=True, slots=True)
class Link:
    """One seal: rows of `stream` with `after_id` < id <= `last_id`. `digests`: part -> SHA-256 of its lines."""

    number: int
    stream: str
    after_id: int
    last_id: int
    rows: int
    digests: Mapping[str, str]
    sealed_at: datetime

    def text(self, previous_mac: str) -> str:
        """What is signed: everything the seal says, and through the previous one everything before it."""
        sealed_us = round(self.sealed_at.timestamp() * 1_000_000)
        parts = [f"{part}={digest}" for part, digest in sorted(self.digests.items())]
        numbers = (self.number, self.stream, self.after_id, self.last_id, self.rows, sealed_us)
        return "\n".join([previous_mac, *map(str, numbers), *parts])
