"""The page behind Deploy: options, dry run, start. The dry run is a form button, so it needs no script."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apks.models import ApkVersion
from deployments import dry_run, lifecycle
from deployments import window as windows
from deployments.details import words_of
from deployments.eligibility import SERVER_ZONE
from deployments.forms import DeployForm
from deployments.models import Deployment, DryRun, FleetSwitch
from deployments.states import LIVE
from devices.selection import Target
from mdm.admin_site import add_problem, person, refuse
from mdm.people import Actor
from mdm.problems import Problem
from mdm.wire_types import as_id

MAY_LOOK = "deployments.dry_run_deployment"
MAY_START = "deployments.start_deployment"


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
        return f"The kill switch is on: {switch.reason}"
    return "" if switch.deployments_enabled else "Deployments are switched off (deployments.enabled)."


def deploy(request: HttpRequest, site: admin.AdminSite, version_id: int) -> HttpResponse:
    actor = person(request)
    if not actor.may(MAY_LOOK):
        raise PermissionDenied("Your account may not make dry runs.")
    version = ApkVersion.objects.select_related("apk").filter(pk=version_id).first()
    if version is None:
        raise Http404("There is no such version.")
    form = DeployForm(request.POST if request.method == "POST" else None)
    page = _Page(request, site, actor, version, form)
    return page.answer()


class _Page:
    """One request: what was asked, and what came of it."""

    def __init__(
        self,
        request: HttpRequest,
        site: admin.AdminSite,
        actor: Actor,
        version: ApkVersion,
        form: DeployForm,
    ) -> None:
        self.request, self.site, self.actor, self.version, self.form = request, site, actor, version, form
        self.result: dict[str, Any] | None = None
        self.status = 200

    def answer(self) -> HttpResponse:
        if self.request.method == "POST" and self.form.is_valid():
            try:
                if self.request.POST.get("act") == "start":
                    return self._start()
                self._dry_run()
            except Problem as problem:
                refuse(problem)
                add_problem(self.form, problem)
                self.status = problem.status
        return self._render()

    def _dry_run(self) -> None:
        self.result = dry_run.make(
            self.actor, apk_version_id=self.version.pk, target=self.form.target, options=self.form.options
        )

    def _start(self) -> HttpResponse:
        run = self._run_of_exactly_this()
        if run is None:
            self.form.add_error(None, "The dry run is for other options or too old; here is a new one.")
            self._dry_run()
            self.status = 409
            return self._render()
        deployment_id = lifecycle.start(
            self.actor,
            apk_version_id=self.version.pk,
            target=self.form.target,
            options=self.form.options,
            dry_run_id=run.pk,
            idempotency_key=f"page-{run.pk}",
        )
        messages.success(self.request, f"Deployment #{deployment_id} of {self.version} has started.")
        return HttpResponseRedirect(reverse("admin:deployments_deployment_details", args=[deployment_id]))

    def _run_of_exactly_this(self) -> DryRun | None:
        """The dry run that the button was shown with, if it answers the form as it is now."""
        run_id = as_id(self.request.POST.get("dry_run_id", "")) or 0
        run = DryRun.objects.filter(
            pk=run_id, created_by=self.actor.user, apk_version=self.version, expires_at__gt=timezone.now()
        ).first()
        if run is None or run.options != self.form.options.to_json():
            return None
        return run if Target.model_validate(run.target) == self.form.target else None

    def _render(self) -> HttpResponse:
        live = Deployment.objects.filter(apk=self.version.apk_id, status__in=LIVE)
        context = {
            **self.site.each_context(self.request),
            "title": f"Deploy {self.version}",
            "version": self.version,
            "form": self.form,
            "result": _shown(self.result),
            "window_words": self._window_words(),
            "missing": self._missing(),
            "live_deployments": live.select_related("to_version__apk").order_by("id"),
            "zones": sorted(windows.zone_names()),
        }
        return TemplateResponse(self.request, "nx/deploy.html", context, status=self.status)

    def _window_words(self) -> str:
        if self.result is None or not hasattr(self.form, "options"):
            return ""
        return windows.describe(self.form.options.maintenance_window(), timezone.now(), SERVER_ZONE)

    def _missing(self) -> str:
        """The one thing that keeps Start from being available."""
        if found := why_not_start(self.actor, self.version):
            return found
        if self.form.errors:
            return "Mend what is marked, then make a dry run."
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
    rows = [row | words_of(row["reason"]) for row in result["devices"]]
    sums = {f"{name}_count": sum(row["count"] for row in found) for name, found in classes.items()}
    return result | classes | sums | {"reached": _reached(result), "rows": rows}
