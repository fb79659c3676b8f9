"""The pages on which a person rolls a deployment back or tries its failed devices again, and what leads there."""

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from deployments.models import Deployment
from deployments.operations import retrying, rollback
from deployments.operations.rollback import Consent, Offer
from deployments.reading import finding
from deployments.rules.states import TERMINAL
from deployments.rules.wording import devices
from mdm.admin_site import Act, act_page, person, refuse
from mdm.problems import Problem

_LIST: Final = "admin:deployments_deployment_changelist"
_BAD: Final = "Version %s is withdrawn and nobody gets it any more; its other live deployments pause."


class RebuildForm(forms.Form):
    """`expected_…`: what the page said; the domain refuses where it is otherwise by now."""

    reason = forms.CharField(
        label="Reason", required=False, max_length=1000, help_text="It is kept in the log."
    )
    expected_status = forms.CharField(widget=forms.HiddenInput, required=False)
    expected_version_id = forms.IntegerField(widget=forms.HiddenInput, required=False)


class ReinstallForm(RebuildForm):
    accept_data_loss = forms.BooleanField(
        label="The app's data on these devices is deleted for good, and I accept that"
    )
    confirm_version = forms.CharField(label="Type the version that will be installed", max_length=255)


class RetryForm(forms.Form):
    expected_status = forms.CharField(widget=forms.HiddenInput, required=False)


def shown(deployment: Any, way: Mapping[str, Any]) -> dict[str, Any]:
    """For the details page. `deployment`: as `summary.find` has read it; `way`: as counted with its numbers."""
    why_not = rollback.why_not(deployment, way["why_not"] or "", deployment.rolled_back_by)
    ended = deployment.status in TERMINAL and deployment.retried_by is None
    return {
        "way_back": {**way, "offered": not why_not, "why_not": why_not},
        "left": retrying.left(deployment) if ended else 0,
        "withdrawn": deployment.to_version.withdrawn_at is not None,
    }


def roll_back(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = _found(deployment_id)
    found = rollback.offer(deployment)
    if not found.offered and request.method != "POST" and person(request).may(rollback.PERMISSION):
        messages.warning(request, found.why_not)
        return HttpResponseRedirect(_details(deployment_id))

    def carry_out(data: Mapping[str, Any]) -> HttpResponse:
        made = rollback.roll_back(person(request), deployment_id, Consent(**_said(data)))
        return _leads_to(request, made, f"Deployment #{deployment_id} is being rolled back.")

    return _page(request, site, deployment, _rollback_act(deployment, found, carry_out))


def _rollback_act(deployment: Deployment, found: Offer, carry_out: Any) -> Act:
    version = found.way.version
    reinstall = found.way.kind == "reinstall"
    count = rollback.affected(deployment) if found.offered else 0
    initial = {"expected_status": deployment.status, "expected_version_id": version.pk if version else None}
    return Act(
        title=f"Roll back deployment #{deployment.pk}",
        button=f"{'Reinstall' if reinstall else 'Roll back'} {devices(count)}"
        + (f" to {version.version_name}" if version else ""),
        back=_details(deployment.pk),
        permission=rollback.PERMISSION,
        carry_out=carry_out,
        lines=_lines(deployment, found, count),
        form_class=ReinstallForm if reinstall else RebuildForm,
        initial=initial,
        danger=True,
        keep="Keep it as it is",
    )


def _lines(deployment: Deployment, found: Offer, count: int) -> list[str]:
    way, bad = found.way, deployment.to_version
    if way.version is None or way.good is None:
        return [found.why_not]
    reached = f"{devices(count)} got {bad.version_name} or may have it, and nothing else is touched."
    rate, concurrency = (deployment.options[name] for name in ("rate", "concurrency"))
    common = [
        f"This deployment is canceled. {_BAD % bad.version_name}",
        "It begins at once, outside the maintenance window as well; the other conditions hold.",
        f"Never more than {rate:,} sends per minute and {devices(concurrency)} at work.",
    ]
    if way.kind == "rebuild":
        update = (
            f"They are updated to {way.version.version_name} ({way.version.version_code}), a rebuild of"
            f" {way.good.version_name} ({way.good.version_code}). The app's data stays."
        )
        return [reached, update, *common]
    loss = (
        f"All data of {deployment.apk.package_name} on them is lost: Android allows no downgrade, so the app is removed"
        f" and {way.version.version_name} ({way.version.version_code}) is installed anew."
    )
    return [loss, reached, "A canary goes first.", *common]


def _said(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reason": str(data["reason"]).strip(),
        "accept_data_loss": bool(data.get("accept_data_loss")),
        "confirm_version": str(data.get("confirm_version", "")),
        "expected_status": data["expected_status"] or None,
        "expected_version_id": data["expected_version_id"],
    }


def retry(request: HttpRequest, site: admin.AdminSite, deployment_id: int) -> HttpResponse:
    deployment = _found(deployment_id)
    count = retrying.left(deployment)

    def carry_out(data: Mapping[str, Any]) -> HttpResponse:
        expected = data["expected_status"] or None
        made = retrying.retry(person(request), deployment_id, expected_status=expected)
        return _leads_to(request, made, f"Deployment #{deployment_id} is being tried again.")

    act = Act(
        title=f"Try deployment #{deployment_id} again",
        button=f"Try {devices(count)} again",
        back=_details(deployment_id),
        permission=retrying.PERMISSION,
        carry_out=carry_out,
        form_class=RetryForm,
        initial={"expected_status": deployment.status},
        lines=[
            f"A new deployment of {deployment.to_version} starts for {devices(count)} that failed or were skipped.",
            "It has the same options: canary, limits, conditions and window.",
        ],
    )
    return _page(request, site, deployment, act)


def _found(deployment_id: int) -> Deployment:
    try:
        return finding.find(deployment_id)
    except Problem as problem:
        refuse(problem)
        raise


def _page(request: HttpRequest, site: admin.AdminSite, deployment: Deployment, act: Act) -> HttpResponse:
    crumbs = [("Deployments", reverse(_LIST)), (f"#{deployment.pk} {deployment.to_version}", act.back)]
    return act_page(request, site, act, crumbs)


def _leads_to(request: HttpRequest, made: int, sentence: str) -> HttpResponse:
    messages.success(request, f"{sentence} This is deployment #{made}.")
    return HttpResponseRedirect(_details(made))


def _details(deployment_id: int) -> str:
    return reverse("admin:deployments_deployment_details", args=[deployment_id])
