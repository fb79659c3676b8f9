"""Small drawings as inline SVG: icons, bar, meter, sparkline. Each says in words what it shows."""

from collections.abc import Iterable, Sequence
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from deployments.pages.details import Group

BAR_WIDTH: Final = 1000
GAP: Final = 3
# A share too small to see would be a lie by omission.
LEAST: Final = 6
SPARK_WIDTH: Final = 590
SPARK_HEIGHT: Final = 60

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
    "done": "M5 13l4 4L19 7",
    "now": "M7 4l12 8l-12 8z",
    "held": "M8 5v14M16 5v14",
    "ahead": "M12 5a7 7 0 1 0 0 14a7 7 0 1 0 0-14",
    "ascending": "M12 20V5M5 12l7-7l7 7",
    "descending": "M12 4v15M5 12l7 7l7-7",
    "stop": "M8 3h8l5 5v8l-5 5H8l-5-5V8zM8 12h8",
    "warning": "M12 3L2 20h20zM12 10v4M12 17v.5",
}


def icon(name: str) -> SafeString:
    return format_html(
        '<svg class="nx-icon nx-icon-{}" viewBox="0 0 24 24" aria-hidden="true"><path d="{}"/></svg>',
        name,
        _ICONS[name],
    )


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
        if group is groups[-1]:
            width = BAR_WIDTH - x  # what rounding has left over
        found.append((group.name, x, width))
        x += width + GAP
    return found


def _hatch(name: str, x: int, width: int) -> SafeString:
    """Failed differs by pattern as well as by colour."""
    starts = range(x, x + width - 9, 14) if name == "failed" else range(0)
    lines = [(start, start + 10) for start in starts]
    return format_html_join("", '<path class="nx-hatch" d="M{} 20L{} 0"/>', lines)


def meter(part: int, whole: int, limit_pct: int, label: str) -> SafeString:
    """A share of a whole as a bar with its limit as a line; the numbers stand in `label`. Drawn to three times the
    limit, or beyond the share where that is more, so that a small limit can be seen."""
    share = part * 100 / whole if whole else 0.0
    full = min(100.0, max(3.0 * limit_pct, 1.25 * share, 10.0))
    return format_html(
        '<svg class="nx-meter" role="img" aria-label="{}" viewBox="0 0 {} 20" preserveAspectRatio="none">'
        '<rect class="nx-fill-empty" width="{}" height="20"/><rect class="nx-fill-share" width="{}" height="20"/>'
        '<path class="nx-limit-rim" d="M{} 0V20"/><path class="nx-limit" d="M{} 0V20"/></svg>',
        label,
        BAR_WIDTH,
        BAR_WIDTH,
        round(share * BAR_WIDTH / full),
        *([round(min(limit_pct, full) * BAR_WIDTH / full)] * 2),
    )


def sparkline(values: Sequence[int], label: str) -> SafeString:
    """One line through the values, oldest first, as high as the largest of them. Within a level stretch only its ends
    are points: the page is asked for again every two seconds."""
    top, step = max(*values, 1), SPARK_WIDTH // (len(values) - 1)
    heights = [SPARK_HEIGHT - 4 - value * (SPARK_HEIGHT - 8) // top for value in values]
    points = " ".join(
        f"{index * step},{height}"
        for index, height in enumerate(heights)
        if index in (0, len(heights) - 1) or not heights[index - 1] == height == heights[index + 1]
    )
    return format_html(
        '<svg class="nx-spark" role="img" aria-label="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">'
        '<polyline points="{}"/></svg>',
        label,
        SPARK_WIDTH,
        SPARK_HEIGHT,
        points,
    )
