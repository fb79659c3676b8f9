"""Which bytes a `Range` header asks for (RFC 9110, section 14). Decided from texts and numbers alone."""

import re
from dataclasses import dataclass
from typing import Final

_ONE_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.ASCII | re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins behind the end: answer 416."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `end`, both included, as in `Content-Range`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1


def requested_span(header: str, size: int) -> Span | None:
    """None = send the whole file: no header, several ranges, another unit, or nonsense, as the RFC allows.

    Raises Unsatisfiable.
    """
    match = _ONE_RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return None
    if not match[1]:
        start, end = max(size - int(match[2]), 0), size - 1
    else:
        start, end = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < start:
            return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, end)


def may_resume(if_range: str, etag: str) -> bool:
    """Whether `Range` counts: only if the client has a part of this very file. Weak tags, dates: never."""
    return if_range.strip() in ("", etag)
