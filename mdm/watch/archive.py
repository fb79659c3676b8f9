"""Archived events as files of JSON lines: events of one deployment, each run of them followed by the seal over it.

A file is written aside, brought to the disk and only then given its name, which carries the start of its digest: who
finds a name finds the whole content, and no other content ever takes its place.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Final

from django.conf import settings
from django.db import connection

from mdm import whole_files
from mdm.watch.models import AuditCut, AuditSeal

BLOCK: Final = 1 << 18  # bytes
# A line as it is: JSON holds none of these characters, so that nothing is quoted.
AS_IT_IS: Final = r"(FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"
EVENT: Final = '{"event": '

_LINES: Final = f"""COPY (SELECT line FROM (
    SELECT e.id AS at, 0 AS after, jsonb_build_object('event', to_jsonb(e))::text AS line FROM deployment_event e
        WHERE e.deployment_id = %(deployment)s AND e.id > %(after)s AND e.id <= %(last)s
    UNION ALL
    SELECT s.last_id, 1, jsonb_build_object('seal', to_jsonb(s) || jsonb_build_object('previous_mac', p.mac))::text
        FROM audit_seal s LEFT JOIN audit_seal p ON p.number = s.number - 1
        WHERE s.stream = 'deployment_event' AND s.last_id > %(after)s AND s.last_id <= %(last)s
            AND s.digests ? %(deployment)s::text
    ) lines ORDER BY at, after) TO STDOUT {AS_IT_IS}"""


@dataclass(frozen=True, slots=True)
class Portion:
    """Events of a deployment with `after_id` < id <= `last_id`, where `seal` ends; `rows` of them."""

    deployment_id: int
    after_id: int
    last_id: int
    rows: int
    seal: AuditSeal


@dataclass(frozen=True, slots=True)
class Written:
    file: str
    size_bytes: int
    sha256: str


def folder() -> Path:
    found: Path = settings.AUDIT_ARCHIVE_DIR
    return found


def write(portion: Portion) -> Written:
    """Writes the file; the same portion gives the same one. Of a killed process only a `.part` is left."""
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in folder().glob(".*.part"):
        left.unlink(missing_ok=True)
    with NamedTemporaryFile(dir=folder(), prefix=".", suffix=".part", delete=False) as draft:
        try:
            size, sha256 = _copy(portion, draft)
        except BaseException:  # a full disk is not filled with what nobody will read
            Path(draft.name).unlink(missing_ok=True)
            raise
    name = f"deployment-{portion.deployment_id}-to-{portion.last_id}-{sha256[:12]}.jsonl"
    whole_files.put_in_place(Path(draft.name), folder() / name)
    return Written(name, size, sha256)


def _copy(portion: Portion, draft: IO[bytes]) -> tuple[int, str]:
    """Size in bytes and digest of what lies on the disk then."""
    digest, size = hashlib.sha256(), 0
    for block in _lines(portion):
        draft.write(block)
        digest.update(block)
        size += len(block)
    whole_files.sync(draft)
    return size, digest.hexdigest()


def _lines(portion: Portion) -> Iterator[bytes]:
    params = {"deployment": portion.deployment_id, "after": portion.after_id, "last": portion.last_id}
    with connection.cursor() as cursor:
        copying: Any = cursor
        with copying.copy(_LINES, params) as rows:
            for block in rows:
                yield bytes(block)


def fault(cut: AuditCut, where: Path) -> str:
    """What is wrong with the file of that anchor, in a few words; empty where it is as it was written."""
    try:
        with (where / cut.file).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if found == cut.sha256 else "was changed since it was written"


def blocks(cut: AuditCut, where: Path) -> Iterator[bytes]:
    with (where / cut.file).open("rb") as file:
        while block := file.read(BLOCK):
            yield block
