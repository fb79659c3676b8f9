"""Tags and filters of our pages: times with their zone, drawings, the banner and the home panel."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deployments.pages import deploy_form, details, device_deployments, drawing, home
from deployments.rules import wording
from mdm.admin_site import NO_BREAK, person, time_html

register = template.Library()
register.simple_tag(drawing.icon)
register.simple_tag(drawing.meter)
register.simple_tag(drawing.sparkline)


@register.filter
def when(moment: datetime | None, missing: str = "–") -> SafeString:
    return time_html(moment, missing)


@register.filter
def when_short(moment: datetime, now: datetime) -> SafeString:
    """Where there is little room: without the year while it is this one."""
    return _short(moment, now, f"%H:%M:%S{NO_BREAK}%Z")


@register.filter
def when_column(moment: datetime, now: datetime) -> SafeString:
    """The same in a column whose head names the zone."""
    return _short(moment, now, "%H:%M:%S")


def _short(moment: datetime, now: datetime, clock: str) -> SafeString:
    day = "%-d %b" if moment.year == now.year else "%-d %b %Y"
    words = moment.strftime(f"{day} {clock}")
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(timespec="seconds"), words)


@register.filter
def ago(moment: datetime, now: datetime) -> SafeString:
    """ "3 min ago", with the moment itself for machines and on pointing."""
    words = f"{wording.since(moment, now)} ago"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        moment.strftime("%-d %b %Y %H:%M:%S UTC"),
        words,
    )


@register.filter
def grouped(number: int) -> str:
    """12345 as 12,345."""
    return f"{number:,}"


@register.filter
def cut(text: str | None, length: int) -> str:
    """Text of a device is untrusted and may be long."""
    text = text or ""
    return text if len(text) <= length else text[: length - 1] + "…"


@register.filter
def name(actor: str) -> str:
    """Who did something, as people know them: the log has `user:ada` and `device:7`."""
    return "the device" if actor.startswith("device:") else actor.removeprefix("user:")


@register.filter
def slug(name: str) -> str:
    return deploy_form.slug(name)


@register.filter
def in_groups(counts: Mapping[str, int]) -> str:
    """ "2 succeeded, 6 queued": the groups that somebody is in, as the bar draws them."""
    shown = [f"{group.count:,} {group.label.lower()}" for group in details.groups(counts) if group.count]
    return ", ".join(shown) or "none"


@register.simple_tag
def progress_bar(counts: Mapping[str, int]) -> SafeString:
    """The five groups as one bar whose label says the same in words."""
    return drawing.bar(details.groups(counts))


@register.simple_tag
def dry_run_bar(result: Mapping[str, Any]) -> SafeString:
    """The three classes of a dry run in the colours of what becomes of them."""
    shares = (
        ("in_progress", "will update", result["will_update"]),
        ("queued", "will start later", result["later_count"]),
        ("skipped", "excluded", result["excluded_count"]),
    )
    return drawing.bar(
        details.Group(name=name, label=label, count=count, statuses="", parts="")
        for name, label, count in shares
    )


def _signed_in(request: HttpRequest) -> bool:
    """False, too, for a request refused before anybody was looked up, such as one for a foreign host."""
    user = getattr(request, "user", None)
    return user is not None and user.is_active and user.is_staff


@register.inclusion_tag("nx/_banner.html", takes_context=True)
def fleet_banner(context: Mapping[str, Any]) -> dict[str, Any]:
    """What every page says while the kill switch is on."""
    request = context.get("request")
    if request is None or not _signed_in(request):
        return {}
    switch = home.kill_switch_on()
    may_release = switch is not None and person(request).may("deployments.release_kill_switch")
    return {"switch": switch, "may_release": may_release}


@register.inclusion_tag("nx/_home.html", takes_context=True)
def home_panel(context: Mapping[str, Any]) -> dict[str, Any]:
    """What needs a person now, or the first three steps."""
    request = context["request"]
    actor = person(request)
    if not actor.may("deployments.view_deployment"):
        return {}
    return {"home": home.overview(), "request": request, "perms": context.get("perms")}


@register.inclusion_tag("nx/_device_deployments.html", takes_context=True)
def deployments_of_device(context: Mapping[str, Any], device_id: int) -> dict[str, Any]:
    """Why a device has not got what is on its way to it, and what it got before."""
    actor = person(context["request"])
    if not actor.may("deployments.view_deploymenttask"):
        return {}
    return {"rows": device_deployments.of_device(device_id), "now": timezone.now()}
