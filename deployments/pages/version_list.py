"""What the list of versions says about deploying: the Deploy link of each row, and who has the version."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apks.models import ApkVersion
from deployments.pages import deploy_page
from devices.installed import Installed, installed
from mdm.admin_site import person

BAR_WIDTH = 100


def deploy_column(request: HttpRequest) -> Any:
    """Deploy as a real link; where it is not possible it stays, unavailable, with the reason beside it."""
    words = "Deploy" if person(request).may(deploy_page.MAY_START) else "Dry run"

    @admin.display(description="Deploy")
    def deploy(version: ApkVersion) -> SafeString:
        if reason := deploy_page.why_not(version):
            return format_html(
                '<a class="nx-button" role="link" aria-disabled="true" tabindex="0" aria-label="{} {}"'
                ' aria-describedby="nx-why-{}">{}</a> <span class="nx-quiet" id="nx-why-{}">Cannot be deployed.'
                " {}</span>",
                *(words, version, version.pk, words, version.pk, reason),
            )
        return format_html(
            '<a class="nx-button nx-primary" href="{}" data-dialog aria-haspopup="dialog" aria-label="{} {}">{}</a>',
            *(reverse("admin:apks_apkversion_deploy", args=[version.pk]), words, version, words),
        )

    return deploy


def devices_column() -> Any:
    """On how many devices: drawn and written, all rows out of one count."""
    found = installed()

    @admin.display(description="On devices")
    def on_devices(version: ApkVersion) -> SafeString:
        package, code = version.apk.package_name, version.version_code
        having, newer = found.having(package, code), found.newer(package, code)
        return format_html("{}{}", _share(having, found), _newer(newer))

    return on_devices


def _share(having: int, found: Installed) -> SafeString:
    width = having * BAR_WIDTH // found.devices if found.devices else 0
    return format_html(
        '<span class="nx-share"><span>{} <span class="nx-quiet">{}</span></span><svg class="nx-share-bar"'
        ' aria-hidden="true" viewBox="0 0 {} 8" preserveAspectRatio="none"><rect class="nx-fill-empty"'
        ' width="{}" height="8"/><rect class="nx-fill-in_progress" width="{}" height="8"/></svg></span>',
        f"{having:,}",
        _percent(having, found.devices),
        *(BAR_WIDTH, BAR_WIDTH, max(width, 2) if having else 0),
    )


def _newer(count: int) -> SafeString | str:
    """Whom this version would not reach."""
    have = "1 has" if count == 1 else f"{count:,} have"
    return format_html('<span class="nx-quiet">{} a newer one: excluded</span>', have) if count else ""


def _percent(part: int, whole: int) -> str:
    """Never 0 % of some, never 100 % of not all."""
    if not whole:
        return "no devices"
    if 0 < part * 100 < whole:
        return "< 1 %"
    return f"{part * 100 // whole} %"
