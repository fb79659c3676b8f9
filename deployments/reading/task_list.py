"""The devices of a deployment, filtered and paged: the same rows for table, API and CSV."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from deployments.engine.eligibility import REASON_OF_MANY, Terms, shown
from deployments.models import Deployment
from deployments.reading import finding, summary
from deployments.rules.states import TaskStatus
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
_SLICE: Final = "ORDER BY t.id LIMIT %(limit)s OFFSET %(offset)s"
_ORDER: Final = """SELECT count(*), COALESCE(string_agg(step::text, ',' ORDER BY id), '') FROM (
    SELECT t.id, t.id - lag(t.id, 1, 0::bigint) OVER (ORDER BY t.id) AS step {rows}) steps"""


@dataclass(frozen=True, slots=True)
class Filter:
    """`status`: one or several, separated by commas; `query`: part of alias, serial or model."""

    status: str = ""
    reason: str = ""
    query: str = ""

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
        return " AND ".join(conditions)

    def rows_sql(self) -> str:
        """The tasks under the filter; without their devices where nothing is asked of those."""
        tasks = "FROM deployment_task t WHERE t.deployment_id = %(id)s"
        return f"{_FROM if self.reason or self.query else tasks}{self.sql()}"

    def fits(self, status: str, reason: str | None) -> bool:
        """Whether status and reason are those asked for; what a device is called is not looked at again."""
        return status in (self.statuses() or [status]) and self.reason in ("", reason)

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
        return {"statuses": self.statuses(), "pattern": f"%{escaped}%", "reason": self.reason}


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
    found = _fetch(deployment, terms, wanted, _SLICE, limit=limit, offset=offset)
    return [_shape(row) for row in found]


def rows_of(deployment: Deployment, terms: Terms, ids: list[int]) -> list[dict[str, Any]]:
    """These tasks, as far as they are of this deployment."""
    found = _fetch(deployment, terms, ANY, "AND t.id = ANY(%(ids)s) ORDER BY t.id", ids=ids)
    return [_shape(row) for row in found]


def order(deployment: Deployment, wanted: Filter) -> tuple[int, str]:
    """How many rows the list has, and the way from each id to the next: "1000001,1,1,3" is 1000001, 1000002,
    1000003, 1000006. A hundred thousand ids in a row are next to nothing once compressed. Invalid."""
    with connection.cursor() as cursor:
        params = _params(deployment, summary.terms_of(deployment), wanted)
        cursor.execute(_ORDER.format(rows=wanted.rows_sql()), params)
        count, steps = cursor.fetchone() or (0, "")
    return count, steps


def count(deployment: Deployment, terms: Terms, wanted: Filter) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {wanted.rows_sql()}", _params(deployment, terms, wanted))
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def csv_rows(
    deployment_id: int, *, status: str = "", reason: str = "", query: str = ""
) -> Iterator[list[str]]:
    """Without the header; one row per task, in the order of the list, in constant memory."""
    deployment = finding.find(deployment_id)
    wanted, after = Filter(status, reason, query), 0
    while rows := _keyset(deployment, summary.terms_of(deployment), wanted, after, CSV_CHUNK):
        yield from ([_cell(value) for value in row] for row in rows)
        after = rows[-1][0]


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
