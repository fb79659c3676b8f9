"""The page of kill switch and feature flag: what they stand at, what they affect now, and turning them.

Each turn is asked for in a dialog, or, without script, on the same page at `?turn=…`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from deployments.models import Deployment, FleetSwitch
from deployments.operations import fleet_switch
from deployments.pages.forms import EngageForm, ReleaseForm
from deployments.reading import summary
from deployments.rules.headline import state_words
from deployments.rules.states import IN_FLIGHT, WAITING, DeploymentStatus, PausedReason
from deployments.rules.wording import devices
from mdm.admin_site import add_problem, person, refuse
from mdm.models import AuditEvent
from mdm.people import Actor
from mdm.problems import Problem

SHOWN: Final = 50
# Nobody has more that are live; a count without end would take as long as the table is.
COUNTED: Final = 1_000
CHANGES: Final = 10


@dataclass(frozen=True, slots=True)
class Turn:
    """One way to turn the switch or the flag. `change` is what the domain call gets; `says` what will happen, `done`
    what has; `stops`: it halts devices."""

    name: str
    button: str
    permission: str
    form_class: type[forms.Form]
    change: Mapping[str, bool]
    says: str
    done: str
    stops: bool = False


TURNS: Final = {
    turn.name: turn
    for turn in (
        Turn(
            "engage",
            "Stop all rollouts",
            "deployments.engage_kill_switch",
            EngageForm,
            {"kill_switch": True},
            "Nothing new is sent from the moment this is done.",
            "All rollouts are stopped.",
            stops=True,
        ),
        Turn(
            "release",
            "Turn the kill switch off",
            "deployments.release_kill_switch",
            ReleaseForm,
            {"kill_switch": False},
            "Deployments stay paused and are resumed one by one.",
            "The kill switch is off. What it has paused stays paused: resume it one by one.",
        ),
        Turn(
            "enable",
            "Switch deployments on",
            "deployments.change_flag",
            EngageForm,
            {"deployments_enabled": True},
            "Deployments may be started and resumed. What was paused stays paused.",
            "Deployments are switched on.",
        ),
        Turn(
            "disable",
            "Switch deployments off",
            "deployments.change_flag",
            EngageForm,
            {"deployments_enabled": False},
            "Nothing can be started or resumed until it is on again. Dry runs still work.",
            "Deployments are switched off.",
            stops=True,
        ),
    )
}


def switch_page(request: HttpRequest, site: admin.AdminSite) -> HttpResponse:
    actor = person(request)
    if not actor.may("deployments.view_fleetswitch"):
        raise PermissionDenied("Your account may not see the kill switch.")
    now = _now(actor)
    turn, form, status = None, None, 200
    if request.method == "POST":
        turn = _allowed(actor, request.POST.get("turn", ""))
        form = turn.form_class(request.POST, prefix=turn.name, label_suffix="")
        if form.is_valid():
            problem = _turn(actor, turn, form)
            if problem is None:
                messages.success(request, turn.done)
                return HttpResponseRedirect(reverse("admin:deployments_fleetswitch_changelist"))
            status = problem.status
    elif "turn" in request.GET:
        turn = _allowed(actor, request.GET["turn"])
        seen = {"changed_at": now["switch"].changed_at.isoformat()}
        form = turn.form_class(prefix=turn.name, initial=seen, label_suffix="")
    context = now | {"turn": turn, "form": form, "lines": _lines(turn, now) if turn else []}
    if turn and getattr(request, "htmx", False):
        return TemplateResponse(request, "nx/_switch_turn.html", context | {"dialog": True})
    context |= {**site.each_context(request), "title": "Kill switch and feature flag"}
    return TemplateResponse(request, "nx/switch.html", context, status=status)


def _allowed(actor: Actor, name: str) -> Turn:
    turn = TURNS.get(name)
    if turn is None or not actor.may(turn.permission):
        raise PermissionDenied("Your account may not turn this.")
    return turn


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


def _now(actor: Actor) -> dict[str, Any]:
    """Where both stand, and the deployments that they stop or would stop."""
    live = Deployment.objects.select_related("to_version__apk").order_by("-id")
    affected = live.filter(status__in=fleet_switch.STOPPABLE)
    paused = live.filter(status=DeploymentStatus.PAUSED)
    stopped = paused.filter(paused_reason=PausedReason.KILL_SWITCH)
    shown = [*affected[:SHOWN]], [*stopped[:SHOWN]]
    counts = summary.counts_by_status([deployment.pk for rows in shown for deployment in rows])
    switch = FleetSwitch.objects.select_related("changed_by").get()
    return {
        "switch": switch,
        "affected": [_row(deployment, counts) for deployment in shown[0]],
        "affected_count": affected[:COUNTED].count(),
        "stopped": [_row(deployment, counts) for deployment in shown[1]],
        "stopped_count": stopped[:COUNTED].count(),
        "off_count": paused.filter(paused_reason=PausedReason.FLAG_OFF)[:COUNTED].count(),
        "at_work": sum(counts[row.pk][status] for row in shown[0] for status in IN_FLIGHT),
        "waiting": sum(counts[row.pk][status] for row in shown[0] for status in WAITING),
        "offered": [turn for turn in _as_they_stand(switch) if actor.may(turn.permission)],
        "changes": _changes(actor),
    }


def _row(deployment: Deployment, counts: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    return {
        "deployment": deployment,
        "state": state_words(deployment.status, deployment.paused_reason),
        "counts": counts[deployment.pk],
    }


def _as_they_stand(switch: FleetSwitch) -> list[Turn]:
    return [
        TURNS["release" if switch.kill_switch else "engage"],
        TURNS["disable" if switch.deployments_enabled else "enable"],
    ]


def _changes(actor: Actor) -> list[AuditEvent]:
    """The last turns, newest first, for who may read the log."""
    if not actor.may("mdm.view_auditevent"):
        return []
    return list(AuditEvent.objects.filter(action="fleet_switch").order_by("-id")[:CHANGES])


def _lines(turn: Turn, now: Mapping[str, Any]) -> list[str]:
    """What will happen, with numbers."""
    if turn.name == "release":
        return [turn.says, f"Paused by the kill switch: {now['stopped_count']:,}."]
    if turn.name == "enable":
        return [turn.says, f"Paused while deployments were off: {now['off_count']:,}."]
    at_work = f"Told to stop before they install: {devices(now['at_work'])} at work"
    return [
        f"Pauses every queued or running deployment: {now['affected_count']:,}.",
        f"Not sent to while it lasts: {devices(now['waiting'])} that would have a turn.",
        f"{at_work}; what is installing already finishes.",
        turn.says,
    ]
