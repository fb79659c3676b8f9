"""Accounts as Django shows them, API tokens, the audit log and the beats of workers."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mdm import api_tokens, audit
from mdm.admin_site import Act, BaseAdmin, RecordAdmin, UtcField, act_page, person, time_as, time_html
from mdm.models import ApiToken, AuditEvent, Counter, RecentCount, Throttle, WorkerBeat
from mdm.throttle import SAME_TOKEN

admin.site.unregister([Group, User])


class AuditedAdmin(BaseAdmin):
    """Who may do what is changed through Django's own forms; the audit log is told of it in their transaction."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _record(request, "add", obj, message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _record(request, "change", obj, message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            _record(request, "delete", obj, "")
        return super().log_deletions(request, queryset)


def _record(request: HttpRequest, act: str, obj: Any, change: Any) -> None:
    kind = obj._meta.model_name
    audit.record(person(request), f"{kind}.{act}", obj, f"{kind} {obj}: {act}", {"change": change})


@admin.register(User)
class PeopleAdmin(AuditedAdmin, UserAdmin):  # type: ignore[type-arg]
    """Django's own, but what the system writes is not typed: the stock inputs for it have no labels."""

    in_menu = 60
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()  # its search icon is no valid ARIA


@admin.register(Group)
class GroupsAdmin(AuditedAdmin, GroupAdmin):
    in_menu = 61
    filter_horizontal = ()


class IssueApiTokenForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="What will use it.")
    read_only = forms.BooleanField(
        label="Read only", required=False, help_text="May see, dry-run and export, nothing else."
    )
    expires_at = UtcField(label="Expires (UTC)", required=False, help_text="Empty: in a year.")


@admin.register(ApiToken)
class ApiTokenAdmin(RecordAdmin):
    """Everybody sees, issues and revokes his own; who may view all tokens sees all."""

    in_menu = 51
    add_words = "Issue a token"
    none_words = "No token yet. Scripts need one to use the API."
    list_display = ("name", "user", "read_only", "state", "expires", "last_used", "revoke")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    fields = ("name", "user", "read_only", "created", "expires", "last_used", "state")
    readonly_fields = fields
    created = time_as("Created", "created_at", sortable=True)
    expires = time_as("Expires", "expires_at", sortable=True)
    last_used = time_as("Last used", "last_used_at", sortable=True)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_staff

    def has_view_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return obj is None or obj.user == request.user or request.user.has_perm("mdm.view_apitoken")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        found = super().get_queryset(request)
        return found if request.user.has_perm("mdm.view_apitoken") else found.filter(user=request.user)

    @admin.display(description="State")
    def state(self, token: ApiToken) -> str | SafeString:
        if token.revoked_at:
            return format_html("revoked {}", time_html(token.revoked_at))
        if not token.user.is_active:
            return "void: the user is inactive"
        return "expired" if token.expires_at and token.expires_at <= timezone.now() else "valid"

    @admin.display(description="Revoke")
    def revoke(self, token: ApiToken) -> str | SafeString:
        if token.revoked_at:
            return ""
        address = reverse("admin:mdm_apitoken_revoke", args=[token.pk])
        return format_html('<a href="{}" aria-label="Revoke {}">Revoke…</a>', address, token.name)

    def get_urls(self) -> list[URLPattern]:
        revoke = self.admin_site.admin_view(self.revoke_view)
        return [path("<int:pk>/revoke/", revoke, name="mdm_apitoken_revoke"), *super().get_urls()]

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        """Issues a token for whoever is signed in and shows it once."""

        def carry_out(data: Mapping[str, Any]) -> HttpResponse:
            actor = person(request)
            expires_at = cast("datetime | None", data["expires_at"])
            _, text = api_tokens.issue(
                actor,
                cast(User, request.user),
                name=data["name"],
                read_only=data["read_only"],
                expires_at=expires_at,
            )
            line = "Send it as: Authorization: Bearer …"
            return shown_once(request, title="Your API token", secret=text, back=back, line=line)

        back = reverse("admin:mdm_apitoken_changelist")
        act = Act(
            title="Issue an API token",
            button="Issue token",
            back=back,
            permission="",
            carry_out=carry_out,
            form_class=IssueApiTokenForm,
            lines=["It is yours, has your permissions, and is void while your account is inactive."],
        )
        return act_page(request, self.admin_site, act, [("API tokens", back)])

    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        def carry_out(_: Mapping[str, Any]) -> str:
            api_tokens.revoke(person(request), pk)
            return "The token is void."

        back = reverse("admin:mdm_apitoken_changelist")
        act = Act(
            title="Revoke an API token",
            button="Revoke token",
            back=back,
            permission="",  # one's own needs none; the domain call knows
            carry_out=carry_out,
            lines=["Scripts that use it are refused from now on. It cannot be taken back."],
            danger=True,
        )
        return act_page(request, self.admin_site, act, [("API tokens", back)])


def shown_once(
    request: HttpRequest, *, title: str, secret: str, back: str, line: str, drawing: str = ""
) -> HttpResponse:
    """The only page that ever shows this text, or its drawing."""
    site = admin.site.each_context(request)
    context = {**site, "title": title, "secret": secret, "back": back, "line": line, "drawing": drawing}
    return TemplateResponse(request, "nx/shown_once.html", context)


# The kinds there are, one look into the index for each; DISTINCT would read every row of the log.
_KINDS = """WITH RECURSIVE kind(name) AS (
    (SELECT subject_kind FROM audit_event ORDER BY subject_kind LIMIT 1)
    UNION ALL
    SELECT (SELECT subject_kind FROM audit_event WHERE subject_kind > name ORDER BY subject_kind LIMIT 1)
    FROM kind WHERE name IS NOT NULL)
SELECT name FROM kind WHERE name IS NOT NULL"""


class SubjectFilter(admin.SimpleListFilter):
    title = "what it is about"
    parameter_name = "subject_kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        with connection.cursor() as cursor:
            cursor.execute(_KINDS)
            return [(name, name) for (name,) in cursor.fetchall()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(subject_kind=self.value()) if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(RecordAdmin):
    """What concerns no deployment. The database refuses changes as well."""

    in_menu = 50
    list_display = ("at", "actor", "action", "subject", "level", "message")
    list_filter = ("level", SubjectFilter)
    search_fields = ("actor__startswith", "action__startswith", "message")
    search_help_text = "Actor or action by their beginning, or a part of the message."
    fields = ("at", "actor", "action", "subject", "level", "message", "details")
    readonly_fields = fields
    sortable_by: ClassVar[tuple[str, ...]] = ()
    at = time_as("When", "created_at")

    @admin.display(description="About")
    def subject(self, event: AuditEvent) -> str:
        return f"{event.subject_kind} {event.subject_id}".strip()

    @admin.display(description="Details")
    def details(self, event: AuditEvent) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(event.meta, indent=2, ensure_ascii=False))


@admin.register(WorkerBeat)
class WorkerBeatAdmin(RecordAdmin):
    list_display = ("name", "part", "at")
    readonly_fields = ("at",)
    fields = ("name", "part", "at")
    at = time_as("Last proof of work", "beat_at", sortable=True)


@admin.register(Throttle)
class ThrottleAdmin(RecordAdmin):
    list_display = ("scope", "key", "until")
    fields = readonly_fields = ("scope", "key", "until")
    until = time_as("Some failures count until", "empty_at", sortable=True)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Throttle]:
        return super().get_queryset(request).exclude(scope=SAME_TOKEN.scope)


@admin.register(Counter)
class CounterAdmin(RecordAdmin):
    list_display = ("name", "labels", "total")
    fields = ("name", "labels", "total")


@admin.register(RecentCount)
class RecentCountAdmin(RecordAdmin):
    list_display = ("name", "labels", "at", "count")
    fields = ("name", "labels", "at", "count")
    readonly_fields = ("at",)
    at = time_as("Ten seconds from", "slot")
