"""Packages and their versions. The list of versions is registered by deployments, which adds Deploy."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apks import allowlist, publishing
from apks.models import Apk, ApkArtifact, ApkVersion
from mdm.admin_site import Act, CarryOut, RecordAdmin, act_page, found, person, shown_as, time_as, time_html


class PackageForm(forms.Form):
    package_name = forms.CharField(max_length=223, help_text="Such as com.example.app.")
    display_name = forms.CharField(max_length=100, required=False, help_text="What people call it.")


@admin.register(Apk)
class ApkAdmin(RecordAdmin):
    """The allowlist: only managed packages may be uploaded and deployed."""

    in_menu = 21
    add_words = "Put a package on the allowlist"
    none_words = "No package yet. Only versions of packages on this allowlist can be uploaded and deployed."
    list_display = ("display_name", "package_name", "on_allowlist", "signer", "change")
    list_filter = ("managed",)
    search_fields = ("package_name", "display_name")
    fields = ("package_name", "display_name", "on_allowlist", "signer_sha256", "created")
    readonly_fields = fields
    created = time_as("Created", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("apks.manage_apk")

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return shown if self.has_add_permission(request) else [name for name in shown if name != "change"]

    @admin.display(description="Allowlist", ordering="managed")
    def on_allowlist(self, apk: Apk) -> str:
        return "managed" if apk.managed else "not managed: refused at upload and deploy"

    @admin.display(description="Signer")
    def signer(self, apk: Apk) -> str:
        return f"{apk.signer_sha256[:16]}…" if apk.signer_sha256 else "pinned by the first upload"

    @admin.display(description="Change")
    def change(self, apk: Apk) -> SafeString:
        name, words = ("unmanage", "Take off…") if apk.managed else ("manage", "Put on…")
        address = reverse(f"admin:apks_apk_{name}", args=[apk.pk])
        return format_html('<a href="{}" aria-label="{} {}">{}</a>', address, words, apk, words)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/manage/", view(self.manage_view), name="apks_apk_manage"),
            path("<int:pk>/unmanage/", view(self.unmanage_view), name="apks_apk_unmanage"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        def carry_out(data: Mapping[str, Any]) -> str:
            apk = allowlist.manage_package(person(request), data["package_name"], data["display_name"])
            return f"{apk.package_name} is on the allowlist."

        return self._page(
            request,
            "Put a package on the allowlist",
            "Put on the allowlist",
            carry_out,
            ["Its first upload pins the signer."],
            form_class=PackageForm,
        )

    def manage_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        apk = found(self, request, pk)

        def carry_out(_: Mapping[str, Any]) -> str:
            allowlist.manage_package(person(request), apk.package_name)
            return f"{apk.package_name} is on the allowlist."

        lines = ["Its versions may be deployed again. Paused deployments are resumed one by one."]
        return self._page(request, f"Put {apk} on the allowlist", "Put on the allowlist", carry_out, lines)

    def unmanage_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        apk = found(self, request, pk)

        def carry_out(_: Mapping[str, Any]) -> str:
            allowlist.unmanage_package(person(request), apk.package_name)
            return f"{apk.package_name} is off the allowlist."

        lines = [
            "Its queued and running deployments pause at once.",
            "Uploads and new deployments are refused.",
        ]
        title = f"Take {apk} off the allowlist"
        return self._page(request, title, "Take off the allowlist", carry_out, lines, danger=True)

    def _page(
        self,
        request: HttpRequest,
        title: str,
        button: str,
        carry_out: CarryOut,
        lines: list[str],
        **more: Any,
    ) -> HttpResponse:
        back = reverse("admin:apks_apk_changelist")
        act = Act(title, button, back, "apks.manage_apk", carry_out, lines, **more)
        return act_page(request, self.admin_site, act, [("Packages", back)])


class UploadForm(forms.Form):
    file = forms.FileField(label="APK", help_text="Signed with v2, v3 or v3.1.")
    notes = forms.CharField(
        required=False, widget=forms.Textarea(attrs={"rows": 3}), max_length=publishing.MAX_NOTES
    )
    rebuild_of = forms.ModelChoiceField(
        ApkVersion.objects.select_related("apk"),
        required=False,
        help_text="The good older version whose code this is, with a higher version code.",
    )


class WithdrawForm(forms.Form):
    reason = forms.CharField(max_length=allowlist.MAX_REASON, help_text="Required; everybody sees it.")


def _warning(version: ApkVersion) -> str:
    return "Warning: debuggable build. " if version.debuggable else ""


class ApkVersionAdmin(RecordAdmin):
    """Versions are uploaded and withdrawn, nothing else about them changes."""

    in_menu = 20
    add_words = "Upload an APK"
    none_words = "No APK yet. Upload one; it is checked for package name, version code and signing key."
    list_display = ("app", "version", "in_short", "size", "least_api", "signer", "uploaded", "withdraw")
    list_display_links = ("version",)
    list_select_related = ("apk", "uploaded_by")
    search_help_text = "Part of package, name or version."
    search_fields = ("apk__package_name", "apk__display_name", "version_name")
    fields = (
        "apk", "version_name", "version_code", "state", "size", "least_api", "target_api", "processors", "build",
        "digest", "certificate", "schemes", "rebuild_of", "notes", "uploaded", "download_url",
    )  # fmt: skip
    readonly_fields = fields
    least_api = shown_as("Android API", "min_sdk")
    target_api = shown_as("Made for Android API", "target_sdk")
    processors = shown_as("Processors", "abis")
    digest = shown_as("SHA-256 of the file", "sha256")
    certificate = shown_as("SHA-256 of the signer's certificate", "signer_sha256")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("apks.upload_apkversion")

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        may = request.user.has_perm("apks.withdraw_apkversion")
        return shown if may else [name for name in shown if name != "withdraw"]

    @admin.display(description="App", ordering="apk__display_name")
    def app(self, version: ApkVersion) -> str:
        return str(version.apk)

    @admin.display(description="Version", ordering="version_code")
    def version(self, version: ApkVersion) -> str:
        return f"{version.version_name} ({version.version_code})"

    @admin.display(description="Size", ordering="size_bytes")
    def size(self, version: ApkVersion) -> str:
        return filesizeformat(version.size_bytes)

    @admin.display(description="Signer")
    def signer(self, version: ApkVersion) -> str:
        return "pinned" if version.signer_sha256 == version.apk.signer_sha256 else "older key"

    @admin.display(description="Uploaded", ordering="created_at")
    def uploaded(self, version: ApkVersion) -> SafeString:
        by = version.uploaded_by.get_username() if version.uploaded_by else "system"
        return format_html("{} by {}", time_html(version.created_at), by)

    @admin.display(description="State")
    def in_short(self, version: ApkVersion) -> str:
        """Why it cannot be deployed stands beside Deploy."""
        return _warning(version) + ("withdrawn" if version.withdrawn_at else "") or "ready"

    @admin.display(description="State")
    def state(self, version: ApkVersion) -> str | SafeString:
        if not version.withdrawn_at:
            return self.in_short(version)
        at = time_html(version.withdrawn_at)
        return format_html("{}withdrawn {}: {}", _warning(version), at, version.withdrawn_reason)

    @admin.display(description="Build")
    def build(self, version: ApkVersion) -> str:
        if version.debuggable:
            return "Warning, debuggable: anybody with the device in hand can look into the app."
        return "release"

    @admin.display(description="Signature schemes")
    def schemes(self, version: ApkVersion) -> str:
        return ", ".join(version.signature_info.get("schemes", []))

    @admin.display(description="Withdraw")
    def withdraw(self, version: ApkVersion) -> str | SafeString:
        if version.withdrawn_at:
            return ""
        address = reverse("admin:apks_apkversion_withdraw", args=[version.pk])
        return format_html('<a href="{}" aria-label="Withdraw {}">Withdraw…</a>', address, version)

    def get_urls(self) -> list[URLPattern]:
        withdraw = self.admin_site.admin_view(self.withdraw_view)
        return [path("<int:pk>/withdraw/", withdraw, name="apks_apkversion_withdraw"), *super().get_urls()]

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        def carry_out(data: Mapping[str, Any]) -> str:
            original = data["rebuild_of"]
            version, new = publishing.publish(
                person(request),
                data["file"],
                rebuild_of=original.pk if original else None,
                notes=data["notes"],
            )
            warning = " It is a debuggable build." if version.debuggable else ""
            return f"{version} {'was uploaded' if new else 'was there already'}.{warning}"

        back = reverse("admin:apks_apkversion_changelist")
        act = Act(
            title="Upload an APK",
            button="Upload",
            back=back,
            permission="apks.upload_apkversion",
            carry_out=carry_out,
            form_class=UploadForm,
            lines=["Package, version code and signing key are read from the file and checked."],
        )
        return act_page(request, self.admin_site, act, [("APK versions", back)])

    def withdrawal_lines(self, version: ApkVersion) -> list[str]:
        """What a withdrawal does, and to whom."""
        return ["Nobody gets this version any more; devices that have it keep it."]

    def withdraw_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        version = found(self, request, pk)
        back = reverse("admin:apks_apkversion_changelist")
        may = person(request).may("apks.withdraw_apkversion")
        if version.withdrawn_at and may and request.method != "POST":
            messages.warning(request, f"{version} was withdrawn already: {version.withdrawn_reason}")
            return HttpResponseRedirect(back)

        def carry_out(data: Mapping[str, Any]) -> str:
            allowlist.withdraw(person(request), pk, data["reason"])
            if version.withdrawn_at:
                return f"{version} was withdrawn already: {version.withdrawn_reason}"
            return f"{version} is withdrawn."

        act = Act(
            title=f"Withdraw {version}",
            button="Withdraw version",
            back=back,
            permission="apks.withdraw_apkversion",
            carry_out=carry_out,
            form_class=WithdrawForm,
            lines=[*self.withdrawal_lines(version), "It cannot be taken back; upload a new build."],
            danger=True,
        )
        return act_page(request, self.admin_site, act, [("APK versions", back)])


@admin.register(ApkArtifact)
class ApkArtifactAdmin(RecordAdmin):
    list_display = ("storage_name", "apk_version", "abi", "size_bytes")
    list_select_related = ("apk_version__apk",)
    search_fields = ("sha256__startswith", "apk_version__apk__package_name")
    fields = ("apk_version", "abi", "sha256", "size_bytes", "storage_name")
