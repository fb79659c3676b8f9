"""The form of a deployment: target and window by hand, every other option read off the options schema."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.forms import BoundField
from pydantic import ValidationError

from deployments.rules import window as windows
from deployments.rules.option_fields import FIELDS, OptionField
from deployments.rules.option_words import GROUPS
from deployments.rules.options import DeploymentOptions, sentences
from devices.selection import Filters, Target
from mdm.problems import Invalid

FLEET, MATCHING, TICKED = "fleet", "matching", "ticked"
LABELS: Final = ("tags", "groups", "models")
# What most deployments are told apart by; the others wait behind "More".
_FIRST: Final = frozenset(
    {
        "canary", "rate", "concurrency", "failure_pct", "retry.max", "wifi_only", "charging_only", "min_battery",
        "allow_rollback", "health_within_min", "max_per_group",
    }
)  # fmt: skip
# A list of boxes is easier than a list to hold Ctrl in, as long as it can be looked through.
_BOXES_UP_TO: Final = 50

_INPUTS: Final[dict[str, type[forms.Field]]] = {
    "integer": forms.IntegerField,
    "decimal": forms.FloatField,
    "boolean": forms.BooleanField,
    "text": forms.CharField,
    "json": forms.JSONField,
}
_DAYS: Final = list(zip(windows.DAYS, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), strict=True))
# Which input a sentence about a part of the window belongs to.
_WINDOW_INPUTS: Final = {
    "window.days": "window_days",
    "window.start": "window_start",
    "window.end": "window_end",
    "window.tz": "window_tz",
    "window.start_iso": "window_from",
    "window.end_iso": "window_until",
    "window": "window_kind",
}


@dataclass(frozen=True, slots=True)
class Group:
    """A numbered part of the form: inputs with their units, the usual ones and the others."""

    name: str
    title: str
    first: list[tuple[BoundField, str]]
    more: list[tuple[BoundField, str]]


def _input(option: OptionField) -> forms.Field:
    common: dict[str, Any] = {"label": option.label, "help_text": option.help, "initial": option.default}
    common["required"] = not option.nullable and option.kind not in ("boolean", "json")
    if option.kind in ("integer", "decimal"):
        common |= {"min_value": option.minimum, "max_value": option.maximum}
    if option.kind == "json":
        common |= {"widget": forms.Textarea(attrs={"rows": 2, "cols": 30}), "initial": option.default or {}}
    if option.kind == "text":
        common["empty_value"] = None
    return _INPUTS[option.kind](**common)


class _Labels(forms.MultipleChoiceField):
    """Labels of devices. One that no device has any more is no mistake: it matches nobody. None holds NUL."""

    def valid_value(self, value: Any) -> bool:
        return "\0" not in str(value)


class _Zone(forms.CharField):
    """An IANA name; the page offers the known ones."""

    widget = forms.TextInput(attrs={"list": "nx-zones", "autocomplete": "off", "spellcheck": "false"})


class _LocalTime(forms.DateTimeField):
    """A wall clock time; its zone stands in an input of its own."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return found.replace(tzinfo=None) if isinstance(found, datetime) else found


class _Ids(forms.CharField):
    widget = forms.Textarea(attrs={"rows": 2, "cols": 30, "spellcheck": "false"})


class DeployForm(forms.Form):
    """Valid: `target` and `options` are what the domain takes. Names of options are their paths."""

    target_type = forms.ChoiceField(
        label="Target",
        choices=[
            (FLEET, "Entire fleet"),
            (MATCHING, "Selected devices: all that match"),
            (TICKED, "Selected devices: those I tick"),
        ],
        initial=FLEET,
        widget=forms.RadioSelect,
    )
    query = forms.CharField(
        label="Search",
        required=False,
        max_length=200,
        help_text="Part of alias, serial or model.",
        widget=forms.TextInput(attrs={"type": "search"}),
    )
    groups = _Labels(label="Groups", required=False)
    tags = _Labels(label="Tags", required=False)
    models = _Labels(label="Models", required=False)
    installed_below = forms.IntegerField(
        label="Version code below",
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="Of this package, as installed.",
    )
    device_ids = _Ids(
        label="Ticked, by id", required=False, help_text="Ids of devices, by spaces or commas apart."
    )
    exclude_ids = _Ids(
        label="Left out, by id", required=False, help_text="Never in it, by spaces or commas apart."
    )
    window_kind = forms.ChoiceField(
        label="Maintenance window",
        choices=[("none", "At any time"), ("recurring", "Every week"), ("absolute", "Once")],
        initial="none",
        widget=forms.RadioSelect,
    )
    window_days = forms.MultipleChoiceField(
        label="Days", choices=_DAYS, required=False, widget=forms.CheckboxSelectMultiple
    )
    window_start = forms.CharField(
        label="Opens", required=False, widget=forms.TimeInput(attrs={"type": "time"})
    )
    window_end = forms.CharField(
        label="Closes",
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}),
        help_text="The next day where it is not later than the opening.",
    )
    window_from = _LocalTime(label="From", required=False)
    window_until = _LocalTime(label="Until", required=False)
    window_tz = _Zone(
        label="Time zone",
        required=False,
        initial="UTC",
        help_text="Such as Europe/Berlin; every week also “device”: each device's own.",
    )

    target: Target
    options: DeploymentOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        for option in FIELDS:
            if option.kind != "window":
                self.fields[option.name] = _input(option)
        for name, field in self.fields.items():
            described = [f"nx-wrong-{slug(name)}"]
            if field.help_text:
                described.insert(0, f"id_{name}_helptext")
            field.widget.attrs["aria-describedby"] = " ".join(described)

    def offer(self, name: str, labels: list[str]) -> None:
        """Shows these labels to choose from, and those that were chosen though no device has them any more."""
        chosen = self[name].value() or []
        offered = sorted({*labels, *chosen}, key=lambda label: (label.casefold(), label))
        field: Any = self.fields[name]
        if len(offered) <= _BOXES_UP_TO:
            field.widget = forms.CheckboxSelectMultiple()
        field.choices = [(label, label) for label in offered]

    def groups_of_options(self) -> Iterator[Group]:
        """In the order of the schema; a part that has no title there is named after itself."""
        for name in dict.fromkeys([*GROUPS, *(option.group for option in FIELDS)]):
            here = [option for option in FIELDS if option.group == name and option.kind != "window"]
            first = {option.name for option in here if option.name in _FIRST or name == "after"}
            yield Group(
                name=name,
                title=GROUPS.get(name, name.capitalize()),
                first=[(self[option.name], option.unit) for option in here if option.name in first],
                more=[(self[option.name], option.unit) for option in here if option.name not in first],
            )

    def valid_filters(self) -> Filters | None:
        """None where there is none, and where they are wrong."""
        try:
            return self._filters() if self.is_bound else None
        except ValidationError:
            return None

    def _filters(self) -> Filters | None:
        given = self.cleaned_data
        names = (*LABELS, "query", "installed_below")
        found = Filters.model_validate({name: given.get(name) or None for name in names})
        return found if found.model_dump(exclude_none=True) else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            self.options = DeploymentOptions.from_json(self._option_values())
        except ValidationError as error:
            for path, sentence in sentences(error).items():
                self.add_error(self._input_of(path), sentence)
        except Invalid as problem:
            self.add_error(problem.slug, problem.detail)
        self._read_target()
        return cleaned

    def _input_of(self, path: str) -> str | None:
        known = _WINDOW_INPUTS.get(path, path)
        return known if known in self.fields else None

    def _option_values(self) -> dict[str, Any]:
        found: dict[str, Any] = {"window": self._window()}
        for option in FIELDS:
            if option.kind != "window":
                _put(found, option.name, self.cleaned_data.get(option.name))
        intent = found["post_install"]["restart_intent"]
        if not intent["action"]:
            if intent["extras"]:
                raise Invalid("Extras want a restart intent.", slug="post_install.restart_intent.action")
            found["post_install"] = {}
        return found

    def _window(self) -> dict[str, Any] | None:
        given = self.cleaned_data
        if given["window_kind"] == "recurring":
            return {
                "days": given["window_days"],
                "start": given["window_start"],
                "end": given["window_end"],
                "tz": given["window_tz"],
            }
        if given["window_kind"] == "absolute":
            return {"start_iso": self._instant("window_from"), "end_iso": self._instant("window_until")}
        return None

    def _instant(self, name: str) -> str:
        local, zone = self.cleaned_data[name], self.cleaned_data["window_tz"]
        if local is None:
            raise Invalid("Give date and time.", slug=name)
        if zone not in windows.zone_names():
            raise Invalid("Give an IANA time zone such as Europe/Berlin.", slug="window_tz")
        return str(local.replace(tzinfo=ZoneInfo(zone)).isoformat())

    def _read_target(self) -> None:
        try:
            self.target = Target.model_validate(self._wanted())
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False, include_input=False):
                name = next((str(part) for part in detail["loc"] if part in self.fields), None)
                self.add_error(name, detail["msg"])
        except Invalid as problem:
            self.add_error(problem.slug, problem.detail)

    def _wanted(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given["target_type"] == TICKED:
            ticked = ids_in(given["device_ids"])
            if not ticked:
                raise Invalid("Tick at least one device.", slug="device_ids")
            return {"type": "selection", "device_ids": ticked}
        wanted: dict[str, Any] = {"type": FLEET, "exclude_ids": ids_in(given["exclude_ids"])}
        if given["target_type"] == MATCHING:
            filters = self._filters()
            if filters is None:
                raise Invalid("Set at least one filter, or choose the entire fleet.", slug="query")
            wanted |= {"type": "selection", "filters": filters}
        return wanted


def slug(name: str) -> str:
    """An input's name as part of an id that selectors can name."""
    return name.replace(".", "-")


def ids_in(text: str) -> list[int | str]:
    return [part for part in re.split(r"[\s,;]+", text) if part]


def _put(found: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        found = found.setdefault(parent, {})
    found[last] = value
