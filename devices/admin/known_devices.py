"""The devices, and what a person changes about them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from pydantic import ValidationError

from devices import changes, tokens
from devices.admin.heartbeats import READINGS, beat_of, reading
from devices.admin.labels import LabelsField
from devices.changes import DeviceChanges
from devices.models import Device, DeviceStatus
from mdm.admin_site import (
    Act,
    CarryOut,
    RecordAdmin,
    UtcField,
    act_page,
    age_words,
    found,
    person,
    seen_html,
    shown_as,
    time_as,
    time_html,
)

FEW: Final = 3


class DeviceForm(forms.Form):
    alias = forms.CharField(required=False, max_length=120)
    external_id = forms.CharField(label="External id", required=False, max_length=100)
    tags = LabelsField()
    groups = LabelsField()
    hold_until = UtcField(
        label="Hold until (UTC)", required=False, help_text="No install starts before this time."
    )
    hold_reason = forms.CharField(required=False, max_length=200)

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if not self.errors:
            until = given["hold_until"]
            told = given | {"hold_until": until.isoformat() if until else None}
            try:
                given["changes"] = DeviceChanges.model_validate(told)
            except ValidationError as error:
                self.add_error("hold_until", error.errors()[0]["msg"])
        return given


class HeldFilter(admin.SimpleListFilter):
    title = "hold"
    parameter_name = "held"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Held by a person")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(hold_until__gt=timezone.now()) if self.value() else queryset


@admin.register(Device)
class DeviceAdmin(RecordAdmin):
    """What a person changes goes through pages of its own; the rest the device says."""

    in_menu = 30
    none_words = "No device yet. One enrols with a token; issue it under Enrollment tokens."
    list_display = ("serial", "alias", "model", "state", "seen", "charge", "some_labels", "versions")
    list_select_related = ("heartbeat",)
    list_filter = ("status", HeldFilter)
    search_fields = ("serial", "alias", "model", "external_id")
    fields: ClassVar[tuple[str, ...]] = (
        "serial", "alias", "external_id", "model", "manufacturer", "labels", "state", "hold", "versions", "api_level",
        "processors", "agent_version", "command_format", "zone", "seen", *READINGS, "enrolled", "enrolled_with",
    )  # fmt: skip
    readonly_fields = fields
    api_level = shown_as("Android API level", "sdk_int")
    processors = shown_as("Processors", "abis")
    command_format = shown_as("Newest command it understands", "max_schema")
    zone = shown_as("Time zone", "tz")
    enrolled = time_as("Enrolled", "enrolled_at")

    @admin.display(description="Tags / groups")
    def labels(self, device: Device) -> str:
        return f"{', '.join(device.tags) or '–'} / {', '.join(device.groups) or '–'}"

    @admin.display(description="Tags / groups")
    def some_labels(self, device: Device) -> str:
        return f"{_few(device.tags)} / {_few(device.groups)}"

    @admin.display(description="Installed")
    def versions(self, device: Device) -> str:
        rows = ((name, *_version(known)) for name, known in sorted(device.current_versions.items()))
        return format_html_join(", ", "{} {} ({})", rows) or "not reported"

    @admin.display(description="Last seen", ordering="heartbeat__received_at")
    def seen(self, device: Device) -> SafeString:
        return seen_html(getattr(beat_of(device), "received_at", None))

    @admin.display(description="Battery")
    def charge(self, device: Device) -> str | SafeString:
        """Never an old reading as if it were one of now."""
        beat = beat_of(device)
        if beat is None or beat.battery is None or beat.received_at is None:
            return "not reported"
        age = age_words(beat.received_at, timezone.now())
        return format_html('{} % <span class="nx-quiet">{}</span>', beat.battery, age)

    @admin.display(description="State", ordering="status")
    def state(self, device: Device) -> str | SafeString:
        if device.status == DeviceStatus.RETIRED:
            return format_html("retired {}", time_html(device.retired_at))
        if device.hold_until is None or device.hold_until <= timezone.now():
            return "active"
        return format_html(
            'held until {} <span class="nx-quiet">{}</span>', time_html(device.hold_until), device.hold_reason
        )

    @admin.display(description="Hold")
    def hold(self, device: Device) -> str | SafeString:
        if device.hold_until is None:
            return "none"
        return format_html("until {} “{}”", time_html(device.hold_until), device.hold_reason)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        acts = {"edit": self.edit_view, "retire": self.retire_view, "activate": self.activate_view}
        acts["lock_out"] = self.lock_out_view
        own = [
            path(f"<int:pk>/{name}/", view(of), name=f"devices_device_{name}") for name, of in acts.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        may = request.user.has_perm(changes.CHANGE)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "may_change": may})

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        device = found(self, request, pk)

        def carry_out(data: Mapping[str, Any]) -> str:
            changes.change(person(request), pk, data["changes"])
            return f"{device} is changed."

        names = ("alias", "external_id", "tags", "groups", "hold_until", "hold_reason")
        initial = {name: getattr(device, name) for name in names}
        return self._page(request, device, "Change", carry_out, [], form_class=DeviceForm, initial=initial)

    def retire_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        lines = [
            "Its tasks end as a cancel would end them; no deployment reaches it any more.",
            "Its token reports only what was already sent, for 24 hours.",
        ]
        return self._status(request, pk, "Retire", "retired", lines, danger=True)

    def activate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._status(request, pk, "Activate", "active", ["New deployments reach it again."])

    def lock_out_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        device = found(self, request, pk)

        def carry_out(_: Mapping[str, Any]) -> str:
            tokens.revoke(person(request), pk)
            return f"The tokens of {device} are void."

        lines = ["It can do nothing until it is enrolled again, with a token made for it."]
        return self._page(request, device, "Revoke the tokens of", carry_out, lines, danger=True)

    def _status(
        self, request: HttpRequest, pk: int, verb: str, status: str, lines: Sequence[str], **more: Any
    ) -> HttpResponse:
        device = found(self, request, pk)

        def carry_out(_: Mapping[str, Any]) -> str:
            changes.change(person(request), pk, DeviceChanges.model_validate({"status": status}))
            return f"{device} is {status}."

        return self._page(request, device, verb, carry_out, lines, **more)

    def _page(
        self,
        request: HttpRequest,
        device: Device,
        verb: str,
        carry_out: CarryOut,
        lines: Sequence[str],
        **more: Any,
    ) -> HttpResponse:
        back = reverse("admin:devices_device_change", args=[device.pk])
        title = f"{verb} {device}"
        act = Act(title, title, back, changes.CHANGE, carry_out, lines, **more)
        crumbs = [("Devices", reverse("admin:devices_device_changelist")), (str(device), back)]
        return act_page(request, self.admin_site, act, crumbs)


def _few(labels: Sequence[str]) -> str:
    """In a row of a list; the page of the device has them all."""
    more = f" and {len(labels) - FEW} more" if len(labels) > FEW else ""
    return ", ".join(labels[:FEW]) + more or "–"


def _version(known: Any) -> tuple[Any, Any]:
    return known.get("version_name", ""), known.get("version_code", "?")


for _name in READINGS:
    setattr(DeviceAdmin, _name, reading(_name))
