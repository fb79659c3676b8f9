"""The options of a deployment: defaults, bounds, types, and what is said of a wrong one."""

import json
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deployments.rules.option_fields import FIELDS
from deployments.rules.options import DeploymentOptions, milliseconds, problems, sentences
from tests.deployments.given_options import (
    BOOLEANS,
    DECIMALS,
    DEFAULTS,
    INTEGERS,
    NIGHTLY,
    NUMBERS,
    ONCE,
    nested,
    read,
    refusal,
    stored,
)

NOW = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)


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
