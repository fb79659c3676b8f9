"""The form of a deployment: target and window by hand, every other option read off the options schema."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.db import connection
from django.forms import BoundField
from pydantic import ValidationError

from deployments import window as windows
from deployments.option_fields import FIELDS, OptionField
from deployments.option_words import GROUPS
from deployments.options import DeploymentOptions, sentences
from devices.selection import Target
from mdm.problems import Invalid

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


def _input(option: OptionField) -> forms.Field:
    common: dict[str, Any] = {"label": option.label, "help_text": option.help, "initial": option.default}
    common["required"] = not option.nullable and option.kind not in ("boolean", "json")
    if option.kind in ("integer", "decimal"):
        common |= {"min_value": option.minimum, "max_value": option.maximum}
    if option.kind == "json":
        common |= {"widget": forms.Textarea(attrs={"rows": 2, "cols": 30}), "initial": option.default or {}}
    return _INPUTS[option.kind](**common)


def _labels(column: str) -> list[tuple[str, str]]:
    """Tags or groups that devices have."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT unnest({column}) AS label FROM device ORDER BY label")
        return [(row[0], row[0]) for row in cursor.fetchall()]


class _Zone(forms.CharField):
    """An IANA name; the page offers the known ones."""

    widget = forms.TextInput(attrs={"list": "nx-zones", "autocomplete": "off", "spellcheck": "false"})


class _LocalTime(forms.DateTimeField):
    """A wall clock time; its zone stands in an input of its own."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return found.replace(tzinfo=None) if isinstance(found, datetime) else found


class DeployForm(forms.Form):
    """Valid: `target` and `options` are what the domain takes. Names of options are their paths."""

    target_type = forms.ChoiceField(
        label="Target",
        choices=[("fleet", "Entire fleet"), ("selection", "Selected devices")],
        initial="fleet",
        widget=forms.RadioSelect,
    )
    query = forms.CharField(
        label="Search", required=False, max_length=200, help_text="Part of alias, serial or model."
    )
    tags = forms.MultipleChoiceField(label="Tags", required=False, help_text="Any one matches.")
    groups = forms.MultipleChoiceField(label="Groups", required=False, help_text="Any one matches.")
    installed_below = forms.IntegerField(
        label="Installed below",
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="Only devices whose known version code is lower.",
    )
    device_ids = forms.CharField(
        label="Device ids",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 30}),
        help_text="Added to what the filters match; separated by spaces or commas.",
    )
    exclude_ids = forms.CharField(
        label="Without ids",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 30}),
        help_text="Left out in any case.",
    )
    window_kind = forms.ChoiceField(
        label="Maintenance window",
        choices=[("none", "None: at any time"), ("recurring", "Every week"), ("absolute", "Once")],
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
        help_text="The next day's where it is not later than the opening.",
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
        for name in ("tags", "groups"):
            self._field(name).choices = _labels(name)

    def _field(self, name: str) -> Any:
        return self.fields[name]

    def option_groups(self) -> Iterator[tuple[str, list[tuple[BoundField, str]]]]:
        """Title and inputs with their unit, in the order of the schema."""
        for group, title in GROUPS.items():
            yield (
                title,
                [
                    (self[option.name], option.unit)
                    for option in FIELDS
                    if option.group == group and option.kind != "window"
                ],
            )

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
        given = self.cleaned_data
        wanted: dict[str, Any] = {"type": given["target_type"], "exclude_ids": _ids(given["exclude_ids"])}
        if given["target_type"] == "selection":
            names = ("tags", "groups", "query", "installed_below")
            wanted["filters"] = {name: given[name] or None for name in names}
            wanted["device_ids"] = _ids(given["device_ids"])
        try:
            self.target = Target.model_validate(wanted)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False, include_input=False):
                name = next((str(part) for part in detail["loc"] if part in self.fields), None)
                self.add_error(name, detail["msg"])


def _put(found: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        found = found.setdefault(parent, {})
    found[last] = value


def _ids(text: str) -> list[int | str]:
    return [part for part in re.split(r"[\s,;]+", text) if part]


class ReasonForm(forms.Form):
    """Why; kept in the log."""

    reason = forms.CharField(label="Reason", required=False, max_length=1000)
    expected_status = forms.CharField(widget=forms.HiddenInput, required=False)


class OverrideForm(ReasonForm):
    """Going on against a gate's verdict."""

    reason = forms.CharField(label="Reason", max_length=1000, help_text="Required; it is kept in the log.")
    looked = forms.BooleanField(label="I looked at the failures")


class PaceForm(forms.Form):
    rate = forms.IntegerField(
        label="Rate", min_value=1, max_value=100_000, help_text="Sends within any 60 seconds."
    )
    concurrency = forms.IntegerField(
        label="Concurrency", min_value=1, max_value=100_000, help_text="Devices at work at once."
    )
    expected_status = forms.CharField(widget=forms.HiddenInput, required=False)


class EngageForm(forms.Form):
    reason = forms.CharField(label="Reason", max_length=1000, help_text="Required; everybody sees it.")
    changed_at = forms.CharField(label="State", widget=forms.HiddenInput)

    def clean_changed_at(self) -> datetime:
        """Which state the person saw; the domain refuses where it is another by now."""
        try:
            return datetime.fromisoformat(self.cleaned_data["changed_at"])
        except ValueError:
            raise forms.ValidationError("Load the page again.") from None


class ReleaseForm(EngageForm):
    typed = forms.CharField(
        label="Type RESUME ALL", help_text="Deployments stay paused and are resumed one by one."
    )

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"]).strip()
        if typed != "RESUME ALL":
            raise forms.ValidationError("Type RESUME ALL, in capitals.")
        return typed
