"""The pages of one deployment: details, their live parts, and what a person does with it."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from deployments import details, lifecycle, option_words, summary
from deployments.export import csv_response
from deployments.forms import PaceForm, ReasonForm, RequiredReasonForm
from deployments.models import Deployment
from deployments.states import GATE_STOPS, IN_FLIGHT, PEOPLE_GROUPS, TERMINAL, WAITING, TaskStatus
from deployments.task_list import Filter
from mdm.admin_site import Act, act_page, person, refuse
from mdm.problems import Invalid, Problem

VIEW: Final = "deployments.view_deployment"
OPERATE: Final = "deployments.operate_deployment"
MAX_PAGE: Final = 1_000_000


def _found(deployment_id: int) -> Deployment:
    try:
        return summary.find(deployment_id)
    except Problem as problem:
        refuse(problem)
        raise


def _url(name: str, deployment_id: int) -> str:
    return reverse(f"admin:deployments_deployment_{name}", args=[deployment_id])


def _wanted(request: HttpRequest) -> tuple[Filter, int]:
    """The filters of the device table out of the address; what is no page is the first."""
    given = {
        name: request.GET.get(name, "")[:200].replace("\0", "") for name in ("status", "reason", "query")
    }
    page = request.GET.get("page", "")
    number = int(page) if page.isdecimal() and page.isascii() and len(page) < 8 else 1
    return Filter(**given), min(max(number, 1), MAX_PAGE)


def _link(wanted: Filter) -> str:
    """The filters as the end of an address."""
    given = {"status": wanted.status, "reason": wanted.reason, "query": wanted.query}
    return urlencode({name: value for name, value in given.items() if value})


def _table(deployment: Deployment, wanted: Filter, page: int) -> dict[str, Any]:
    try:
        found = details.devices(deployment, wanted, page)
    except Invalid:  # an address that somebody typed
        wanted = Filter(query=wanted.query)
        found = details.devices(deployment, wanted, page)
    return {"table": found, "wanted": wanted, "filters": _link(wanted)}


def _urls(deployment_id: int) -> dict[str, str]:
    names = ("details", "live", "devices", "timeline", "pause", "resume", "cancel", "pace", "export")
    return {name: _url(name, deployment_id) for name in names}


def _context(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    actor = person(request)
    return {
        "urls": _urls(deployment.pk),
        "may_operate": actor.may(OPERATE) and deployment.status not in TERMINAL,
        "may_export": actor.may("deployments.export_deployment"),
    }


def details_page(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    if not person(request).may(VIEW):
        raise PermissionDenied("Your account may not see deployments.")
    deployment = _found(deployment_id)
    wanted, page = _wanted(request)
    moving = details.live(deployment)
    numbers = _numbers_html(request, deployment, moving)
    context = {
        **site.each_context(request),
        "title": f"{deployment.to_version} → {deployment.target.get_scope_display().lower()}",
        "deployment": deployment,
        "options_in_words": option_words.in_words(deployment.options),
        **_context(request, deployment),
        **_table(deployment, wanted, page),
        **_live_context(deployment, numbers),
        "status_choices": _status_choices(),
        "reason_choices": moving["reasons"],
        **_events(request, deployment),
    }
    return TemplateResponse(request, "nx/details.html", context)


def _status_choices() -> list[tuple[str, str]]:
    groups = [(",".join(of), details.GROUP_LABELS[name]) for name, of in PEOPLE_GROUPS.items() if len(of) > 1]
    return groups + [(status.value, status.label) for status in TaskStatus]


def _numbers_html(request: HttpRequest, deployment: Deployment, moving: dict[str, Any]) -> str:
    return render_to_string("nx/_numbers.html", moving | _context(request, deployment), request)


def _live_context(deployment: Deployment, numbers: str) -> dict[str, Any]:
    """`version` tells two states of the numbers apart, so that what has not changed is not sent again."""
    version = sha256(numbers.encode()).hexdigest()[:16]
    return {"numbers": numbers, "version": version, "terminal": deployment.status in TERMINAL}


def _fragment(view: Callable[[HttpRequest, int], HttpResponse]) -> Callable[[HttpRequest, int], HttpResponse]:
    """A part of a page: whoever is signed out gets a 401 instead of a login page in the middle of it."""

    @never_cache
    def answer(request: HttpRequest, pk: int) -> HttpResponse:
        if not (request.user.is_active and request.user.is_staff):
            return HttpResponse("Signed out.", status=401, content_type="text/plain")
        if not person(request).may(VIEW):
            return HttpResponse("Not allowed.", status=403, content_type="text/plain")
        return view(request, pk)

    return answer


@_fragment
def live(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """The moving numbers; 204 where they are what the page shows already."""
    deployment = _found(deployment_id)
    context = _live_context(deployment, _numbers_html(request, deployment, details.live(deployment)))
    if request.GET.get("version") == context["version"]:
        return HttpResponse(status=204)
    return HttpResponse(render_to_string("nx/_live.html", context, request))


@_fragment
def devices(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """The device table under the filters of the address."""
    deployment = _found(deployment_id)
    context = _table(deployment, *_wanted(request)) | {"urls": _urls(deployment_id)}
    return HttpResponse(render_to_string("nx/_devices.html", context, request))


@_fragment
def timeline(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """The latest events."""
    context = _events(request, _found(deployment_id)) | {"urls": _urls(deployment_id)}
    return HttpResponse(render_to_string("nx/_timeline.html", context, request))


def _events(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    everything = request.GET.get("events") == "all"
    return {"events": details.timeline(deployment.pk, everything=everything), "everything": everything}


def export(request: HttpRequest, deployment_id: int) -> HttpResponseBase:
    wanted, _ = _wanted(request)
    try:
        return csv_response(
            person(request), deployment_id, status=wanted.status, reason=wanted.reason, query=wanted.query
        )
    except Problem as problem:
        refuse(problem)
        return HttpResponse(problem.detail, status=problem.status, content_type="text/plain")


def _act(request: HttpRequest, site: admin.AdminSite, deployment: Deployment, act: Act) -> HttpResponse:
    crumbs = [
        ("Deployments", reverse("admin:deployments_deployment_changelist")),
        (f"#{deployment.pk} {deployment.to_version}", act.back),
    ]
    return act_page(request, site, act, crumbs)


def _move(
    request: HttpRequest, deployment: Deployment, verb: Callable[..., None], done: str, **more: Any
) -> Act:
    """An act that takes a reason and the state that the person saw."""

    def carry_out(data: Mapping[str, Any]) -> str:
        verb(
            person(request),
            deployment.pk,
            reason=str(data["reason"]).strip(),
            expected_status=data["expected_status"] or None,
        )
        return done

    more.setdefault("form_class", ReasonForm)
    return Act(
        back=_url("details", deployment.pk),
        permission=OPERATE,
        carry_out=carry_out,
        initial={"expected_status": deployment.status},
        **more,
    )


def pause(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = _found(deployment_id)
    act = _move(
        request,
        deployment,
        lifecycle.pause,
        "Paused. Devices that have started will finish.",
        title=f"Pause deployment #{deployment_id}",
        button="Pause deployment",
        lines=["Nothing new is sent; devices that have started will finish."],
    )
    return _act(request, site, deployment, act)


def resume(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = _found(deployment_id)
    override = deployment.paused_reason in GATE_STOPS
    waiting = sum(summary.numbers(deployment)["counts"][status] for status in WAITING)
    lines = [f"{waiting:,} devices are waiting and will be sent to, within rate and concurrency."]
    if override:
        lines.insert(0, f"{deployment.get_paused_reason_display()}. Going on overrides that verdict.")
    act = _move(
        request,
        deployment,
        lifecycle.resume,
        "Resumed.",
        title=f"Resume deployment #{deployment_id}",
        button=f"Resume for {waiting:,} devices",
        lines=lines,
        form_class=RequiredReasonForm if override else ReasonForm,
        keep="Keep it paused",
    )
    return _act(request, site, deployment, act)


def cancel(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = _found(deployment_id)
    counts = summary.numbers(deployment)["counts"]
    waiting, at_work = (sum(counts[status] for status in of) for of in (WAITING, IN_FLIGHT))
    act = _move(
        request,
        deployment,
        lifecycle.cancel,
        "Canceled.",
        title=f"Cancel deployment #{deployment_id}",
        button=f"Cancel deployment for {waiting + at_work:,} devices",
        lines=[
            f"{waiting:,} not started: will not start.",
            f"{at_work:,} in progress: told to stop; one that is installing already may finish.",
            f"{counts['succeeded']:,} done: keep the version.",
            "It cannot be started again; create a new deployment.",
        ],
        danger=True,
        keep="Keep it as it is",
    )
    return _act(request, site, deployment, act)


def pace(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = _found(deployment_id)

    def carry_out(data: Mapping[str, Any]) -> str:
        lifecycle.change_pace(
            person(request), deployment_id, rate=data["rate"], concurrency=data["concurrency"]
        )
        return f"The pace is now {data['rate']:,} per minute and {data['concurrency']:,} at once."

    act = Act(
        title=f"Change the pace of deployment #{deployment_id}",
        button="Change pace",
        back=_url("details", deployment_id),
        permission=OPERATE,
        carry_out=carry_out,
        form_class=PaceForm,
        initial={name: deployment.options[name] for name in ("rate", "concurrency")},
        lines=["Nothing else about a live deployment can be changed."],
    )
    return _act(request, site, deployment, act)
