import json
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deployments.rules.option_fields import FIELDS
from deployments.rules.options import DeploymentOptions, milliseconds, problems, sentences
from deployments.rules.window import Absolute, Recurring

NOW = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
# As the wire contract shows them, in its order.
DEFAULTS: dict[str, Any] = {
    "canary": 5,
    "rate": 10,
    "concurrency": 3,
    "wifi_only": True,
    "min_battery": 40,
    "charging_only": False,
    "min_free_mb": None,
    "window": None,
    "retry": {"max": 3, "backoff_sec": 300},
    "post_install": {},
    "allow_rollback": True,
    "canary_success_pct": 90,
    "canary_timeout_min": 60,
    "canary_soak_min": 0,
    "failure_pct": 20,
    "failure_min_sample": 5,
    "max_failures": None,
    "deadline_hours": 24,
    "ack_timeout_min": 10,
    "step_timeout_min": 15,
    "install_timeout_min": 120,
    "require_doze_exempt": False,
    "max_per_group": None,
    "spread_groups": None,
    "health_within_min": None,
}
NIGHTLY = {"days": ["fri", "mon"], "start": "22:00", "end": "05:00", "tz": "Europe/Berlin"}
ONCE = {"start_iso": "2026-11-24T02:00:00+01:00", "end_iso": "2026-11-24T05:00:00Z"}
RESTART = {"action": "com.nexmdm.RESTART", "extras": {}}


def read(**options: Any) -> DeploymentOptions:
    return DeploymentOptions.from_json(options)


def refusal(options: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        DeploymentOptions.model_validate(options)
    return sentences(caught.value)


def nested(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {head: nested(rest, value) if rest else value}


def test_the_defaults_are_those_of_the_wire_contract_in_its_order() -> None:
    assert json.dumps(DeploymentOptions().to_json()) == json.dumps(DEFAULTS)


def test_no_options_at_all_are_the_defaults() -> None:
    assert DeploymentOptions.from_json(None) == DeploymentOptions.from_json({}) == DeploymentOptions()


@pytest.mark.parametrize(
    "options",
    [
        *({name: None} for name in DEFAULTS),
        {"retry": {}},
        {"retry": {"max": None, "backoff_sec": None}},
        {"post_install": {"restart_intent": None}},
        dict.fromkeys(DEFAULTS),
        DEFAULTS,
    ],
    ids=str,
)
def test_null_is_the_default(options: dict[str, Any]) -> None:
    assert read(**options) == DeploymentOptions()


def test_one_part_of_retry_leaves_the_other_at_its_default() -> None:
    assert read(retry={"max": 0}).to_json()["retry"] == {"max": 0, "backoff_sec": 300}
    assert read(retry={"backoff_sec": 0}).to_json()["retry"] == {"max": 3, "backoff_sec": 0}


INTEGERS = {
    "canary": (0, 10_000),
    "rate": (1, 100_000),
    "concurrency": (1, 100_000),
    "min_battery": (0, 100),
    "min_free_mb": (0, 10_000_000),
    "retry.max": (0, 100),
    "retry.backoff_sec": (0, 604_800),
    "canary_success_pct": (1, 100),
    "failure_pct": (0, 100),
    "failure_min_sample": (1, 1_000_000),
    "max_failures": (1, 1_000_000),
    "max_per_group": (1, 100_000),
}
# Lowest taken, first refused below it, highest.
DECIMALS = {
    "canary_timeout_min": (0.0001, 0, 43_200),
    "canary_soak_min": (0, -0.0001, 43_200),
    "deadline_hours": (0, -0.0001, 8_760),
    "ack_timeout_min": (0.0001, 0, 43_200),
    "step_timeout_min": (0.0001, 0, 43_200),
    "install_timeout_min": (0.0001, 0, 43_200),
    "health_within_min": (0.0001, 0, 43_200),
}
BOOLEANS = ("wifi_only", "charging_only", "allow_rollback", "require_doze_exempt")
NUMBERS = (*INTEGERS, *DECIMALS)


def stored(options: DeploymentOptions, path: str) -> Any:
    value: Any = options.to_json()
    for step in path.split("."):
        value = value[step]
    return value


@pytest.mark.parametrize(("name", "bounds"), INTEGERS.items())
def test_an_integer_is_taken_at_its_bounds_and_refused_beyond(name: str, bounds: tuple[int, int]) -> None:
    low, high = bounds
    for value in (low, high):
        assert stored(read(**nested(name, value)), name) == value
    for value in (low - 1, high + 1, -(10**30), 10**30):
        assert list(refusal(nested(name, value))) == [name]


@pytest.mark.parametrize(("name", "bounds"), DECIMALS.items())
def test_a_decimal_is_taken_at_its_bounds_and_refused_beyond(
    name: str, bounds: tuple[float, float, float]
) -> None:
    low, below, high = bounds
    for value in (low, high, 0.05, 1, 1.5):
        assert stored(read(**nested(name, value)), name) == value
    for value in (below, high + 0.001, -1, 1e300, 10**400):
        assert list(refusal(nested(name, value))) == [name]


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_taken(name: str, value: bool) -> None:
    assert stored(read(**{name: value}), name) is value


WRONG: list[Any] = ["5", "", "yes", "\0", True, [], [5], {}, float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_number_of_the_wrong_type_is_refused(name: str, value: Any) -> None:
    assert list(refusal(nested(name, value))) == [name]


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [5.0, 5.5, 1e3])
def test_a_decimal_is_no_integer(name: str, value: float) -> None:
    assert refusal(nested(name, value)) == {name: "Give a whole number."}


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize("value", ["yes", "true", "", 0, 1, 1.0, [], {}], ids=repr)
def test_a_boolean_of_the_wrong_type_is_refused(name: str, value: Any) -> None:
    assert refusal({name: value}) == {name: "Give true or false."}


@pytest.mark.parametrize("name", ["retry", "post_install", "post_install.restart_intent"])
@pytest.mark.parametrize("value", [3, "x", True, [], [{}]], ids=repr)
def test_a_part_that_is_no_object_is_refused(name: str, value: Any) -> None:
    assert refusal(nested(name, value)) == {name: "Give an object."}


@pytest.mark.parametrize("value", [3, "x", None, True, [], [{}]], ids=repr)
def test_options_that_are_no_object_are_refused(value: Any) -> None:
    assert refusal(value) == {"": "Give an object."}


@pytest.mark.parametrize(
    "path",
    [
        "canery",
        "retry.maximum",
        "post_install.restart",
        "post_install.restart_intent.component",
        "window.zone",
        "__class__",
    ],
)
def test_an_unknown_option_is_refused(path: str) -> None:
    options = nested(path, 1)
    options.get("post_install", {}).get("restart_intent", {}).setdefault(
        "action", "a.B"
    ) if "component" in path else None
    options.get("window", {}).update(NIGHTLY)
    assert refusal(options) == {path: "There is no such option."}


@pytest.mark.parametrize("pattern", ["shop-*", "*", "?", "100 %", "a" * 200, "Läden_*"])
def test_a_pattern_of_groups_is_taken(pattern: str) -> None:
    assert read(spread_groups=pattern).to_json()["spread_groups"] == pattern


@pytest.mark.parametrize(
    "value", ["", "  ", "a\0b", "\ud800", "a" * 201, 1, 0.5, True, [], ["shop-*"], {}], ids=repr
)
def test_what_is_no_pattern_of_groups_is_refused(value: Any) -> None:
    assert list(refusal({"spread_groups": value})) == ["spread_groups"]


def test_every_wrong_option_is_named_at_once() -> None:
    assert refusal({"rate": 0, "canary": "5", "retry": {"max": -1}, "window": {"days": []}}) == {
        "canary": "Give a whole number.",
        "rate": "Must be greater than or equal to 1.",
        "retry.max": "Must be greater than or equal to 0.",
        "window.days": "Choose at least one day.",
        "window.start": "This is missing.",
        "window.end": "This is missing.",
        "window.tz": "This is missing.",
    }


# The window.


@pytest.mark.parametrize(
    "window", [NIGHTLY, NIGHTLY | {"tz": "device"}, ONCE], ids=["nightly", "device time", "once"]
)
def test_a_window_is_kept_as_it_was_given(window: dict[str, Any]) -> None:
    assert read(window=window).to_json()["window"] == window


def test_a_window_is_handed_to_the_engine_as_its_own_kind() -> None:
    assert isinstance(read(window=NIGHTLY).maintenance_window(), Recurring)
    assert isinstance(read(window=ONCE).maintenance_window(), Absolute)
    assert read().maintenance_window() is None


KINDS = "Give start_iso and end_iso, or days, start, end and tz."
INSTANT = "Give date, time and offset as in 2026-11-24T02:00:00+01:00."
ZONE = 'Give an IANA time zone such as Europe/Berlin, or "device".'

WINDOWS = [
    ("nothing in it", {}, {"window": KINDS}),
    ("neither kind", {"from": 1}, {"window": KINDS}),
    ("a text", "22:00-05:00", {"window": KINDS}),
    ("a list", [NIGHTLY], {"window": KINDS}),
    ("a number", 5, {"window": KINDS}),
    ("true", True, {"window": KINDS}),
    ("only its start", {"start_iso": ONCE["start_iso"]}, {"window.end_iso": "This is missing."}),
    ("a null end", ONCE | {"end_iso": None}, {"window.end_iso": "This is missing."}),
    ("no offset", ONCE | {"end_iso": "2026-11-24T05:00:00"}, {"window.end_iso": INSTANT}),
    ("seconds since 1970", ONCE | {"end_iso": 1_795_000_000}, {"window.end_iso": "Give a text."}),
    (
        "its end first",
        ONCE | {"end_iso": "2026-11-24T00:59:59Z"},
        {"window": "The window must end after it starts."},
    ),
    ("both kinds", ONCE | {"tz": "UTC"}, {"window.tz": "There is no such option."}),
    ("days as a text", NIGHTLY | {"days": "mon"}, {"window.days": "Must be a valid list."}),
    ("a day as a number", NIGHTLY | {"days": [1]}, {"window.days.0": "Give a text."}),
    ("a day twice", NIGHTLY | {"days": ["mon", "mon"]}, {"window.days": "A day is named twice."}),
    ("no zone", NIGHTLY | {"tz": None}, {"window.tz": "This is missing."}),
    ("an unknown zone", NIGHTLY | {"tz": "Mars/Olympus"}, {"window.tz": ZONE}),
    ("a zone with a NUL", NIGHTLY | {"tz": "UTC\0"}, {"window.tz": ZONE}),
    ("a zone that is no zone anywhere", NIGHTLY | {"tz": ""}, {"window.tz": ZONE}),
    (
        "start and end alike",
        NIGHTLY | {"end": "22:00"},
        {"window": "Start and end must differ; for a window that is always open leave it out."},
    ),
    ("24:00", NIGHTLY | {"end": "24:00"}, {"window.end": "Give the time as HH:MM, from 00:00 to 23:59."}),
]


@pytest.mark.parametrize(("window", "errors"), [row[1:] for row in WINDOWS], ids=[row[0] for row in WINDOWS])
def test_a_window_that_makes_no_sense_is_refused(window: Any, errors: dict[str, str]) -> None:
    assert refusal({"window": window}) == errors


# After the installation.


def restart(**intent: Any) -> dict[str, Any]:
    return {"post_install": {"restart_intent": RESTART | intent}}


@pytest.mark.parametrize(
    "action", ["com.nexmdm.RESTART", "RESTART", "com.nexmdm.demo.kiosk_2.Restart-Now", "a" * 200], ids=len
)
def test_an_action_is_taken(action: str) -> None:
    assert read(**restart(action=action)).to_json()["post_install"]["restart_intent"]["action"] == action


@pytest.mark.parametrize(
    "action",
    [
        "",
        " ",
        "com.nexmdm.RESTART\n",
        "com..nexmdm",
        ".com",
        "com.",
        "1com",
        "com nexmdm",
        "a\0b",
        "ä.b",
        "a" * 201,
        "\ud800",
    ],
    ids=repr,
)
def test_what_is_no_action_is_refused(action: str) -> None:
    assert list(refusal(restart(action=action))) == ["post_install.restart_intent.action"]


@pytest.mark.parametrize("action", [5, True, ["a.B"], {}], ids=repr)
def test_an_action_that_is_no_text_is_refused(action: Any) -> None:
    assert refusal(restart(action=action)) == {"post_install.restart_intent.action": "Give a text."}


def test_a_restart_intent_needs_its_action() -> None:
    assert refusal(nested("post_install.restart_intent", {})) == {
        "post_install.restart_intent.action": "This is missing."
    }


EXTRAS_TAKEN: list[Any] = [
    {},
    {"delay": 5, "ratio": 0.5, "force": True, "note": None, "who": "Ärger 💥", "list": [1, {"a": "b"}]},
    {"": ""},
    {"a": 2**63 - 1, "b": -(2**63)},
    {"a": "x" * 1_016},  # {"a":"…"} is exactly 1,024 bytes
    {"a": "ä" * 508},
]


@pytest.mark.parametrize("extras", EXTRAS_TAKEN, ids=range(len(EXTRAS_TAKEN)))
def test_extras_are_any_small_json_object(extras: Any) -> None:
    assert read(**restart(extras=extras)).to_json() == DEFAULTS | restart(extras=extras)


def test_extras_left_out_or_null_are_empty() -> None:
    for intent in ({"action": "com.nexmdm.RESTART"}, {"action": "com.nexmdm.RESTART", "extras": None}):
        assert read(post_install={"restart_intent": intent}) == read(**restart())


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


UNICODE = "Text must be Unicode without NUL characters."
EXTRAS_REFUSED = [
    ("a list", [], "Give a JSON object."),
    ("a text", "{}", "Give a JSON object."),
    ("a number", 5, "Give a JSON object."),
    ("a key that is no text", {1: 2}, "Give a JSON object."),
    ("a byte too many", {"a": "x" * 1_017}, "More than 1 KB of JSON."),
    ("a byte too many, counted in UTF-8", {"a": "ä" * 509}, "More than 1 KB of JSON."),
    ("a megabyte", {"a": "x" * 1_000_000}, "More than 1 KB of JSON."),
    ("NUL in a value", {"a": "\0"}, UNICODE),
    ("NUL in a key", {"\0": 1}, UNICODE),
    ("NUL deep inside", {"a": [{"b": "\0"}]}, UNICODE),
    ("half a character", {"a": "\ud800"}, UNICODE),
    ("half a character in a key", {"\ud800": 1}, UNICODE),
    ("not a number", {"a": float("nan")}, "Numbers must be finite."),
    ("infinity", {"a": [float("inf")]}, "Numbers must be finite."),
    ("an integer of 65 bits", {"a": 2**63}, "Integers must fit 64 bits."),
    ("an integer of thousands of digits", {"a": 10**4_000}, "Integers must fit 64 bits."),
    ("nested too deep", deep(18), "Nested deeper than 16 levels."),
    ("nested far too deep", deep(900), "Nested deeper than 16 levels."),
]


@pytest.mark.parametrize(
    ("extras", "sentence"), [row[1:] for row in EXTRAS_REFUSED], ids=[row[0] for row in EXTRAS_REFUSED]
)
def test_extras_that_cannot_be_stored_or_sent_are_refused(extras: Any, sentence: str) -> None:
    assert refusal(restart(extras=extras)) == {"post_install.restart_intent.extras": sentence}


# What needs more than the options.


@pytest.mark.parametrize(
    ("options", "target", "found"),
    [
        ({}, "fleet", {}),
        ({"canary": 1}, "fleet", {}),
        (
            {"canary": 0},
            "fleet",
            {"canary": "A deployment to the entire fleet needs a canary of at least 1 device."},
        ),
        ({"canary": 0}, "selection", {}),
        ({"window": NIGHTLY}, "fleet", {}),
        ({"window": ONCE}, "fleet", {}),
        (
            {"window": ONCE | {"start_iso": "2026-11-23T00:00:00Z", "end_iso": "2026-11-24T01:00:01Z"}},
            "selection",
            {},
        ),
        (
            {"window": ONCE | {"start_iso": "2026-11-23T00:00:00Z", "end_iso": "2026-11-24T01:00:00Z"}},
            "selection",
            {"window": "The maintenance window has already ended."},
        ),
    ],
    ids=[
        "the defaults are right",
        "a canary of one is enough for the fleet",
        "no canary is refused for the fleet",
        "no canary is allowed for a selection",
        "a recurring window never ends",
        "a window to come is right",
        "a window that ends in a second is right",
        "a window that ends now is over",
    ],
)
def test_options_are_judged_with_their_target_and_time(
    options: dict[str, Any], target: Literal["fleet", "selection"], found: dict[str, str]
) -> None:
    assert problems(read(**options), target_type=target, now=NOW) == found


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(0, 0), (0.05, 3_000), (60, 3_600_000), (0.0000001, 1), (1 / 3, 20_000), (43_200, 2_592_000_000)],
)
def test_minutes_become_whole_milliseconds(minutes: float, expected: int) -> None:
    assert milliseconds(minutes) == expected


# Storage, OpenAPI and the form.

windows = st.one_of(st.none(), st.just(NIGHTLY), st.just(ONCE))


@st.composite
def any_options(draw: st.DrawFn) -> dict[str, Any]:
    options: dict[str, Any] = {name: draw(st.booleans()) for name in BOOLEANS}
    for path, (low, high) in INTEGERS.items():
        if "." not in path:
            options[path] = draw(st.integers(low, high))
    for name, (lowest, _, highest) in DECIMALS.items():
        options[name] = draw(st.floats(lowest, highest))
    options["retry"] = {"max": draw(st.integers(0, 100)), "backoff_sec": draw(st.integers(0, 604_800))}
    options["window"] = draw(windows)
    return options


@given(any_options())
def test_options_survive_the_json_column(options: dict[str, Any]) -> None:
    taken = DeploymentOptions.from_json(options)
    column = json.dumps(taken.to_json())
    assert DeploymentOptions.from_json(json.loads(column)) == taken
    # PostgreSQL hands the keys back in an order of its own.
    shuffled = json.loads(json.dumps(taken.to_json(), sort_keys=True))
    assert json.dumps(DeploymentOptions.from_json(shuffled).to_json()) == column


texts = st.sampled_from(
    ["", "a", "5", "mon", "action", "extras", "max", "start_iso", "days", "\0", "\ud800", "ä💥"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(DEFAULTS)), json_values))
def test_anything_from_outside_is_taken_or_refused_with_sentences(options: dict[str, Any]) -> None:
    try:
        taken = DeploymentOptions.from_json(options)
    except ValidationError as error:
        found = sentences(error)
        assert found
        assert {name.split(".")[0] for name in found} <= set(options)
        assert all(sentence.endswith(".") for sentence in found.values())
    else:
        assert list(taken.to_json()) == list(DEFAULTS)


def test_the_schema_shows_words_bounds_defaults_and_that_null_is_taken() -> None:
    shown = DeploymentOptions.model_json_schema()["properties"]
    assert list(shown) == list(DEFAULTS)
    assert shown["rate"] == {
        "anyOf": [{"maximum": 100_000, "minimum": 1, "type": "integer"}, {"type": "null"}],
        "default": 10,
        "description": "Never more sends than this within any 60 seconds.",
        "group": "rollout",
        "title": "Rate",
        "unit": "per min",
    }
    for name, part in shown.items():
        kinds = [kind.get("type") for kind in part.get("anyOf", [part])]
        assert "null" in kinds, name


def test_the_form_has_one_input_per_option_that_can_be_set() -> None:
    names = [field.name for field in FIELDS]
    assert len(set(names)) == len(names)
    assert {name.split(".")[0] for name in names} == DEFAULTS.keys()


@pytest.mark.parametrize("field", FIELDS, ids=[field.name for field in FIELDS])
def test_an_input_knows_its_words_and_bounds(field: Any) -> None:
    assert field.label
    assert field.help.endswith(".")
    assert field.group in ("rollout", "conditions", "after", "time limits")
    if field.name in INTEGERS:
        assert (field.kind, field.minimum, field.maximum) == ("integer", *INTEGERS[field.name])
    if field.name in DECIMALS:
        assert (field.kind, field.minimum, field.maximum) == ("decimal", 0, DECIMALS[field.name][2])
    if field.name in NUMBERS and not field.nullable:
        assert stored(DeploymentOptions(), field.name) == field.default
    assert (field.kind == "boolean") == (field.name in BOOLEANS)
