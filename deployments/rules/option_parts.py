"""The parts of the options: window, restart intent, retry; and the rule that null means the default."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from deployments.rules import window as windows

MAX_EXTRAS_BYTES: Final = 1_024
MAX_EXTRAS_DEPTH: Final = 16
# A wire name, as agents and Android write actions: dotted words.
ACTION_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$"
_WORDS: Final = ("title", "description", "default", "group", "unit")


def _nullable(schema: dict[str, Any]) -> None:
    """Null is the default everywhere, and OpenAPI has to say so."""
    for name, part in schema.get("properties", {}).items():
        words = {key: part.pop(key) for key in _WORDS if key in part}
        if name in schema.get("required", []) or {"type": "null"} in part.get("anyOf", [part]):
            schema["properties"][name] = part | words
        else:
            schema["properties"][name] = {"anyOf": [part, {"type": "null"}], **words}


class Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, json_schema_extra=_nullable
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if value is not None}
        return data


def option(group: str, label: str, default: Any, words: str, unit: str = "", **bounds: Any) -> Any:
    """A field with what a form shows beside it."""
    return Field(
        default=default,
        title=label,
        description=words,
        json_schema_extra={"group": group, "unit": unit} if unit else {"group": group},
        **bounds,
    )


# The window.


def _checked(check: Any) -> AfterValidator:
    """A validator out of a function that raises ValueError with a sentence; the value stays as given."""

    def validate(value: Any) -> Any:
        try:
            check(value)
        except ValueError as error:
            raise PydanticCustomError("window", "{sentence}", {"sentence": str(error)}) from None
        return value

    return AfterValidator(validate)


_Instant = Annotated[str, _checked(windows.parse_instant)]
_Clock = Annotated[str, _checked(windows.parse_clock)]
_window_rules = _checked(lambda part: windows.parse(part.model_dump()))


class AbsoluteWindow(Part):
    """Open once, from `start_iso` until before `end_iso`, both with offset."""

    start_iso: _Instant = Field(description="When it opens, ISO 8601 with offset.")
    end_iso: _Instant = Field(description="When it closes, ISO 8601 with offset.")


class RecurringWindow(Part):
    """Open on `days` by the local wall clock; a night belongs to the day on which it starts."""

    days: Annotated[list[str], _checked(windows.parse_days)] = Field(
        description="Days on which it opens: mon, tue, wed, thu, fri, sat, sun.",
        json_schema_extra={"items": {"enum": list(windows.DAYS)}, "uniqueItems": True, "minItems": 1},
    )
    start: _Clock = Field(description="When it opens, HH:MM.")
    end: _Clock = Field(description="When it closes, HH:MM; the next day's where it is not later than start.")
    tz: Annotated[str, _checked(windows.parse_zone)] = Field(
        description='IANA time zone such as Europe/Berlin, or "device" for each device\'s own.'
    )


def _kind_of_window(value: object) -> str | None:
    if isinstance(value, BaseModel):
        return "absolute" if isinstance(value, AbsoluteWindow) else "recurring"
    keys = value.keys() if isinstance(value, Mapping) else frozenset[str]()
    if keys & AbsoluteWindow.model_fields.keys():
        return "absolute"
    return "recurring" if keys & RecurringWindow.model_fields.keys() else None


WindowOption = Annotated[
    Annotated[AbsoluteWindow, _window_rules, Tag("absolute")]
    | Annotated[RecurringWindow, _window_rules, Tag("recurring")],
    Discriminator(
        _kind_of_window,
        custom_error_type="window",
        custom_error_message="Give start_iso and end_iso, or days, start, end and tz.",
    ),
]


# After the installation.


def _storable(value: JsonValue, depth: int = 0) -> None:
    if depth > MAX_EXTRAS_DEPTH:
        raise ValueError(f"Nested deeper than {MAX_EXTRAS_DEPTH} levels.")
    if isinstance(value, str) and ("\0" in value or not _encodable(value)):
        raise ValueError("Text must be Unicode without NUL characters.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("Numbers must be finite.")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("Integers must fit 64 bits.")
    for inner in _inside(value):
        _storable(inner, depth + 1)


def _inside(value: JsonValue) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _extras(value: object) -> object:
    """A JSON object of at most 1 KB that PostgreSQL and an Android bundle can hold."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise PydanticCustomError("extras", "Give a JSON object.")
    try:
        _storable(value)
    except ValueError as error:
        raise PydanticCustomError("extras", "{sentence}", {"sentence": str(error)}) from None
    if len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_EXTRAS_BYTES:
        raise PydanticCustomError("extras", "More than 1 KB of JSON.")
    return value


class RestartIntent(Part):
    """The broadcast that asks the app to restart."""

    action: str = Field(
        title="Restart intent",
        description="Action of the intent sent to the app after the update, such as com.nexmdm.RESTART.",
        max_length=200,
        pattern=ACTION_PATTERN,
        json_schema_extra={"group": "after"},
    )
    extras: Annotated[dict[str, Any], BeforeValidator(_extras)] = Field(
        default={},
        title="Extras",
        description="JSON object sent along with the restart intent, at most 1 KB.",
        json_schema_extra={"group": "after"},
    )


class PostInstall(Part):
    """What the agent does after a success; nothing unless asked for."""

    restart_intent: RestartIntent | None = Field(default=None, description="Ask the app to restart.")

    @model_serializer(mode="wrap")
    def _without_nulls(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}


# Groups.


def _group_pattern(value: str) -> str:
    if not value.strip() or "\0" in value or not _encodable(value):
        raise PydanticCustomError("pattern", "Give a pattern such as shop-*.")
    return value


GroupPattern = Annotated[str, AfterValidator(_group_pattern)]

# Retries.


class Retry(Part):
    """How a failed attempt is tried again."""

    max: int = option(
        "rollout", "Retries", 3, "More attempts after a failure that another try can mend.", ge=0, le=100
    )
    backoff_sec: int = option(
        "rollout",
        "Wait before a retry",
        300,
        "Wait before the first retry, doubled for each further one, never more than 6 h.",
        "s",
        ge=0,
        le=604_800,
    )
