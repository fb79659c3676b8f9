"""JSON from outside, before anybody reads it: no NUL, no lone surrogates, no NaN, bounded depth."""

from typing import Any

from pydantic_core import from_json

from mdm.problems import Invalid

NUL_ESCAPED = b"\\u0000"


class NotJson(Invalid):
    slug = "malformed_json"


def parse(raw: bytes) -> Any:
    """The value. NotJson."""
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise NotJson(f"The body is no valid JSON: {error}.") from None
    if NUL_ESCAPED in raw:
        _refuse_nul(value)
    return value


def check_nul(raw: bytes) -> None:
    """Invalid where a text in this JSON holds NUL, which PostgreSQL cannot store. Cheap where none does."""
    if NUL_ESCAPED in raw:
        parse(raw)


def _refuse_nul(value: Any) -> None:
    if isinstance(value, str) and "\0" in value:
        raise Invalid("A text in the body holds a NUL character.", slug="nul_character")
    if isinstance(value, dict):
        for name, part in value.items():
            _refuse_nul(name)
            _refuse_nul(part)
    elif isinstance(value, list):
        for part in value:
            _refuse_nul(part)
