"""A deployment's devices as CSV: streamed, one row per task, formulas neutralised."""

from collections.abc import Iterable, Iterator

from defusedcsv import csv
from django.http import StreamingHttpResponse

from deployments import audit
from deployments.reading import task_list
from mdm.people import Actor

# A spreadsheet skips these and may find a formula behind them.
SKIPPED_BY_SPREADSHEETS = "\t\r\n "


class _Line:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def csv_response(
    actor: Actor, deployment_id: int, *, status: str, reason: str, query: str
) -> StreamingHttpResponse:
    """The rows that the list shows under these filters. Forbidden, NotFound, Invalid; leaves an audit row."""
    actor.require("deployments.export_deployment")
    count = task_list.page(deployment_id, status=status, reason=reason, query=query)["count"]
    wanted = {"status": status, "reason": reason, "query": query}
    audit.record(deployment_id, "Exported as CSV", actor=actor, meta={"rows": count, "filters": wanted})
    rows = task_list.csv_rows(deployment_id, status=status, reason=reason, query=query)
    answer = StreamingHttpResponse(lines(task_list.FIELDS, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="deployment-{deployment_id}.csv"'
    answer["X-Row-Count"] = str(count)
    return answer


def lines(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([cell.lstrip(SKIPPED_BY_SPREADSHEETS) for cell in row])
