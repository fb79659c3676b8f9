"""Whether this instance is up, and whether it is ready to serve; what monitors and load balancers ask."""

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from mdm import worker_beat
from mdm.problem_json import CONTENT_TYPE, RETRY_AFTER_SEC


@csrf_exempt
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Asks nobody else."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database is there, migrated, and a worker beats; else 503 with what is missing."""
    missing = missing_for_service()
    if not missing:
        return JsonResponse({"status": "ready"})
    problem = {
        "type": "not_ready",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Not ready: " + "; ".join(missing) + ".",
        "missing": missing,
    }
    answer = JsonResponse(problem, status=503, content_type=CONTENT_TYPE)
    answer["Retry-After"] = str(RETRY_AFTER_SEC)
    return answer


def missing_for_service() -> list[str]:
    """What keeps this instance from working, as phrases; empty when nothing does."""
    try:
        if unapplied_migrations():
            return ["migrations are not applied"]
        youngest = min(worker_beat.ages("worker").values(), default=None)
    except Error:
        connection.close()
        return ["the database cannot be reached"]
    if youngest is None:
        return ["no worker has started"]
    if youngest > worker_beat.SILENT_SEC:
        return [f"no worker has been heard of for {youngest:.0f} s"]
    return []


def unapplied_migrations() -> bool:
    """Whether `manage.py migrate` has something to do. Once it has nothing, it stays so for this process."""
    if not Applied.known:
        executor = MigrationExecutor(connection)
        Applied.known = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return not Applied.known


class Applied:
    """Remembers that migrations were found applied: looking costs 20 ms, only new code brings new ones."""

    known = False
