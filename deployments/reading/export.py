"""A deployment's devices as CSV: streamed, one row per task, formulas neutralised."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict

from defusedcsv import csv
from django.http import StreamingHttpResponse
from django.utils import timezone

from deployments import audit
from deployments.reading import finding, summary, task_list
from deployments.reading.task_list import Filter
from mdm.people import Actor

# A spreadsheet skips these and may find a formula behind them.
SKIPPED_BY_SPREADSHEETS = "\t\r\n "


class _Line:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def csv_response(actor: Actor, deployment_id: int, wanted: Filter) -> StreamingHttpResponse:
    """The rows that the list shows, in its order. Forbidden, NotFound, Invalid; leaves an audit row."""
    actor.require("deployments.export_deployment")
    deployment = finding.find(deployment_id)
    wanted.order_sql()  # refused before anything is sent
    count = task_list.count(deployment, summary.terms_of(deployment), wanted)
    filters = {name: value for name, value in asdict(wanted).items() if name != "sort" or value}
    audit.record(deployment_id, "Exported as CSV", actor=actor, meta={"rows": count, "filters": filters})
    rows = task_list.csv_rows(deployment_id, wanted)
    answer = StreamingHttpResponse(lines(task_list.FIELDS, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{_name(deployment_id)}"'
    answer["X-Row-Count"] = str(count)
    return answer


def _name(deployment_id: int) -> str:
    """Two exports of one deployment are two files, each with its time."""
    return f"deployment-{deployment_id}-{timezone.now():%Y%m%dT%H%M%SZ}.csv"


def lines(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([cell.lstrip(SKIPPED_BY_SPREADSHEETS) for cell in row])
