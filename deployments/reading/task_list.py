"""The devices of a deployment, filtered, sorted and paged: the same rows for table, API and CSV."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, Final

from django.db import connection

from deployments.engine.eligibility import REASON_OF_MANY, Terms, shown
from deployments.models import Deployment
from deployments.reading import finding, summary
from deployments.rules.retry import ERROR_CODES
from deployments.rules.states import REASONS, TaskStatus
from mdm.paging import Paging, cursor, cut, paged
from mdm.problems import Invalid

FIELDS: Final = (
    "id",
    "device_id",
    "device_alias",
    "status",
    "phase",
    "reason",
    "attempt",
    "is_canary",
    "last_error",
    "error_code",
    "from_version_code",
    "installed_version_code",
    "next_run_at",
    "sent_at",
    "finished_at",
    "updated_at",
)
CSV_CHUNK: Final = 2_000

_ROWS: Final = f"""SELECT t.id, t.device_id, COALESCE(NULLIF(d.alias, ''), d.serial), t.status,
    NULLIF(t.phase, ''), NULLIF({shown(REASON_OF_MANY)}, '') AS reason, t.attempt, t.is_canary,
    NULLIF(t.last_error, ''), NULLIF(t.error_code, ''), t.from_version_code, t.installed_version_code,
    t.next_run_at, t.sent_at, t.finished_at, t.updated_at"""
_FROM: Final = """FROM deployment_task t JOIN device d ON d.id = t.device_id
    LEFT JOIN heartbeat h ON h.device_id = d.id WHERE t.deployment_id = %(id)s"""
_SLICE: Final = "ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s"
_ORDER: Final = """SELECT count(*), COALESCE(string_agg(step::text, ',' ORDER BY place), '') FROM (
    SELECT {place} AS place, t.id - lag(t.id, 1, 0::bigint) OVER sorted AS step {rows}
    WINDOW sorted AS (ORDER BY {order})) steps"""
# What the list can be sorted by; statuses in the order of their course, reasons and errors by their words.
_SORTS: Final = {
    "device": "COALESCE(NULLIF(d.alias, ''), d.serial)",
    "model": "d.model",
    "status": "array_position(%(statuses_in_order)s, t.status)",
    "why": f"array_position(%(reasons_in_order)s, NULLIF({shown(REASON_OF_MANY)}, ''))",
    "tries": "t.attempt",
    "updated": "t.updated_at",
}
SORTS: Final = tuple(_SORTS)
_OF_TASKS_ALONE: Final = ("", "status", "tries", "updated")
_WORDS: Final = {code: reason.text for code, reason in REASONS.items()} | {
    code: known.label for code, known in ERROR_CODES.items()
}
_IN_ORDER: Final = {
    "statuses_in_order": TaskStatus.values,
    "reasons_in_order": sorted(_WORDS, key=lambda code: _WORDS[code].casefold()),
}
# A reason that some devices wait for and others have ended with can be asked for either way.
PARTS: Final = ("waiting", "ended")


@dataclass(frozen=True, slots=True)
class Filter:
    """`status`: one or several, separated by commas; `reason`: a code, or `waiting:` or `ended:` and a code;
    `query`: part of alias, serial or model; `sort`: one of SORTS, with a minus before it the other way round."""

    status: str = ""
    reason: str = ""
    query: str = ""
    sort: str = ""

    @property
    def part(self) -> str:
        """Which of PARTS the reason is asked for in; "" = in both."""
        part = self.reason.partition(":")[0]
        return part if part in PARTS else ""

    @property
    def code(self) -> str:
        return self.reason.removeprefix(f"{self.part}:")

    def narrows(self) -> bool:
        return bool(self.status or self.reason or self.query)

    def sql(self) -> str:
        conditions = [""]
        if self.status:
            conditions.append("t.status = ANY(%(statuses)s)")
        if self.query:
            conditions.append(
                "(d.alias ILIKE %(pattern)s OR d.serial ILIKE %(pattern)s OR d.model ILIKE %(pattern)s)"
            )
        if self.reason:
            conditions.append(f"({shown(REASON_OF_MANY)}) = %(reason)s")
        if self.part:
            conditions.append(f"t.finished_at IS {'NOT ' if self.part == 'ended' else ''}NULL")
        return " AND ".join(conditions)

    def rows_sql(self) -> str:
        """The tasks under the filter; without their devices where nothing is asked of those."""
        tasks = "FROM deployment_task t WHERE t.deployment_id = %(id)s"
        of_devices = self.reason or self.query or self._column() not in _OF_TASKS_ALONE
        return f"{_FROM if of_devices else tasks}{self.sql()}"

    def _column(self) -> str:
        """Invalid where there is none of that name."""
        column = self.sort.removeprefix("-")
        if column and column not in _SORTS:
            raise Invalid(
                f"The list cannot be sorted by {column}.", errors={"sort": f"One of {', '.join(SORTS)}."}
            )
        return column

    def order_sql(self) -> str:
        """As sorted; rows that are equal in that, or not sorted at all, as they were planned."""
        if not (column := self._column()):
            return "t.id"
        return f"{_SORTS[column]} {'DESC' if self.sort.startswith('-') else 'ASC'} NULLS LAST, t.id"

    def fits(self, status: str, reason: str | None, *, ended: bool) -> bool:
        """Whether status and reason are those asked for; what a device is called is not looked at again."""
        if status not in (self.statuses() or [status]) or self.code not in ("", reason):
            return False
        return not self.part or (self.part == "ended") == ended

    def statuses(self) -> list[str]:
        """Invalid where one is none."""
        statuses = [part.strip() for part in self.status.split(",") if part.strip()]
        if unknown := sorted(set(statuses) - set(TaskStatus.values)):
            raise Invalid(
                f"There is no status {', '.join(unknown)}.",
                errors={"status": f"One of {', '.join(TaskStatus.values)}."},
            )
        return statuses

    def params(self) -> dict[str, Any]:
        escaped = self.query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        asked = {"statuses": self.statuses(), "pattern": f"%{escaped}%", "reason": self.code}
        return asked | _IN_ORDER


ANY: Final = Filter()
_FIRST: Final = Paging()


def page(
    deployment_id: int, paging: Paging = _FIRST, *, status: str = "", reason: str = "", query: str = ""
) -> dict[str, Any]:
    """By page, or with `after` by keyset. NotFound."""
    deployment = finding.find(deployment_id)
    wanted, terms = Filter(status, reason, query), summary.terms_of(deployment)
    total, limit = count(deployment, terms, wanted), paging.page_size
    if paging.after is None:
        found = rows(deployment, terms, wanted, limit=limit, offset=paging.rows.start)
        return paged(found, total, paging)
    items, more = cut(_keyset(deployment, terms, wanted, cursor(paging.after), limit + 1), limit)
    return paged(map(_shape, items), total, paging) | {"next_after": str(items[-1][0]) if more else None}


def rows(
    deployment: Deployment, terms: Terms, wanted: Filter, *, limit: int, offset: int
) -> list[dict[str, Any]]:
    """A slice of the list. Invalid."""
    return [_shape(row) for row in _slice(deployment, terms, wanted, limit, offset)]


def rows_of(deployment: Deployment, terms: Terms, ids: list[int]) -> list[dict[str, Any]]:
    """These tasks, as far as they are of this deployment."""
    found = _fetch(deployment, terms, ANY, "AND t.id = ANY(%(ids)s) ORDER BY t.id", ids=ids)
    return [_shape(row) for row in found]


def order(deployment: Deployment, wanted: Filter) -> tuple[int, str]:
    """How many rows the list has, and the way from each id to the next: "1000001,1,1,3" is 1000001, 1000002,
    1000003, 1000006. A hundred thousand ids in a row are next to nothing once compressed. Invalid."""
    sorted_otherwise = wanted.order_sql() != "t.id"
    statement = _ORDER.format(
        rows=wanted.rows_sql(),
        order=wanted.order_sql(),
        place="row_number() OVER sorted" if sorted_otherwise else "t.id",
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, _params(deployment, summary.terms_of(deployment), wanted))
        count, steps = cursor.fetchone() or (0, "")
    return count, steps


def count(deployment: Deployment, terms: Terms, wanted: Filter) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {wanted.rows_sql()}", _params(deployment, terms, wanted))
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def csv_rows(deployment_id: int, wanted: Filter = ANY) -> Iterator[list[str]]:
    """Without the header; one row per task, in the order of the list, a few thousand in memory at a time."""
    deployment = finding.find(deployment_id)
    chunks = _sorted_chunks(deployment, wanted) if wanted.sort else _chunks(deployment, wanted)
    for rows in chunks:
        yield from ([_cell(value) for value in row] for row in rows)


def _chunks(deployment: Deployment, wanted: Filter) -> Iterator[list[tuple[Any, ...]]]:
    after = 0
    while rows := _keyset(deployment, summary.terms_of(deployment), wanted, after, CSV_CHUNK):
        yield rows
        after = rows[-1][0]


def _sorted_chunks(deployment: Deployment, wanted: Filter) -> Iterator[list[tuple[Any, ...]]]:
    """By the order as it was at the beginning, eight bytes for each row: a key may change while it is written."""
    count, steps = order(deployment, wanted)
    ids = array("q", accumulate(map(int, steps.split(",")))) if count else array("q")
    tail = "AND t.id = ANY(%(ids)s) ORDER BY array_position(%(ids)s, t.id)"
    for start in range(0, count, CSV_CHUNK):
        here = ids[start : start + CSV_CHUNK].tolist()
        yield _fetch(deployment, summary.terms_of(deployment), ANY, tail, ids=here)


def _slice(
    deployment: Deployment, terms: Terms, wanted: Filter, limit: int, offset: int
) -> list[tuple[Any, ...]]:
    tail = _SLICE.format(order=wanted.order_sql())
    return _fetch(deployment, terms, wanted, tail, limit=limit, offset=offset)


def _keyset(
    deployment: Deployment, terms: Terms, wanted: Filter, after: int, limit: int
) -> list[tuple[Any, ...]]:
    tail = "AND t.id > %(after)s ORDER BY t.id LIMIT %(limit)s"
    return _fetch(deployment, terms, wanted, tail, after=after, limit=limit)


def _fetch(
    deployment: Deployment, terms: Terms, wanted: Filter, tail: str, **more: Any
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        params = _params(deployment, terms, wanted) | more
        cursor.execute(f"{_ROWS} {_FROM}{wanted.sql()} {tail}", params)
        return list(cursor.fetchall())


def _params(deployment: Deployment, terms: Terms, wanted: Filter) -> dict[str, Any]:
    return terms.params() | wanted.params() | {"id": deployment.pk}


def _shape(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in zip(FIELDS, row, strict=True)
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)
