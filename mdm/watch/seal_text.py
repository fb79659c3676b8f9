"""What a seal covers, as text: the rows exactly as they are stored, and the seal's own line in the chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

FIRST: Final = -(2**63)  # nothing has an id before it


@dataclass(frozen=True, slots=True)
class Stream:
    """A log that is sealed. `line`: one row as unambiguous text (PostgreSQL's row output quotes); columns are named,
    so that one that is added later breaks no old seal. `part`: rows of a seal are digested by it, so that a
    deployment's history can be checked alone."""

    table: str
    line: str
    part: str

    @property
    def digests(self) -> str:
        """SQL over the rows `e` of a range: part, count, SHA-256 of its lines in the order of their ids."""
        return f"""SELECT {self.part} AS part, count(*) AS rows, encode(sha256(convert_to(
            string_agg({self.line}, E'\\n' ORDER BY e.id), 'UTF8')), 'hex') AS digest FROM {self.table} e"""


_AT: Final = "(EXTRACT(EPOCH FROM e.created_at) * 1000000)::bigint"
DEPLOYMENTS: Final = Stream(
    "deployment_event",
    f"ROW(e.id, e.deployment_id, e.device_id, e.level, e.message, e.actor, e.meta, {_AT})::text",
    "e.deployment_id::text",
)
REST: Final = Stream(
    "audit_event",
    f"ROW(e.id, e.actor, e.action, e.subject_kind, e.subject_id, e.level, e.message, e.meta, {_AT})::text",
    "''::text",
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
