"""The options of a deployment in words, for its page: every one of them, in the order of the form."""

from collections.abc import Mapping
from typing import Any, Final

from deployments.rules.option_fields import FIELDS, OptionField
from deployments.rules.window import parse_instant

GROUPS: Final = {
    "rollout": "Rollout",
    "conditions": "Device conditions",
    "after": "After the update",
    "time limits": "Time limits",
}


_EMPTY: Final = {"min_free_mb": "by the size of the APK", "spread_groups": "every group"}


def in_words(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value, unit included."""
    return [(field.label, _value(field, _at(options, field.name))) for field in FIELDS]


def _at(options: Mapping[str, Any], path: str) -> Any:
    found: Any = options
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _value(field: OptionField, value: Any) -> str:
    if field.kind == "window":
        return window_words(value)
    if value is None or value == {}:
        return _EMPTY.get(field.name, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return f"{text} {field.unit}".strip()


def window_words(window: Mapping[str, Any] | None) -> str:
    """The window as it was asked for: "Mon, Tue 22:00–05:00 Europe/Berlin", or two instants."""
    if window is None:
        return "at any time"
    if "start_iso" in window:
        return " to ".join(_instant(window[name]) for name in ("start_iso", "end_iso"))
    zone = "each device's own zone" if window["tz"] == "device" else window["tz"]
    days = ", ".join(day.capitalize() for day in window["days"])
    return f"{days} {window['start']}–{window['end']}, {zone}"


def _instant(text: str) -> str:
    return f"{parse_instant(text):%-d %b %Y %H:%M} UTC"
