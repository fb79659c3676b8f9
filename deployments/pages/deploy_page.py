"""The page behind Deploy, and the same in a dialog: options, live dry run, start.

One address. A GET shows the form: a page, or, asked by htmx, what goes into the dialog. A POST is what the form
is asked to do (`act`); a page is answered with a page, htmx with the parts that change.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from secrets import token_urlsafe
from typing import Any, Final

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django_htmx.http import HttpResponseClientRedirect

from apks.models import ApkVersion
from deployments.engine import install_times
from deployments.models import Deployment, DryRun, FleetSwitch
from deployments.operations import approval, dry_run, lifecycle
from deployments.pages import picker, presets, window_words
from deployments.pages.deploy_form import LABELS, DeployForm
from deployments.pages.details import words_of
from deployments.rules import pace
from deployments.rules import window as windows
from deployments.rules.states import LIVE
from devices import selection
from devices.installed import installed
from devices.selection import Target
from mdm.admin_site import add_problem, person, refuse
from mdm.people import Actor
from mdm.problems import Problem
from mdm.wire_types import as_id

MAY_LOOK: Final = dry_run.MAY_LOOK
MAY_START: Final = "deployments.start_deployment"
# What a person saw longer ago is not what is started.
FRESH_FOR: Final = timedelta(minutes=10)

# Which opened form asks; made with it.
_FORM_NAME: Final = re.compile(r"[A-Za-z0-9_-]{16}", re.ASCII)

# What htmx gets for an act; anything else is the answer of a dry run.
_PARTS: Final = {
    "list": "nx/_picker.html",
    "select_all": "nx/_picker.html",
    "clear": "nx/_picker.html",
    "preset": "nx/_deploy_options.html",
}


def why_not(version: ApkVersion) -> str:
    """Why this version cannot be deployed; "" where it can."""
    if version.withdrawn_at is not None:
        return f"Withdrawn: {version.withdrawn_reason}"
    if not version.apk.managed:
        return f"{version.apk.package_name} is not on the allowlist."
    return ""


def why_not_start(actor: Actor, version: ApkVersion) -> str:
    """Why nothing can be started now whatever the options are; "" where it can."""
    if not actor.may(MAY_START):
        return "Your account may make dry runs, but not start deployments."
    if found := why_not(version):
        return found
    switch = FleetSwitch.objects.get()
    if switch.kill_switch:
        return f"All rollouts are stopped, the kill switch is on: {switch.reason}"
    return "" if switch.deployments_enabled else "Deployments are switched off (deployments.enabled)."


def version_of(request: HttpRequest, version_id: int) -> ApkVersion:
    """The version, for who may make dry runs."""
    if not person(request).may(MAY_LOOK):
        raise PermissionDenied("Your account may not make dry runs.")
    version = ApkVersion.objects.select_related("apk").filter(pk=version_id).first()
    if version is None:
        raise Http404("There is no such version.")
    return version


def deploy(request: HttpRequest, site: admin.AdminSite, version_id: int) -> HttpResponse:
    version = version_of(request, version_id)
    page = _Page(request, site, version, _data(request, version))
    return page.answer()


def _data(request: HttpRequest, version: ApkVersion) -> QueryDict | None:
    """What the form is filled with; None = its defaults."""
    if request.method != "POST":
        return None
    data = picker.folded(request.POST)
    preset = presets.PRESETS.get(data.get("preset", ""))
    if data.get("act") == "preset" and preset:
        presets.apply(data, preset, version)
    return data


class _Page:
    """One request: what was asked, and what came of it."""

    def __init__(
        self, request: HttpRequest, site: admin.AdminSite, version: ApkVersion, data: QueryDict | None
    ) -> None:
        self.request, self.site, self.version, self.data = request, site, version, data or QueryDict()
        self.actor = person(request)
        self.form = DeployForm(data)
        self.htmx = bool(getattr(request, "htmx", False))
        # A page number comes from a button of the list, without an act.
        self.act = self.data.get("act") or ("list" if "page" in self.data else "check")
        self.now = timezone.now()
        given = self.data.get("form_name", "")
        self.form_name = given if _FORM_NAME.fullmatch(given) else token_urlsafe(12)
        self.result: dict[str, Any] | None = None
        self.status = 200

    def answer(self) -> HttpResponse:
        if self.form.is_bound and self.act not in _PARTS and self.form.is_valid():
            try:
                if self.act == "start":
                    return self._start()
                self._dry_run()
            except Problem as problem:
                refuse(problem)
                add_problem(self.form, problem)
                self.status = problem.status
        return self._part() if self.htmx else self._whole()

    def _dry_run(self) -> None:
        self.result = dry_run.make(
            self.actor,
            apk_version_id=self.version.pk,
            target=self.form.target,
            options=self.form.options,
            form=self.form_name,
        )

    def _start(self) -> HttpResponse:
        run = self._run_of_exactly_this()
        if run is None:
            self.form.add_error(None, "The dry run is for other options or too old; here is a new one.")
            self._dry_run()
            self.status = 409
            return self._part() if self.htmx else self._whole()
        deployment_id = lifecycle.start(
            self.actor,
            apk_version_id=self.version.pk,
            target=self.form.target,
            options=self.form.options,
            dry_run_id=run.pk,
            idempotency_key=f"page-{run.pk}",
        )
        begun = "waits for another person's approval" if approval.too_many(run.resolved) else "has started"
        messages.success(self.request, f"Deployment #{deployment_id} of {self.version} {begun}.")
        address = reverse("admin:deployments_deployment_details", args=[deployment_id])
        return HttpResponseClientRedirect(address) if self.htmx else HttpResponseRedirect(address)

    def _run_of_exactly_this(self) -> DryRun | None:
        """The dry run that the button was shown with, if it answers the form as it is now."""
        run_id = as_id(self.data.get("dry_run_id", "")) or 0
        run = DryRun.objects.filter(
            pk=run_id,
            created_by=self.actor.user,
            apk_version=self.version,
            created_at__gt=self.now - FRESH_FOR,
        ).first()
        if run is None or run.options != self.form.options.to_json():
            return None
        return run if Target.model_validate(run.target) == self.form.target else None

    # What is shown.

    def _whole(self) -> HttpResponse:
        return self._rendered("nx/deploy.html", self.site.each_context(self.request) | self._all())

    def _part(self) -> HttpResponse:
        """Parts answer 200: a refusal is said in them."""
        self.status = 200
        if not self.form.is_bound:
            return self._rendered("nx/deploy_dialog.html", self._all())
        if self.act in _PARTS:
            context = self._all() if self.act == "preset" else self._here() | self._picker()
            return self._rendered(_PARTS[self.act], context)
        return self._rendered("nx/_deploy_answer.html", self._here() | self._said() | {"part": True})

    def _rendered(self, template: str, context: Mapping[str, Any]) -> HttpResponse:
        return TemplateResponse(self.request, template, dict(context), status=self.status)

    def _all(self) -> dict[str, Any]:
        for name in LABELS:
            self.form.offer(name, selection.labels(name))
        live = Deployment.objects.filter(apk=self.version.apk_id, status__in=LIVE)
        return {
            "live_deployments": live.select_related("to_version__apk").order_by("id"),
            "zones": sorted(windows.zone_names()),
            "presets": presets.PRESETS.values(),
            "fleet_size": installed().devices,
            "form_name": self.form_name,
            **self._here(),
            **self._picker(),
            **self._said(),
        }

    def _here(self) -> dict[str, Any]:
        return {
            "title": f"Deploy {self.version}",
            "version": self.version,
            "form": self.form,
            "address": reverse("admin:apks_apkversion_deploy", args=[self.version.pk]),
        }

    def _picker(self) -> dict[str, Any]:
        number = as_id(self.data.get("page", "")) or 1
        self.form.is_valid()  # filters are read off the cleaned form
        return {"picker": picker.picker(self.form, self.version.apk.package_name, number)}

    def _said(self) -> dict[str, Any]:
        return {
            "result": _shown(self.result),
            "checked_at": self.now,
            "fresh_sec": int(FRESH_FOR.total_seconds()),
            "approval_above": settings.APPROVAL_ABOVE,
            "blocked": why_not_start(self.actor, self.version),
            "missing": self._missing(),
            "pressed": self.act in ("start", "dry_run"),
            **self._outlook(),
        }

    def _outlook(self) -> dict[str, Any]:
        """Window and pace in words, whatever the target is."""
        options = getattr(self.form, "options", None)
        if options is None:
            return {}
        window = options.maintenance_window()
        median = install_times.median_sec(self.version.apk_id)
        return {
            "opening": window_words.opening(window, self.now) if window else "",
            "clock_warnings": window_words.clock_warnings(window, self.now),
            "pace": pace.expected_pace(options.rate, options.concurrency, median).sentence,
        }

    def _missing(self) -> str:
        """The one thing that keeps Start from being available."""
        for name, errors in self.form.errors.items():
            label = "" if name == "__all__" else f"{self.form.fields[name].label}: "
            return f"{label}{errors[0]}"
        if self.result is None:
            return "Make a dry run first: it sends nothing."
        return "" if _reached(self.result) else "No device can take this version."


def _reached(result: dict[str, Any]) -> int:
    """Devices that get the version now or later: all but the excluded."""
    return int(result["will_update"] + sum(row["count"] for row in result["later"]))


def _shown(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """The answer of the dry run with words for its reasons."""
    if result is None:
        return None
    classes = {
        name: [row | words_of(row["reason"]) for row in result[name]] for name in ("excluded", "later")
    }
    sums = {f"{name}_count": sum(row["count"] for row in found) for name, found in classes.items()}
    return result | classes | sums | {"reached": _reached(result)}
