"""The page of kill switch and feature flag: what they stand at, what they affect now, and turning them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from deployments import fleet_switch, summary
from deployments.forms import EngageForm, ReleaseForm
from deployments.headline import state_words
from deployments.models import Deployment, FleetSwitch
from deployments.states import DeploymentStatus
from mdm.admin_site import add_problem, person, refuse
from mdm.people import Actor
from mdm.problems import Problem


@dataclass(frozen=True, slots=True)
class Turn:
    """One way to turn the switch or the flag. `change` is what the domain call gets."""

    name: str
    button: str
    permission: str
    form_class: type[forms.Form]
    change: Mapping[str, bool]
    says: str
    danger: bool = False


TURNS: Final = {
    turn.name: turn
    for turn in (
        Turn(
            "engage",
            "Stop all rollouts",
            "deployments.engage_kill_switch",
            EngageForm,
            {"kill_switch": True},
            "Every queued or running deployment pauses at once. Devices that ask before they install are"
            " told to stop; one that is installing already finishes.",
            danger=True,
        ),
        Turn(
            "release",
            "Turn the kill switch off",
            "deployments.release_kill_switch",
            ReleaseForm,
            {"kill_switch": False},
            "Deployments stay paused and are resumed one by one.",
        ),
        Turn(
            "enable",
            "Switch deployments on",
            "deployments.change_flag",
            EngageForm,
            {"deployments_enabled": True},
            "Deployments may be started and resumed. What was paused stays paused.",
        ),
        Turn(
            "disable",
            "Switch deployments off",
            "deployments.change_flag",
            EngageForm,
            {"deployments_enabled": False},
            "Nothing can be started; queued and running deployments pause. Dry runs still work.",
            danger=True,
        ),
    )
}


def switch_page(request: HttpRequest, site: admin.AdminSite) -> HttpResponse:
    actor = person(request)
    if not actor.may("deployments.view_fleetswitch"):
        raise PermissionDenied("Your account may not see the kill switch.")
    turn, form, status = None, None, 200
    if request.method == "POST":
        turn = TURNS.get(request.POST.get("turn", ""))
        if turn is None or not actor.may(turn.permission):
            raise PermissionDenied("Your account may not turn this.")
        form = turn.form_class(request.POST, prefix=turn.name, label_suffix="")
        if form.is_valid():
            problem = _turn(actor, turn, form)
            if problem is None:
                messages.success(request, f"Done: {turn.button.lower()}.")
                return HttpResponseRedirect(reverse("admin:deployments_fleetswitch_changelist"))
            status = problem.status
    context = {
        **site.each_context(request),
        "title": "Kill switch and feature flag",
        **_now(),
    }
    context["forms"] = _forms(actor, context["switch"], turn, form)
    return TemplateResponse(request, "nx/switch.html", context, status=status)


def _turn(actor: Actor, turn: Turn, form: forms.Form) -> Problem | None:
    given = form.cleaned_data
    try:
        fleet_switch.change(
            actor, reason=given["reason"], expected_changed_at=given["changed_at"], **turn.change
        )
    except Problem as problem:
        refuse(problem)
        add_problem(form, problem)
        return problem
    return None


def _now() -> dict[str, Any]:
    """Where both stand, and the deployments that they stop or would stop."""
    live = Deployment.objects.select_related("to_version__apk").order_by("-id")
    affected = list(live.filter(status__in=fleet_switch.STOPPABLE))
    stopped = list(live.filter(status=DeploymentStatus.PAUSED, paused_reason="kill_switch"))
    counts = summary.counts_by_status([deployment.pk for deployment in affected + stopped])
    return {
        "switch": FleetSwitch.objects.select_related("changed_by").get(),
        "affected": [_row(deployment, counts) for deployment in affected],
        "stopped": [_row(deployment, counts) for deployment in stopped],
    }


def _row(deployment: Deployment, counts: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    return {
        "deployment": deployment,
        "state": state_words(deployment.status, deployment.paused_reason),
        "counts": counts[deployment.pk],
    }


def _forms(
    actor: Actor, switch: FleetSwitch, turn: Turn | None, form: forms.Form | None
) -> list[tuple[Turn, forms.Form]]:
    """What this person may turn as things stand; the one that was refused with its errors."""
    names = [
        "release" if switch.kill_switch else "engage",
        "disable" if switch.deployments_enabled else "enable",
    ]
    found = []
    for name in names:
        offered = TURNS[name]
        if not actor.may(offered.permission):
            continue
        if form is not None and turn is offered:
            found.append((offered, form))
        else:
            seen = {"changed_at": switch.changed_at.isoformat()}
            found.append((offered, offered.form_class(prefix=name, initial=seen, label_suffix="")))
    return found
