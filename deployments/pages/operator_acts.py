"""What a person does with a deployment on its page: each act on a page of its own, or in a dialog over the page.

In a dialog the answer is the page's moving part, so that what was done shows at once.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from deployments.models import Deployment
from deployments.operations import beginning, lifecycle
from deployments.pages import details
from deployments.pages.forms import ExplainForm, OverrideForm, PaceForm, ReasonForm
from deployments.pages.views import OPERATE, found, live, url
from deployments.reading import summary
from deployments.rules.states import GATE_STOPS, IN_FLIGHT, WAITING
from deployments.rules.wording import devices
from mdm.admin_site import Act, act_page, person


def _act(request: HttpRequest, site: admin.AdminSite, deployment: Deployment, act: Act) -> HttpResponse:
    crumbs = [
        ("Deployments", reverse("admin:deployments_deployment_changelist")),
        (f"#{deployment.pk} {deployment.to_version}", act.back),
    ]
    return act_page(request, site, act, crumbs)


def moved(deployment_id: int) -> Callable[[HttpRequest, str], HttpResponse]:
    """The answer to a dialog: the moving part of the page, and the sentence to be said."""

    def answer(request: HttpRequest, sentence: str) -> HttpResponse:
        shown = live(request, deployment_id)
        shown.headers["X-Said"] = quote(sentence)
        return shown

    return answer


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
    more.setdefault("permission", OPERATE)
    return Act(
        back=url("details", deployment.pk),
        carry_out=carry_out,
        initial={"expected_status": deployment.status},
        shown=moved(deployment.pk),
        **more,
    )


def _waiting_and_at_work(deployment: Deployment) -> tuple[int, int]:
    """Devices that may still be sent to, skipped ones that will be checked again among them; those in flight."""
    numbers = summary.numbers(deployment)
    again = sum(row["count"] for row in numbers["waiting"])
    waiting = max(again, sum(numbers["counts"][status] for status in WAITING))
    return waiting, sum(numbers["counts"][status] for status in IN_FLIGHT)


def _for(count: int) -> str:
    return f" for {devices(count)}" if count else ""


def pause(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = found(deployment_id)
    _, at_work = _waiting_and_at_work(deployment)
    finish = f" {devices(at_work)} already started will finish." if at_work else ""
    act = _move(
        request,
        deployment,
        lifecycle.pause,
        f"Paused.{finish}",
        title=f"Pause deployment #{deployment_id}",
        button="Pause deployment",
        lines=["Nothing new is sent; devices that have started will finish."],
    )
    return _act(request, site, deployment, act)


def explain(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = found(deployment_id)
    act = _move(
        request,
        deployment,
        lifecycle.explain_pause,
        "The reason is in the log.",
        title=f"Why is deployment #{deployment_id} paused?",
        button="Add reason",
        form_class=ExplainForm,
    )
    return _act(request, site, deployment, act)


def resume(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = found(deployment_id)
    waiting, _ = _waiting_and_at_work(deployment)
    lines = [
        f"{devices(waiting)} waiting will be sent to, within window, rate and concurrency."
        if waiting
        else "No device waits: nothing more is sent."
    ]
    override = deployment.paused_reason in GATE_STOPS
    if override:
        lines.insert(0, "Going on overrides the gate's verdict; only what finishes from now on counts.")
        lines.insert(0, details.live(deployment)["headline"].sentence)
    act = _move(
        request,
        deployment,
        lifecycle.resume,
        f"Resumed{_for(waiting)}.",
        title=f"Resume deployment #{deployment_id}",
        button=f"Resume{_for(waiting)}",
        lines=lines,
        form_class=OverrideForm if override else ReasonForm,
        danger=override,
        keep="Keep it paused",
    )
    return _act(request, site, deployment, act)


def approve(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = found(deployment_id)
    count = devices(deployment.target.resolved_count)
    act = _move(
        request,
        deployment,
        beginning.approve,
        f"Approved for {count}.",
        title=f"Approve deployment #{deployment_id}",
        button=f"Approve for {count}",
        lines=[
            f"{deployment.to_version} for {count}; asked for by {deployment.created_by or 'the system'}.",
            "It starts at once, its canary first. Nobody approves what he has asked for himself.",
        ],
        permission=beginning.PERMISSION,
        keep="Leave it waiting",
    )
    return _act(request, site, deployment, act)


def cancel(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = found(deployment_id)
    waiting, at_work = _waiting_and_at_work(deployment)
    succeeded = summary.numbers(deployment)["counts"]["succeeded"]
    act = _move(
        request,
        deployment,
        lifecycle.cancel,
        f"Canceled for {devices(waiting + at_work)}.",
        title=f"Cancel deployment #{deployment_id}",
        button=f"Cancel deployment for {devices(waiting + at_work)}",
        lines=[
            f"{waiting:,} not started: will not start.",
            f"{at_work:,} in progress: told to stop; one that is installing already may finish.",
            f"{succeeded:,} done: keep the version.",
            "It cannot be started again; create a new deployment.",
        ],
        danger=True,
        keep="Keep it as it is",
    )
    return _act(request, site, deployment, act)


def pace(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = found(deployment_id)
    waiting, at_work = _waiting_and_at_work(deployment)

    def carry_out(data: Mapping[str, Any]) -> str:
        lifecycle.change_pace(
            person(request),
            deployment_id,
            rate=data["rate"],
            concurrency=data["concurrency"],
            expected_status=data["expected_status"] or None,
        )
        return f"The pace is now {data['rate']:,} per minute and {data['concurrency']:,} at once."

    act = Act(
        title=f"Change the pace of deployment #{deployment_id}",
        button=f"Change pace for {devices(waiting + at_work)}",
        back=url("details", deployment_id),
        permission=OPERATE,
        carry_out=carry_out,
        form_class=PaceForm,
        initial={
            "expected_status": deployment.status,
            **{name: deployment.options[name] for name in ("rate", "concurrency")},
        },
        lines=["Nothing else about a live deployment can be changed."],
        shown=moved(deployment_id),
    )
    return _act(request, site, deployment, act)
