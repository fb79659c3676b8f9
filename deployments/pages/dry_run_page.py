"""The devices behind a number of a dry run: a page of its own, a part of the dialog, and CSV."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apks.models import ApkVersion
from deployments.models import DryRun
from deployments.operations import dry_run
from deployments.pages.deploy_page import version_of
from deployments.pages.details import words_of
from deployments.reading.export import lines
from mdm.admin_site import refuse
from mdm.problems import Problem
from mdm.wire_types import as_id

ROWS: Final = 50
CLASSES: Final = {"will_update": "Will update", "excluded": "Excluded", "later": "Will start later"}
HEADER: Final = ("device_id", "alias", "serial", "model", "class", "reason", "observed", "required")
_CHUNK: Final = 2_000


def _run_of(version: ApkVersion, run_id: int) -> DryRun:
    try:
        run = dry_run.find(run_id, timezone.now())
    except Problem as problem:
        refuse(problem)
        raise
    if run.apk_version_id != version.pk:
        raise Http404("That dry run is of another version.")
    return run


def _wanted(request: HttpRequest) -> dict[str, str]:
    """Class and reason out of the address; what is unknown narrows nothing."""
    classification, reason = request.GET.get("class", ""), request.GET.get("reason", "")
    return {
        "class": classification if classification in CLASSES else "",
        "reason": reason[:20].replace("\0", ""),
    }


def devices(request: HttpRequest, site: admin.AdminSite, version_id: int, run_id: int) -> HttpResponse:
    version = version_of(request, version_id)
    run, wanted = _run_of(version, run_id), _wanted(request)
    rows = dry_run.devices_of(run, wanted["class"], wanted["reason"])
    count = rows.count()
    pages = max(1, -(-count // ROWS))
    page = min(as_id(request.GET.get("page", "")) or 1, pages)
    context = {
        "version": version,
        "run": run,
        "title": f"Dry run of {version}",
        "what": CLASSES.get(wanted["class"], "All devices"),
        "why": words_of(wanted["reason"])["text"] if wanted["reason"] else "",
        "narrowed": bool(wanted["class"]),
        "filters": urlencode({name: value for name, value in wanted.items() if value}),
        "address": reverse("admin:apks_apkversion_dry_run", args=[version.pk, run.pk]),
        "csv": reverse("admin:apks_apkversion_dry_run_csv", args=[version.pk, run.pk]),
        "rows": [_shown(row) for row in rows[(page - 1) * ROWS : page * ROWS]],
        "count": count,
        "page": page,
        "pages": pages,
    }
    if getattr(request, "htmx", False):
        return TemplateResponse(request, "nx/_dry_run_devices.html", context)
    return TemplateResponse(request, "nx/dry_run_devices.html", site.each_context(request) | context)


def _shown(row: Any) -> dict[str, Any]:
    return {
        "device": row.device,
        "label": CLASSES[row.classification],
        "observed": row.observed,
        "required": row.required,
        **words_of(row.reason),
    }


def csv(request: HttpRequest, pk: int, run_id: int) -> HttpResponseBase:
    """What the list shows, whole and streamed, formulas neutralised."""
    run, wanted = _run_of(version_of(request, pk), run_id), _wanted(request)
    rows = dry_run.devices_of(run, wanted["class"], wanted["reason"])

    def cells() -> Iterator[list[str]]:
        for row in rows.iterator(chunk_size=_CHUNK):
            device = row.device
            named = [str(device.pk), device.alias, device.serial, device.model]
            yield [*named, row.classification, row.reason, row.observed, row.required]

    answer = StreamingHttpResponse(lines(HEADER, cells()), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="dry-run-{run.pk}.csv"'
    answer["X-Row-Count"] = str(rows.count())
    return answer
