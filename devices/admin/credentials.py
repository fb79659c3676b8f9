"""Enrolment tokens, issued here and shown once, and the tokens that devices got for them."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from pydantic import ValidationError

from devices import enrollment_tokens, provisioning
from devices.admin.labels import LabelsField
from devices.enrollment_tokens import EnrollmentTokenIn
from devices.models import DeviceToken, EnrollmentToken
from mdm.admin import shown_once
from mdm.admin_site import Act, RecordAdmin, UtcField, act_page, person, time_as, time_html


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
    none_words = "No token yet. A device enrols with one, and then has a token of its own."
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
    expires = time_as("Expires", "expires_at", sortable=True)
    created = time_as("Created", "created_at", sortable=True)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(enrollment_tokens.ISSUE)

    @admin.display(description="State")
    def state(self, token: EnrollmentToken) -> str | SafeString:
        if token.revoked_at:
            return format_html("revoked {}", time_html(token.revoked_at))
        if token.expires_at and token.expires_at <= timezone.now():
            return "expired"
        return "spent" if token.max_uses is not None and token.uses >= token.max_uses else "valid"

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
    created = time_as("Created", "created_at", sortable=True)
    first_used = time_as("First used", "first_used_at", sortable=True)
    revoked = time_as("Revoked", "revoked_at", missing="no", sortable=True)
