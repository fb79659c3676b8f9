"""The options that have parts: the window, and what is done after the update."""

from typing import Any

import pytest

from deployments.rules.window import Absolute, Recurring
from tests.deployments.given_options import DEFAULTS, NIGHTLY, ONCE, RESTART, nested, read, refusal

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
