"""Checks the seals against the rows: whatever was removed, changed, added or put elsewhere since, a seal breaks.

One statement, read in chunks, so that seals and rows are seen at the same moment and memory does not grow.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from django.db import connection

from mdm.watch import seal_head
from mdm.watch.anchors import Anchors
from mdm.watch.seal_head import Head
from mdm.watch.seal_text import DEPLOYMENTS, FIRST, REST, STREAMS, Link, Stream
from mdm.watch.sealing_keys import SealingKey, all_keys

CHUNK: Final = 200

_RANGE: Final = "e.id > s.after_id AND e.id <= s.last_id"
_OF_ONE: Final = "(%(only)s::bigint IS NULL OR e.deployment_id = %(only)s)"
_ROWS: Final = {
    DEPLOYMENTS: f"s.stream = '{DEPLOYMENTS.table}' AND {_RANGE} AND {_OF_ONE}",
    REST: f"s.stream = '{REST.table}' AND %(only)s::bigint IS NULL AND {_RANGE}",
}
_SEALS: Final = f"""SELECT s.number, s.stream, s.after_id, s.last_id, s.rows, s.digests, s.sealed_at, s.key_id, s.mac,
        r.part, r.digest
    FROM audit_seal s LEFT JOIN LATERAL (
        {" UNION ALL ".join(f"({stream.digests(where)})" for stream, where in _ROWS.items())}
    ) r ON true ORDER BY s.number"""
_DIFFERING: Final = """SELECT s.number FROM audit_seal s LEFT JOIN LATERAL ({digests}) r ON true
    WHERE s.stream = 'deployment_event' AND s.last_id > %(after)s AND s.last_id <= %(last)s
        AND r.digest IS DISTINCT FROM s.digests ->> %(deployment)s::text ORDER BY s.number"""
_SIGNED: Final = """SELECT s.number, s.stream, s.after_id, s.last_id, s.rows, s.digests, s.sealed_at, s.key_id, s.mac,
        COALESCE(p.mac, '')
    FROM audit_seal s LEFT JOIN audit_seal p ON p.number = s.number - 1
    WHERE s.stream = 'deployment_event' AND s.last_id > %(after)s AND s.last_id <= %(last)s
        AND s.digests ? %(deployment)s::text ORDER BY s.number"""
_OPEN: Final = "SELECT count(*) FROM {table} WHERE id > %s"


@dataclass
class Check:
    """One pass over the chain. Of one deployment (`only`): its rows, and every link. What an anchor in `anchors`
    covers may be gone."""

    only: int | None = None
    witnesses: list[Head] = field(default_factory=list)
    anchors: Anchors = field(default_factory=Anchors)
    seals: int = 0
    rows: int = 0
    unsealed: int = 0
    _ends: dict[str, int] = field(default_factory=dict)
    _mac: str = ""

    def faults(self) -> Iterator[str]:
        """A sentence for each seal that does not hold; nothing where all do."""
        keys = {key.id: key for key in all_keys()}
        seen = {head.number: "" for head in self._heads()}
        for _, parts in groupby(self._stream(), key=lambda row: row[0]):
            yield from self._link(list(parts), keys)
            if self.seals in seen:
                seen[self.seals] = self._mac
        yield from self._missing(seen)
        self.unsealed = sum(self._after_the_last(stream.table) for stream in STREAMS)

    def _link(self, rows: list[tuple[Any, ...]], keys: dict[str, SealingKey]) -> Iterator[str]:
        number, stream, after, last, count, digests, sealed_at, key_id, mac, _, _ = rows[0]
        link = Link(number, stream, after, last, count, _loaded(digests), sealed_at)
        self.seals += 1
        self.rows += link.rows
        yield from self._order(link)
        if fault := _unproven(link, self._mac, mac, key_id, keys):
            yield fault
        self._mac = mac
        yield from self._rows(link, {part: digest for *_, part, digest in rows if part is not None})

    def _order(self, link: Link) -> Iterator[str]:
        if link.number != self.seals:
            yield f"seal {self.seals} is missing"
            self.seals = link.number
        if link.after_id != self._ends.get(link.stream, FIRST):
            yield f"seal {link.number} does not begin where the one before it ended"
        self._ends[link.stream] = link.last_id

    def _rows(self, link: Link, found: dict[str, str]) -> Iterator[str]:
        sealed = dict(link.digests)
        if self.only is not None:
            sealed = {part: digest for part, digest in sealed.items() if part == str(self.only)}
        for part in sorted(sealed.keys() | found.keys()):
            if part not in found and self.anchors.cover(link, part):
                continue
            if sealed.get(part) != found.get(part):
                of = f"deployment {part}" if part else link.stream
                first = "the first" if link.after_id == FIRST else f"{link.after_id + 1:,}"
                yield f"seal {link.number}: events {first} to {link.last_id:,} of {of} are not what was sealed"

    def _missing(self, seen: dict[int, str]) -> Iterator[str]:
        for head in self._heads():
            if seen[head.number] != head.mac:
                gone = "is gone" if head.number > self.seals else "is another one now"
                yield f"seal {head.number} {gone}: it was written down as {head}"

    def _heads(self) -> Iterable[Head]:
        kept = seal_head.kept()
        return [*self.witnesses, *self.anchors.heads(), *([kept] if kept else [])]

    def _stream(self) -> Iterator[tuple[Any, ...]]:
        with connection.chunked_cursor() as cursor:
            cursor.execute(_SEALS, {"only": self.only})
            while rows := cursor.fetchmany(CHUNK):
                yield from rows

    def _after_the_last(self, table: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(_OPEN.format(table=table), [self._ends.get(table, FIRST)])
            (count,) = cursor.fetchone() or (0,)
        return int(count)


def differing(stream: Stream, deployment_id: int, after_id: int, last_id: int) -> list[int]:
    """Numbers of the seals in the range that do not cover what `stream` has of the deployment."""
    digests = stream.digests(f"e.deployment_id = %(deployment)s AND {_RANGE}")
    params = {"deployment": deployment_id, "after": after_id, "last": last_id}
    with connection.cursor() as cursor:
        cursor.execute(_DIFFERING.format(digests=digests), params)
        return [number for (number,) in cursor.fetchall()]


def unproven(deployment_id: int, after_id: int, last_id: int) -> Iterator[tuple[str, str]]:
    """Of the seals over the deployment's events in the range those that none of our keys has made: what is wrong, and
    the key's id where it is an unknown one."""
    keys = {key.id: key for key in all_keys()}
    params = {"deployment": deployment_id, "after": after_id, "last": last_id}
    with connection.chunked_cursor() as cursor:
        cursor.execute(_SIGNED, params)
        while rows := cursor.fetchmany(CHUNK):
            for number, stream, after, last, count, digests, sealed_at, key_id, mac, previous_mac in rows:
                link = Link(number, stream, after, last, count, _loaded(digests), sealed_at)
                if fault := _unproven(link, previous_mac, mac, key_id, keys):
                    yield fault, "" if key_id in keys else key_id


def _unproven(link: Link, previous_mac: str, mac: str, key_id: str, keys: Mapping[str, SealingKey]) -> str:
    key = keys.get(key_id)
    if key is None:
        return f"seal {link.number} was made with another key ({key_id}); name it in AUDIT_KEY"
    if key.mac(link.text(previous_mac)) != mac:
        return f"seal {link.number} was changed, or the one before it"
    return ""


def _loaded(digests: Any) -> dict[str, str]:
    """jsonb comes as text on a plain cursor."""
    found: dict[str, str] = json.loads(digests) if isinstance(digests, str) else digests
    return found
