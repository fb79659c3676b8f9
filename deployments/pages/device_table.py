"""The device table of a deployment's page: by page for every browser, by window for one with scripts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.db import connection

from deployments.engine.eligibility import OBSERVED, REQUIRED, Terms
from deployments.models import Deployment
from deployments.pages.details import words_of
from deployments.reading import summary, task_list
from deployments.reading.task_list import ANY, SORTS, Filter
from deployments.rules.states import PEOPLE_GROUPS, TaskStatus

ROWS: Final = 50
# A window of the table never asks for more at once.
MOST_ROWS: Final = 200

# Of these the most or the latest is what people look for first.
_LARGEST_FIRST: Final = ("tries", "updated")
_TITLES: Final = {
    "device": "Device",
    "model": "Model",
    "status": "Status",
    "why": "Why / last error",
    "tries": "Tries",
    "updated": "Updated (UTC)",
}

# A final skip shows what was seen when it was decided, everything else what is known now.
_SEEN: Final = f"""SELECT t.id, d.serial, d.model,
    CASE WHEN t.status = 'skipped' AND t.finished_at IS NOT NULL THEN t.observed_at ELSE h.received_at END,
    CASE WHEN t.status = 'skipped' AND t.finished_at IS NOT NULL THEN t.observed ELSE {OBSERVED} END,
    CASE WHEN t.status = 'skipped' AND t.finished_at IS NOT NULL THEN t.required ELSE {REQUIRED} END
    FROM unnest(%(ids)s::bigint[], %(reasons)s::text[]) AS r(id, reason)
    JOIN deployment_task t ON t.id = r.id JOIN device d ON d.id = t.device_id
    LEFT JOIN heartbeat h ON h.device_id = d.id"""


@dataclass(frozen=True, slots=True)
class Column:
    """`sorted`: how the list is sorted by it, as aria-sort says it; `link`: the end of the address that sorts anew."""

    name: str
    title: str
    sorted: str
    link: str


def columns(wanted: Filter) -> list[Column]:
    """Pressed once a column sorts, pressed again the other way round, a third time not at all."""
    return [
        Column(
            name,
            _TITLES[name],
            _direction(name, wanted.sort),
            link(replace(wanted, sort=_next(name, wanted.sort))),
        )
        for name in SORTS
    ]


def _direction(name: str, sort: str) -> str:
    return {name: "ascending", f"-{name}": "descending"}.get(sort, "none")


def _next(name: str, sort: str) -> str:
    steps = [name, f"-{name}"]
    if name in _LARGEST_FIRST:
        steps.reverse()
    return {steps[0]: steps[1], steps[1]: ""}.get(sort, steps[0])


def link(wanted: Filter) -> str:
    """Filters and sorting as the end of an address."""
    return urlencode({name: value for name, value in asdict(wanted).items() if value})


def reason_choices(moving: Mapping[str, Any], wanted: Filter) -> list[tuple[str, list[tuple[str, str]]]]:
    """Reasons to filter by, told apart as the page lists them; one that came with the address is among them."""
    titles = {"waiting": "Waiting", "ended": "Ended without it"}
    found = [
        (title, [(f"{part}:{row['reason']}", row["text"]) for row in moving[part]])
        for part, title in titles.items()
    ]
    offered = {value for _, choices in found for value, _ in choices}
    if wanted.reason and wanted.reason not in offered:
        found.append(("As asked for", [(wanted.reason, words_of(wanted.code)["text"])]))
    return [(title, choices) for title, choices in found if choices]


def page(deployment: Deployment, numbers: Mapping[str, Any], wanted: Filter, number: int) -> dict[str, Any]:
    """One page: the rows of the task list, with the words and readings of each. Invalid.

    numbers: those that the rest of the page shows."""
    terms = summary.terms_of(deployment)
    count = _counted(deployment, numbers, wanted, terms)
    items = task_list.rows(deployment, terms, wanted, limit=ROWS, offset=(number - 1) * ROWS)
    pages = max(1, -(-count // ROWS))
    return {"rows": in_words(items, terms), "count": count, "page": number, "pages": pages}


def some(deployment: Deployment, ids: list[int], wanted: Filter = ANY) -> list[dict[str, Any]]:
    """The rows of these tasks of the deployment, as many as there are. `left`: it was under the filter once."""
    terms = summary.terms_of(deployment)
    rows = in_words(task_list.rows_of(deployment, terms, ids[:MOST_ROWS]), terms)
    return [row | {"left": not _fits(row, wanted)} for row in rows]


def _fits(row: Mapping[str, Any], wanted: Filter) -> bool:
    return wanted.fits(row["status"], row["reason"], ended=row["finished_at"] is not None)


def _counted(deployment: Deployment, numbers: Mapping[str, Any], wanted: Filter, terms: Terms) -> int:
    """From the numbers of the page where they tell it, so that table and counters never differ."""
    statuses = wanted.statuses()
    if wanted.query or (statuses and wanted.reason):
        return task_list.count(deployment, terms, wanted)
    if wanted.reason:
        rows = numbers[wanted.part or "reasons"]
        return sum(row["count"] for row in rows if row["reason"] == wanted.code)
    return sum(numbers["counts"][status] for status in statuses or ["total"])


def in_words(items: list[dict[str, Any]], terms: Terms) -> list[dict[str, Any]]:
    """With what was observed and is required, in words."""
    seen = _seen(items, terms) if items else {}
    return [_row(item, seen[item["id"]], terms.online_since) for item in items if item["id"] in seen]


def _seen(items: list[dict[str, Any]], terms: Terms) -> dict[int, dict[str, Any]]:
    """Serial, model, last heartbeat, and what was observed and is required for each row's reason."""
    params = terms.params() | {
        "ids": [item["id"] for item in items],
        "reasons": [item["reason"] or "" for item in items],
    }
    names = ("serial", "model", "seen_at", "observed", "required")
    with connection.cursor() as cursor:
        cursor.execute(_SEEN, params)
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}


def _row(item: dict[str, Any], seen: dict[str, Any], stale: datetime) -> dict[str, Any]:
    moments = ("next_run_at", "sent_at", "finished_at", "updated_at")
    read = {name: datetime.fromisoformat(item[name]) if item[name] else None for name in moments}
    skipped = item["status"] == TaskStatus.SKIPPED
    return (
        item
        | seen
        | read
        | words_of(item["reason"])
        | {
            "label": TaskStatus(item["status"]).label,
            "step": item["phase"] if item["phase"] != item["status"] else "",
            "group": next(name for name, of in PEOPLE_GROUPS.items() if item["status"] in of),
            "will_recheck": skipped and item["next_run_at"] is not None,
            "is_final": skipped and item["next_run_at"] is None,
            "is_old": seen["seen_at"] is not None and seen["seen_at"] < stale,
        }
    )
