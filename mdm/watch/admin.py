"""Alerts: the list, one alert, and the page on which it is acknowledged."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from mdm.admin_site import Act, RecordAdmin, act_page, found, person, time_as, time_html
from mdm.watch import alerts, deliveries, webhook
from mdm.watch.models import Alert, AlertDelivery, AlertState, AuditCut, AuditSeal, LastCut, Reading

MAY_ACKNOWLEDGE = "watch.acknowledge_alert"
SHOWN_TO = 160  # characters of a message in a list


@admin.register(Alert)
class AlertAdmin(RecordAdmin):
    in_menu = 40
    none_words = "No alert yet: nothing has needed a person."
    list_display = ("kind", "state", "words", "opened", "acknowledged", "resolved")
    list_filter = ("state", "kind")
    list_select_related = ("acknowledged_by",)
    search_fields = ("message",)
    search_help_text = "A part of the message."
    fields = ("kind", "state", "message", "about", "opened", "acknowledged", "resolved")
    readonly_fields = (*fields, "seen")
    opened = time_as("Raised", "opened_at", sortable=True)
    resolved = time_as("Resolved", "resolved_at", missing="–")

    def get_list_display(self, request: HttpRequest) -> Any:
        kind, state, *others = super().get_list_display(request)
        may = person(request).may(MAY_ACKNOWLEDGE)
        return [kind, state, "seen", *others] if may else [kind, state, *others]

    def get_fields(self, request: HttpRequest, obj: Alert | None = None) -> Any:
        waits = obj is not None and obj.state == AlertState.OPEN and person(request).may(MAY_ACKNOWLEDGE)
        return (*self.fields, "seen") if waits else self.fields

    @admin.display(description="Message")
    def words(self, alert: Alert) -> str:
        return Truncator(alert.message).chars(SHOWN_TO)

    @admin.display(description="Acknowledge")
    def seen(self, alert: Alert) -> str | SafeString:
        if alert.state != AlertState.OPEN:
            return ""
        address = reverse("admin:watch_alert_acknowledge", args=[alert.pk])
        return format_html(
            '<a href="{}" aria-label="Acknowledge alert {}">Acknowledge…</a>', address, alert.pk
        )

    @admin.display(description="About")
    def about(self, alert: Alert) -> str | SafeString:
        if alert.deployment_id is None:
            return alert.subject
        address = reverse("admin:deployments_deployment_details", args=[alert.deployment_id])
        return format_html('<a href="{}">Deployment {}</a>', address, alert.deployment_id)

    @admin.display(description="Acknowledged")
    def acknowledged(self, alert: Alert) -> SafeString:
        if alert.acknowledged_by is None:
            return time_html(alert.acknowledged_at, "–")
        return format_html("{} by {}", time_html(alert.acknowledged_at), alert.acknowledged_by)

    def get_urls(self) -> list[URLPattern]:
        seen = self.admin_site.admin_view(self.acknowledge_view)
        return [path("<int:pk>/acknowledge/", seen, name="watch_alert_acknowledge"), *super().get_urls()]

    def acknowledge_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        def carry_out(_: Mapping[str, Any]) -> str:
            alerts.acknowledge(person(request), pk)
            return "Acknowledged. The alert stays until its cause is gone."

        alert = found(self, request, pk)
        back = reverse("admin:watch_alert_changelist")
        act = Act(
            title="Acknowledge an alert",
            button="Acknowledge",
            back=back,
            permission=MAY_ACKNOWLEDGE,
            carry_out=carry_out,
            lines=[str(alert), "Others see that you look after it. It resolves when its cause is gone."],
        )
        return act_page(request, self.admin_site, act, [("Alerts", back)])


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(RecordAdmin):
    list_display = ("alert_id", "event", "channel", "state", "tries", "next_try", "last_error")
    list_filter = ("state", "channel")
    fields = ("alert", "event", "channel", "state", "tries", "next_try", "last_error", "sent")
    readonly_fields = fields
    sent = time_as("Sent", "sent_at", missing="–")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        unsigned = bool(settings.ALERT_WEBHOOK_URL) and not settings.ALERT_WEBHOOK_SECRET
        where = {"destinations": deliveries.destinations(), "unsigned": webhook.UNSIGNED if unsigned else ""}
        return super().changelist_view(request, where | (extra_context or {}))

    @admin.display(description="Next try")
    def next_try(self, delivery: AlertDelivery) -> str | SafeString:
        return time_html(delivery.next_try_at) if delivery.state == AlertDelivery.State.PENDING else "–"


@admin.register(Reading)
class ReadingAdmin(RecordAdmin):
    list_display = fields = ("taken_at", "depth", "oldest_due")


@admin.register(LastCut)
class LastCutAdmin(RecordAdmin):
    list_display = fields = ("begun_at", "tries", "troubles")


@admin.register(AuditCut)
class AuditCutAdmin(RecordAdmin):
    list_display = ("number", "deployment_id", "rows", "file", "at")
    fields = (
        "number", "deployment", "after_id", "last_id", "rows", "file", "size_bytes", "sha256", "seal_number", "at",
        "key_id", "mac",
    )  # fmt: skip
    readonly_fields = fields
    at = time_as("Archived", "cut_at")


@admin.register(AuditSeal)
class AuditSealAdmin(RecordAdmin):
    list_display = ("number", "stream", "last_id", "rows", "at", "mac")
    fields = ("number", "stream", "after_id", "last_id", "rows", "at", "key_id", "mac")
    readonly_fields = fields
    at = time_as("Sealed", "sealed_at")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        export = {"export_words": "Export the audit logs", "export_url": reverse("v1:export_audit")}
        return super().changelist_view(request, export | (extra_context or {}))
