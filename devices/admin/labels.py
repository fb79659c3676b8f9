"""The input for tags and groups."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError as FormError

from mdm.wire_types import listed


class LabelsField(forms.CharField):
    """Tags or groups, one per line, as a list."""

    widget = forms.Textarea(attrs={"rows": 3})

    def __init__(self) -> None:
        super().__init__(required=False, max_length=6_000, help_text="One per line.")

    def to_python(self, value: Any) -> Any:
        return listed((super().to_python(value) or "").splitlines())

    def run_validators(self, value: Any) -> None:
        if any(len(label) > 60 for label in value):
            raise FormError("None may be longer than 60 characters.")

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value
