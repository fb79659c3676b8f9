"""Tags and filters of our pages: times with their zone, drawn bars, the banner and the home panel."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django import template
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from deployments import details, home
from deployments.details import Group
from mdm.admin_site import person, time_html

register = template.Library()

BAR_WIDTH: Final = 1000
GAP: Final = 3
# A share too small to see would be a lie by omission.
LEAST: Final = 6

# 24 by 24, drawn with strokes in the colour of the text beside them.
_ICONS: Final = {
    "succeeded": "M5 13l4 4L19 7",
    "in_progress": "M4 12a8 8 0 0 1 14-5l2 2M20 4v5h-5M20 12a8 8 0 0 1-14 5l-2-2M4 20v-5h5",
    "queued": "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18M12 7v5l3 3",
    "failed": "M6 6l12 12M18 6L6 18",
    "skipped": "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18M6 6l12 12",
    "paused": "M8 5v14M16 5v14",
    "running": "M7 4l12 8l-12 8z",
    "complete": "M5 13l4 4L19 7",
    "canceled": "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18M6 6l12 12",
    "stop": "M8 3h8l5 5v8l-5 5H8l-5-5V8z",
    "warning": "M12 3L2 20h20zM12 10v4M12 17v.5",
}


@register.filter
def when(moment: datetime | None, missing: str = "–") -> SafeString:
    return time_html(moment, missing)


@register.filter
def grouped(number: int) -> str:
    """12345 as 12,345."""
    return f"{number:,}"


@register.filter
def cut(text: str | None, length: int) -> str:
    """Text of a device is untrusted and may be long."""
    text = text or ""
    return text if len(text) <= length else text[: length - 1] + "…"


@register.simple_tag
def icon(name: str) -> SafeString:
    return format_html(
        '<svg class="nx-icon" viewBox="0 0 24 24" width="16" height="16" aria-hidden="true" focusable="false">'
        '<path d="{}"/></svg>',
        _ICONS[name],
    )


@register.simple_tag
def progress_bar(counts: Mapping[str, int]) -> SafeString:
    """The five groups as one bar whose label says the same in words."""
    return bar(details.groups(counts))


def bar(groups: Iterable[Group]) -> SafeString:
    shown = [group for group in groups if group.count]
    label = ", ".join(f"{group.count:,} {group.label.lower()}" for group in shown) or "no devices yet"
    return format_html(
        '<svg class="nx-bar" role="img" aria-label="{}" viewBox="0 0 {} 20" preserveAspectRatio="none">'
        '<rect class="nx-fill-empty" width="{}" height="20"/>{}</svg>',
        label,
        BAR_WIDTH,
        BAR_WIDTH,
        format_html_join(
            "",
            '<rect class="nx-fill-{}" x="{}" width="{}" height="20"/>{}',
            ((name, x, width, _hatch(name, x, width)) for name, x, width in _segments(shown)),
        ),
    )


def _segments(groups: list[Group]) -> list[tuple[str, int, int]]:
    """Name, start and width of each: in proportion, none too small to see, a gap between neighbours."""
    room = BAR_WIDTH - GAP * (len(groups) - 1) - LEAST * len(groups)
    total = sum(group.count for group in groups)
    found, x = [], 0
    for group in groups:
        width = LEAST + room * group.count // total
        found.append((group.name, x, width))
        x += width + GAP
    return found


def _hatch(name: str, x: int, width: int) -> SafeString:
    """Failed differs by pattern as well as by colour."""
    starts = range(x, x + width - 9, 14) if name == "failed" else range(0)
    lines = [(start, start + 10) for start in starts]
    return format_html_join("", '<path class="nx-hatch" d="M{} 20L{} 0"/>', lines)


@register.simple_tag
def meter(part: int, whole: int, limit_pct: int, label: str) -> SafeString:
    """A share of a whole as a bar with its limit as a line; the numbers stand in `label`."""
    share = min(BAR_WIDTH, part * BAR_WIDTH // whole) if whole else 0
    return format_html(
        '<svg class="nx-meter" role="img" aria-label="{}" viewBox="0 0 {} 20" preserveAspectRatio="none">'
        '<rect class="nx-fill-empty" width="{}" height="20"/><rect class="nx-fill-share" width="{}" height="20"/>'
        '<path class="nx-limit" d="M{} 0V20"/></svg>',
        label,
        BAR_WIDTH,
        BAR_WIDTH,
        share,
        limit_pct * BAR_WIDTH // 100,
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
    return {"switch": home.kill_switch_on()}


@register.inclusion_tag("nx/_home.html", takes_context=True)
def home_panel(context: Mapping[str, Any]) -> dict[str, Any]:
    """What needs a person now, or the first three steps."""
    request = context["request"]
    actor = person(request)
    if not actor.may("deployments.view_deployment"):
        return {}
    return {"home": home.overview(), "request": request, "perms": context.get("perms")}


@register.inclusion_tag("nx/_device_deployments.html", takes_context=True)
def device_deployments(context: Mapping[str, Any], device_id: int) -> dict[str, Any]:
    """Why a device has not got what is on its way to it, and what it got before."""
    actor = person(context["request"])
    if not actor.may("deployments.view_deploymenttask"):
        return {}
    return {"rows": home.of_device(device_id)}
