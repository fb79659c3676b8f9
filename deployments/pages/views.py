"""The page of one deployment and its parts that are refreshed alone. What a person does there: operator_acts."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from hashlib import sha256
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from deployments.models import Deployment
from deployments.operations import beginning, rollback
from deployments.pages import details, device_table, follow_up_pages, one_device
from deployments.reading import event_list, finding, task_list
from deployments.reading.export import csv_response
from deployments.reading.task_list import Filter
from deployments.rules import option_words
from deployments.rules.states import PEOPLE_GROUPS, TERMINAL, TaskStatus
from mdm.admin_site import person, refuse
from mdm.problems import Invalid, Problem
from mdm.wire_types import as_id

VIEW: Final = "deployments.view_deployment"
OPERATE: Final = "deployments.operate_deployment"
MAX_PAGE: Final = 1_000_000


def found(deployment_id: int) -> Deployment:
    """Django's 404 where there is none."""
    try:
        return finding.find(deployment_id)
    except Problem as problem:
        refuse(problem)
        raise


def url(name: str, *of: int) -> str:
    return reverse(f"admin:deployments_deployment_{name}", args=of)


def _filter(request: HttpRequest) -> Filter:
    """What the address asks for, as it was typed."""
    names = (field.name for field in fields(Filter))
    return Filter(**{name: request.GET.get(name, "")[:200].replace("\0", "") for name in names})


def _wanted(request: HttpRequest) -> tuple[Filter, int]:
    """The filters of the device table out of the address; what is no page is the first."""
    page = request.GET.get("page", "")
    number = int(page) if page.isdecimal() and page.isascii() and len(page) < 8 else 1
    wanted = _filter(request)
    try:
        wanted.statuses()
        wanted.order_sql()
    except Invalid:  # an address that somebody typed
        wanted = Filter(query=wanted.query)
    return wanted, min(max(number, 1), MAX_PAGE)


def _table(request: HttpRequest, deployment: Deployment, moving: Mapping[str, Any]) -> dict[str, Any]:
    wanted, page = _wanted(request)
    return {
        "table": device_table.page(deployment, moving["numbers"], wanted, page),
        "now": timezone.now(),
        "wanted": wanted,
        "filters": device_table.link(wanted),
        "status_choices": _status_choices(),
        "reason_choices": device_table.reason_choices(moving, wanted),
        **_head(deployment, wanted),
    }


def _head(deployment: Deployment, wanted: Filter) -> dict[str, Any]:
    return {"columns": device_table.columns(wanted), "table_url": url("details", deployment.pk)}


_PARTS: Final = (
    *("details", "live", "order", "rows", "record", "pause", "resume", "approve", "cancel", "pace", "export"),
    *("rollback", "retry", "explain"),
)


def _context(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    actor = person(request)
    return {
        "urls": {name: url(name, deployment.pk) for name in _PARTS},
        "may_approve": actor.may(beginning.PERMISSION) and deployment.created_by_id != request.user.pk,
        "may_operate": actor.may(OPERATE) and deployment.status not in TERMINAL,
        "may_export": actor.may("deployments.export_deployment"),
        "may_roll_back": actor.may(rollback.PERMISSION),
        "may_retry": actor.may(OPERATE),
    }


def details_page(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    if not person(request).may(VIEW):
        raise PermissionDenied("Your account may not see deployments.")
    deployment = found(deployment_id)
    moving = details.live(deployment)
    context = {
        **site.each_context(request),
        "title": f"{deployment.to_version} → {deployment.target.get_scope_display().lower()}",
        "deployment": deployment,
        **_context(request, deployment),
        **_table(request, deployment, moving),
        **_live(request, deployment, moving),
        **_record(request, deployment),
    }
    return TemplateResponse(request, "nx/details.html", context)


def _status_choices() -> list[tuple[str, str]]:
    groups = [(",".join(of), details.GROUP_LABELS[name]) for name, of in PEOPLE_GROUPS.items() if len(of) > 1]
    return groups + [(status.value, status.label) for status in TaskStatus]


def _live(request: HttpRequest, deployment: Deployment, moving: dict[str, Any]) -> dict[str, Any]:
    """`version` tells two states of the numbers apart, so that what has not changed is not sent again."""
    follow_up = follow_up_pages.shown(deployment, moving["way_back"])
    numbers = render_to_string(
        "nx/_numbers.html", moving | follow_up | _context(request, deployment), request
    )
    version = sha256(numbers.encode()).hexdigest()[:16]
    total = moving["counts"]["total"]
    return {"numbers": numbers, "total": total, "version": version, "terminal": deployment.status in TERMINAL}


def _record(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    everything = request.GET.get("events") == "all"
    return {
        "events": event_list.latest(deployment.pk, everything=everything),
        "everything": everything,
        "target_words": details.target_words(deployment),
        "options_in_words": option_words.in_words(deployment.options),
    }


def _fragment(
    view: Callable[[HttpRequest, Deployment], HttpResponse],
) -> Callable[[HttpRequest, int], HttpResponse]:
    """A part of a page: whoever is signed out gets a 401 instead of a login page in the middle of it."""

    @never_cache
    def answer(request: HttpRequest, pk: int) -> HttpResponse:
        if not (request.user.is_active and request.user.is_staff):
            return HttpResponse("Signed out.", status=401, content_type="text/plain")
        if not person(request).may(VIEW):
            return HttpResponse("Not allowed.", status=403, content_type="text/plain")
        return view(request, found(pk))

    return answer


@_fragment
def live(request: HttpRequest, deployment: Deployment) -> HttpResponse:
    """The moving numbers; 204 where they are what the page shows already."""
    context = _live(request, deployment, details.live(deployment))
    if request.GET.get("version") == context["version"]:
        return HttpResponse(status=204)
    return HttpResponse(render_to_string("nx/_live.html", context, request))


@_fragment
def order(request: HttpRequest, deployment: Deployment) -> HttpResponse:
    """Which rows the device table has under the filters of the address, in order (task_list.order), and the head
    that says how they are sorted."""
    wanted, _ = _wanted(request)
    count, steps = task_list.order(deployment, wanted)
    head = render_to_string("nx/_device_head.html", _head(deployment, wanted), request)
    return JsonResponse({"count": count, "steps": steps, "head": head})


@_fragment
def rows(request: HttpRequest, deployment: Deployment) -> HttpResponse:
    """The rows with the given ids, at most 200; those that are no longer under the filters are marked."""
    given = request.GET.get("ids", "")[:4000].split(",")
    ids = [known for text in given if (known := as_id(text))]
    wanted, _ = _wanted(request)
    found = device_table.some(deployment, ids, wanted)
    context = {"rows": found, "deployment": deployment, "now": timezone.now()}
    return HttpResponse(render_to_string("nx/_device_rows.html", context, request))


@_fragment
def record(request: HttpRequest, deployment: Deployment) -> HttpResponse:
    """The options, which a change of pace changes, and the latest events."""
    context = _record(request, deployment) | _context(request, deployment)
    return HttpResponse(render_to_string("nx/_record.html", context, request))


def device(request: HttpRequest, site: admin.AdminSite, deployment_id: int, task_id: int) -> HttpResponse:
    """One device of the deployment: a page, or the inside of the drawer."""
    actor = person(request)
    if not actor.may(VIEW):
        raise PermissionDenied("Your account may not see deployments.")
    shown = one_device.show(deployment_id, task_id)
    if shown is None:
        raise Http404("There is no such device in this deployment.")
    crumbs = [
        ("Deployments", reverse("admin:deployments_deployment_changelist")),
        (str(shown["deployment"]), url("details", deployment_id)),
    ]
    context = shown | {"title": shown["name"], "crumbs": crumbs}
    if request.htmx:  # type: ignore[attr-defined]  # the drawer
        return HttpResponse(render_to_string("nx/_one_device.html", context, request))
    return TemplateResponse(request, "nx/one_device.html", {**site.each_context(request), **context})


def export(request: HttpRequest, deployment_id: int) -> HttpResponseBase:
    try:
        return csv_response(person(request), deployment_id, _filter(request))
    except Problem as problem:
        refuse(problem)
        return HttpResponse(problem.detail, status=problem.status, content_type="text/plain")
