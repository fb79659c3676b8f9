"""Versions with Deploy, deployments with their pages, the kill switch; and the records behind them."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_q.models import Failure, OrmQ, Schedule, Success

from apks.admin import ApkVersionAdmin
from apks.models import ApkVersion
from deployments.models import (
    Deployment,
    DeploymentAttempt,
    DeploymentBell,
    DeploymentEvent,
    DeploymentNumbers,
    DeploymentTarget,
    DeploymentTask,
    DryRun,
    DryRunDevice,
    FleetSwitch,
    StartRequest,
)
from deployments.pages import (
    deploy_page,
    dry_run_page,
    follow_up_pages,
    operator_acts,
    switch_page,
    views,
    withdrawal_words,
)
from deployments.pages.version_list import deploy_column, devices_column
from deployments.reading import summary
from deployments.templatetags.nx import progress_bar
from mdm.admin_site import RecordAdmin, person, time_as

# The queue is a doorbell; what it works on is in our own tables, and its pages invite to edit it.
admin.site.unregister([Failure, OrmQ, Schedule, Success])


@admin.register(ApkVersion)
class DeployableVersionAdmin(ApkVersionAdmin):
    def get_list_display(self, request: HttpRequest) -> Any:
        shown = list(super().get_list_display(request))
        if not person(request).may(deploy_page.MAY_LOOK):
            return shown
        return [*shown[:2], deploy_column(request), devices_column(), *shown[2:]]

    def withdrawal_lines(self, version: ApkVersion) -> list[str]:
        return withdrawal_words.lines(version)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        of_run = "<int:pk>/deploy/dry-run/<int:run_id>/"
        return [
            path("<int:pk>/deploy/", view(self.deploy_view), name="apks_apkversion_deploy"),
            path(of_run, view(self.dry_run_view), name="apks_apkversion_dry_run"),
            path(f"{of_run}devices.csv", view(dry_run_page.csv), name="apks_apkversion_dry_run_csv"),
            *super().get_urls(),
        ]

    def deploy_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return deploy_page.deploy(request, self.admin_site, pk)

    def dry_run_view(self, request: HttpRequest, pk: int, run_id: int) -> HttpResponse:
        return dry_run_page.devices(request, self.admin_site, pk, run_id)


class CountedList(ChangeList):
    """Counts of the shown deployments in one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        counts = summary.counts_by_status([row.pk for row in rows])
        for row in rows:
            row.shown_counts = counts[row.pk]
        self.result_list = rows


@admin.register(Deployment)
class DeploymentAdmin(RecordAdmin):
    in_menu = 10
    none_words = "No deployment yet. Press Deploy beside a version in the list of APK versions."
    list_display = ("name", "state", "progress", "created_by", "created", "finished")
    list_display_links = None
    list_filter = ("status", "paused_reason", "apk")
    list_select_related = ("to_version__apk", "created_by", "target")
    search_fields = ("=id", "apk__package_name", "to_version__version_name", "created_by__username")
    created = time_as("Created", "created_at", sortable=True)
    finished = time_as("Finished", "finished_at", missing="–", sortable=True)

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return CountedList

    @admin.display(description="Deployment", ordering="id")
    def name(self, deployment: Deployment) -> SafeString:
        address = reverse("admin:deployments_deployment_details", args=[deployment.pk])
        return format_html('<a href="{}">{}</a>', address, deployment)

    @admin.display(description="Status", ordering="status")
    def state(self, deployment: Deployment) -> SafeString:
        words = summary.state_of(deployment)
        return format_html('<span class="nx-badge nx-badge-{}">{}</span>', deployment.status, words)

    @admin.display(description="Progress")
    def progress(self, deployment: Deployment) -> SafeString:
        counts = deployment.shown_counts  # type: ignore[attr-defined]
        return format_html(
            '{}<span class="nx-quiet">{} of {} succeeded, {} failed</span>',
            progress_bar(counts),
            f"{counts['succeeded']:,}",
            f"{counts['total']:,}",
            f"{counts['failed']:,}",
        )

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """The details page is the page of a deployment."""
        self.require_view(request)
        deployment = self.get_object(request, object_id)
        name, of = ("details", [deployment.pk]) if deployment else ("changelist", [])
        return HttpResponseRedirect(reverse(f"admin:deployments_deployment_{name}", args=of))

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("<int:pk>/live/", views.live, name="deployments_deployment_live"),
            path("<int:pk>/order/", views.order, name="deployments_deployment_order"),
            path("<int:pk>/rows/", views.rows, name="deployments_deployment_rows"),
            path("<int:pk>/record/", views.record, name="deployments_deployment_record"),
            self._path("export.csv", "export", self.export_view),
            self._path("devices/<int:task>/", "device", self.device_view),
        ]
        pages = {
            "details": views.details_page,
            "pause": operator_acts.pause,
            "explain": operator_acts.explain,
            "resume": operator_acts.resume,
            "approve": operator_acts.approve,
            "cancel": operator_acts.cancel,
            "pace": operator_acts.pace,
            "rollback": follow_up_pages.roll_back,
            "retry": follow_up_pages.retry,
        }
        own += [self._path(f"{name}/", name, self._page(view)) for name, view in pages.items()]
        return [*own, *super().get_urls()]

    def _path(self, route: str, name: str, view: Any) -> URLPattern:
        found: URLPattern = path(
            f"<int:pk>/{route}", self.admin_site.admin_view(view), name=f"deployments_deployment_{name}"
        )
        return found

    def _page(self, view: Any) -> Any:
        def page(request: HttpRequest, pk: int) -> HttpResponse:
            answer: HttpResponse = view(request, self.admin_site, pk)
            return answer

        return page

    def device_view(self, request: HttpRequest, pk: int, task: int) -> HttpResponse:
        return views.device(request, self.admin_site, pk, task)

    def export_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        return views.export(request, pk)


@admin.register(FleetSwitch)
class FleetSwitchAdmin(RecordAdmin):
    in_menu = 11

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return switch_page.switch_page(request, self.admin_site)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        self.require_view(request)
        return HttpResponseRedirect(reverse("admin:deployments_fleetswitch_changelist"))


@admin.register(DeploymentTarget)
class DeploymentTargetAdmin(RecordAdmin):
    list_display = ("deployment", "scope", "resolved_count")
    list_select_related = ("deployment__to_version__apk",)
    search_fields = ("=deployment__id",)
    fields = ("deployment", "scope", "resolved_count", "query")
    readonly_fields = fields

    @admin.display(description="As asked for")
    def query(self, target: DeploymentTarget) -> SafeString:
        return pretty(target.selection_query)


def pretty(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


@admin.register(DeploymentTask)
class DeploymentTaskAdmin(RecordAdmin):
    list_display = (
        "id",
        "deployment_id",
        "device",
        "status",
        "phase",
        "reason",
        "attempt",
        "error_code",
        "updated",
    )
    list_select_related = ("device",)
    list_filter = ("status",)
    search_fields = ("=deployment__id", "=device__serial")
    search_help_text = "Number of the deployment, or the whole serial."
    ordering = ("-id",)
    updated = time_as("Updated", "updated_at")


@admin.register(DeploymentAttempt)
class DeploymentAttemptAdmin(RecordAdmin):
    list_display = (
        "id",
        "deployment_id",
        "device",
        "number",
        "transport",
        "sent",
        "finished",
        "outcome",
        "error_code",
    )
    list_select_related = ("device",)
    search_fields = ("=deployment__id", "=device__serial")
    search_help_text = "Number of the deployment, or the whole serial."
    ordering = ("-id",)
    sent = time_as("Sent", "sent_at")
    finished = time_as("Finished", "finished_at", missing="not yet")


@admin.register(DeploymentEvent)
class DeploymentEventAdmin(RecordAdmin):
    in_menu = 12
    list_display = ("at", "deployment_id", "device", "level", "actor", "message")
    list_select_related = ("device",)
    list_filter = ("level",)
    search_fields = ("=deployment__id", "=device__serial")
    search_help_text = "Number of the deployment, or the whole serial."
    ordering = ("-id",)
    fields = ("at", "deployment", "device", "level", "actor", "message", "details")
    readonly_fields = fields
    at = time_as("When", "created_at")

    @admin.display(description="Details")
    def details(self, event: DeploymentEvent) -> SafeString:
        return pretty(event.meta)


@admin.register(DryRun)
class DryRunAdmin(RecordAdmin):
    list_display = ("id", "apk_version", "created_by", "resolved", "created", "expires")
    list_select_related = ("apk_version__apk", "created_by")
    ordering = ("-id",)
    created = time_as("Made", "created_at")
    expires = time_as("Expires", "expires_at")


@admin.register(DryRunDevice)
class DryRunDeviceAdmin(RecordAdmin):
    list_display = ("dry_run_id", "device", "classification", "reason", "observed", "required")
    list_select_related = ("device",)
    search_fields = ("=dry_run__id", "=device__serial")
    ordering = ("-id",)


@admin.register(DeploymentBell)
class DeploymentBellAdmin(RecordAdmin):
    list_display = ("deployment_id", "rung")
    rung = time_as("Rung", "rung_at")


@admin.register(DeploymentNumbers)
class DeploymentNumbersAdmin(RecordAdmin):
    list_display = ("deployment_id", "state", "counted", "took", "looked_at")
    counted = time_as("Counted", "as_of")
    looked_at = time_as("Looked at", "wanted_at")


@admin.register(StartRequest)
class StartRequestAdmin(RecordAdmin):
    list_display = ("user", "key", "deployment_id", "at")
    list_select_related = ("user",)
    at = time_as("When", "created_at")
