"""Devices, what they last said, and their tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError as FormError
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from pydantic import ValidationError

from devices import changes, enrollment_tokens, provisioning, tokens
from devices.changes import DeviceChanges
from devices.enrollment_tokens import EnrollmentTokenIn
from devices.models import Device, DeviceStatus, DeviceToken, EnrollmentToken, Heartbeat
from mdm.admin import shown_once
from mdm.admin_site import (
    Act,
    RecordAdmin,
    UtcField,
    act_page,
    age_words,
    found,
    person,
    seen_html,
    shown_as,
    time_html,
)
from mdm.wire_types import listed

NETWORKS: Final = ("wifi", "ethernet", "cellular", "none")
# Label and unit of what a heartbeat brings.
READINGS: Final[dict[str, tuple[str, str]]] = {
    "battery": ("Battery", " %"),
    "charging": ("Charging", ""),
    "network": ("Network", ""),
    "metered": ("Metered network", ""),
    "free_storage_mb": ("Free storage", " MB"),
    "doze_exempt": ("Exempt from battery saving", ""),
    "in_call": ("In a call", ""),
    "in_use": ("In use by a customer", ""),
    "device_owner": ("Device owner", ""),
}


class LabelsField(forms.CharField):
    """Tags or groups, one per line, as a list."""

    widget = forms.Textarea(attrs={"rows": 3})

    def __init__(self) -> None:
        super().__init__(required=False, max_length=6_000, help_text="One per line.")

    def to_python(self, value: Any) -> Any:
        return listed((super().to_python(value) or "").splitlines())

    def run_validators(self, value: Any) -> None:
        if any(len(label) > 60 for label in value):
            raise FormError("None may be longer than 60 characters.")

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


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
    list_display = ("serial", "alias", "model", "state", "seen", "charge", "labels", "versions")
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

    @admin.display(description="Tags / groups")
    def labels(self, device: Device) -> str:
        return f"{', '.join(device.tags) or '–'} / {', '.join(device.groups) or '–'}"

    @admin.display(description="Installed")
    def versions(self, device: Device) -> str:
        rows = ((name, *_version(known)) for name, known in sorted(device.current_versions.items()))
        return format_html_join(", ", "{} {} ({})", rows) or "not reported"

    @admin.display(description="Last seen", ordering="heartbeat__received_at")
    def seen(self, device: Device) -> SafeString:
        return seen_html(getattr(_beat(device), "received_at", None))

    @admin.display(description="Battery")
    def charge(self, device: Device) -> str | SafeString:
        """Never an old reading as if it were one of now."""
        beat = _beat(device)
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

    @admin.display(description="Enrolled")
    def enrolled(self, device: Device) -> SafeString:
        return time_html(device.enrolled_at)

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
        carry_out: Callable[[Mapping[str, Any]], str],
        lines: Sequence[str],
        **more: Any,
    ) -> HttpResponse:
        back = reverse("admin:devices_device_change", args=[device.pk])
        title = f"{verb} {device}"
        act = Act(title, title, back, changes.CHANGE, carry_out, lines, **more)
        crumbs = [("Devices", reverse("admin:devices_device_changelist")), (str(device), back)]
        return act_page(request, self.admin_site, act, crumbs)


def _version(known: Any) -> tuple[Any, Any]:
    return known.get("version_name", ""), known.get("version_code", "?")


def _beat(device: Device) -> Heartbeat | None:
    return getattr(device, "heartbeat", None)


def _reading(name: str) -> Callable[[DeviceAdmin, Device], str]:
    """A value of the last heartbeat, by itself never newer than "Last seen"."""

    label, unit = READINGS[name]

    @admin.display(description=label)
    def shown(_: DeviceAdmin, device: Device) -> str:
        value = getattr(_beat(device), name, None)
        if value is None:
            return "not reported"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:,}{unit}" if unit else str(value)

    return shown


for _name in READINGS:
    setattr(DeviceAdmin, _name, _reading(_name))


class NetworkFilter(admin.SimpleListFilter):
    """Django's own would look for the kinds there are in every row."""

    title = "network"
    parameter_name = "network"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in NETWORKS]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(network=self.value()) if self.value() in NETWORKS else queryset


@admin.register(Heartbeat)
class HeartbeatAdmin(RecordAdmin):
    list_display = ("device", "received", "battery", "charging", "network", "metered", "free_storage_mb")
    list_select_related = ("device",)
    list_filter = (NetworkFilter, "charging")
    search_fields = ("device__serial", "device__alias")
    fields: ClassVar[tuple[str, ...]] = ("device", "received", *READINGS)
    readonly_fields = fields

    @admin.display(description="Received", ordering="received_at")
    def received(self, beat: Heartbeat) -> SafeString:
        return time_html(beat.received_at)


class IssueEnrollmentForm(forms.Form):
    expires_at = UtcField(label="Expires (UTC)", required=False, help_text="Empty: never.")
    max_uses = forms.IntegerField(
        label="Uses at most", required=False, min_value=1, max_value=2**31 - 1, help_text="Empty: any number."
    )
    tags = LabelsField()
    groups = LabelsField()
    device_id = forms.IntegerField(
        label="Device id",
        required=False,
        min_value=1,
        help_text="Made for this one known device, for one use.",
    )

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if not self.errors:
            expires_at = given["expires_at"]
            told = given | {"expires_at": expires_at.isoformat() if expires_at else None}
            try:
                given["wanted"] = EnrollmentTokenIn.model_validate(told)
            except ValidationError as error:
                self.add_error("expires_at", error.errors()[0]["msg"])
        return given


@admin.register(EnrollmentToken)
class EnrollmentTokenAdmin(RecordAdmin):
    in_menu = 31
    add_words = "Issue a token"
    list_display = (
        "__str__",
        "state",
        "expires",
        "uses",
        "max_uses",
        "labels",
        "device",
        "created_by",
        "revoke",
    )
    list_select_related = ("device", "created_by")
    fields = ("created", "created_by", "state", "expires", "uses", "max_uses", "labels", "device")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(enrollment_tokens.ISSUE)

    @admin.display(description="State")
    def state(self, token: EnrollmentToken) -> str | SafeString:
        if token.revoked_at:
            return format_html("revoked {}", time_html(token.revoked_at))
        if token.expires_at and token.expires_at <= timezone.now():
            return "expired"
        return "spent" if token.max_uses is not None and token.uses >= token.max_uses else "valid"

    @admin.display(description="Expires", ordering="expires_at")
    def expires(self, token: EnrollmentToken) -> SafeString:
        return time_html(token.expires_at)

    @admin.display(description="Created", ordering="created_at")
    def created(self, token: EnrollmentToken) -> SafeString:
        return time_html(token.created_at)

    @admin.display(description="Tags / groups given")
    def labels(self, token: EnrollmentToken) -> str:
        return f"{', '.join(token.tags) or '–'} / {', '.join(token.groups) or '–'}"

    @admin.display(description="Revoke")
    def revoke(self, token: EnrollmentToken) -> str | SafeString:
        if token.revoked_at:
            return ""
        address = reverse("admin:devices_enrollmenttoken_revoke", args=[token.pk])
        return format_html('<a href="{}" aria-label="Revoke {}">Revoke…</a>', address, token)

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return shown if self.has_add_permission(request) else [name for name in shown if name != "revoke"]

    def get_urls(self) -> list[URLPattern]:
        revoke = self.admin_site.admin_view(self.revoke_view)
        own = path("<int:pk>/revoke/", revoke, name="devices_enrollmenttoken_revoke")
        return [own, *super().get_urls()]

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        def carry_out(data: Mapping[str, Any]) -> HttpResponse:
            _, text = enrollment_tokens.issue(person(request), data["wanted"])
            drawing = provisioning.qr_svg(provisioning.payload(text))
            return shown_once(
                request,
                title="The enrolment token",
                secret=text,
                back=back,
                line=_how_to_enrol(),
                drawing=drawing,
            )

        back = reverse("admin:devices_enrollmenttoken_changelist")
        act = Act(
            title="Issue an enrolment token",
            button="Issue token",
            back=back,
            permission=enrollment_tokens.ISSUE,
            carry_out=carry_out,
            form_class=IssueEnrollmentForm,
            lines=["A device that enrols with it gets its tags and groups."],
        )
        return act_page(request, self.admin_site, act, [("Enrollment tokens", back)])

    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        def carry_out(_: Mapping[str, Any]) -> str:
            enrollment_tokens.revoke(person(request), pk)
            return "The token is void."

        back = reverse("admin:devices_enrollmenttoken_changelist")
        act = Act(
            title=f"Revoke enrolment token {pk}",
            button="Revoke token",
            back=back,
            permission=enrollment_tokens.ISSUE,
            carry_out=carry_out,
            lines=["Nobody can enrol with it any more; devices that did stay enrolled."],
            danger=True,
        )
        return act_page(request, self.admin_site, act, [("Enrollment tokens", back)])


def _how_to_enrol() -> str:
    scan = (
        "Tap the welcome screen of a new or reset device six times and scan the code: it sets the device up"
    )
    agent = (
        "and downloads the agent."
        if provisioning.is_complete()
        else "with the agent it brings; AGENT_DOWNLOAD_URL and AGENT_SIGNER_SHA256 are not set, so it downloads none."
    )
    return f"The device enrols at {settings.PUBLIC_URL}. {scan} {agent}"


@admin.register(DeviceToken)
class DeviceTokenAdmin(RecordAdmin):
    """That they exist and since when; not even their digests are shown."""

    list_display = ("device", "created", "first_used", "revoked")
    list_select_related = ("device",)
    search_fields = ("device__serial", "device__alias")
    fields = ("device", "created", "first_used", "revoked")
    readonly_fields = fields

    @admin.display(description="Created", ordering="created_at")
    def created(self, token: DeviceToken) -> SafeString:
        return time_html(token.created_at)

    @admin.display(description="First used", ordering="first_used_at")
    def first_used(self, token: DeviceToken) -> SafeString:
        return time_html(token.first_used_at)

    @admin.display(description="Revoked", ordering="revoked_at")
    def revoked(self, token: DeviceToken) -> SafeString:
        return time_html(token.revoked_at, missing="no")
