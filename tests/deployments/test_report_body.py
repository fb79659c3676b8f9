"""Every way in which an agent may say the same thing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from deployments.rules.report_body import SKIP_CODES, STATUSES, STOP_REASONS, Report, parse
from deployments.rules.retry import ERROR_CODES


def said(**body: Any) -> Report:
    return parse(json.dumps(body).encode())


CODES: dict[str, tuple[dict[str, Any], tuple[str, str | None, str | None]]] = {
    "a step has no code": ({"status": "received"}, ("received", None, None)),
    "the text of a step is kept": ({"status": "installing", "error": " slow "}, ("installing", None, "slow")),
    "a failure without words is internal": ({"status": "failed"}, ("failed", "internal", None)),
    "a failure with a code": (
        {"status": "failed", "error_code": "checksum_mismatch"},
        ("failed", "checksum_mismatch", None),
    ),
    "a failure with code and text": (
        {"status": "failed", "error_code": "download_http", "error": "HTTP 500"},
        ("failed", "download_http", "HTTP 500"),
    ),
    "an error that equals a code is the code": (
        {"status": "failed", "error": "not_permitted"},
        ("failed", "not_permitted", None),
    ),
    "blanks around an error do not count": (
        {"status": "failed", "error": " not_permitted\n"},
        ("failed", "not_permitted", None),
    ),
    "an error that only begins like a code is text": (
        {"status": "failed", "error": "not_permitted because"},
        ("failed", "internal", "not_permitted because"),
    ),
    "the code may stand behind a colon": (
        {"status": "failed:not_permitted"},
        ("failed", "not_permitted", None),
    ),
    "blanks around the colon do not count": (
        {"status": "failed : not_permitted "},
        ("failed", "not_permitted", None),
    ),
    "an unknown code behind a colon is text": (
        {"status": "failed:gremlins", "error": "two of them"},
        ("failed", "internal", "gremlins: two of them"),
    ),
    "an unknown code is kept as text and is internal": (
        {"status": "failed", "error_code": "gremlins"},
        ("failed", "internal", "gremlins"),
    ),
    "an unknown code hides no known text": (
        {"status": "failed", "error_code": "gremlins", "error": "not_permitted"},
        ("failed", "internal", "gremlins: not_permitted"),
    ),
    "an empty code is left out": (
        {"status": "failed", "error_code": " ", "error": "not_permitted"},
        ("failed", "not_permitted", None),
    ),
    "a code in capitals is text": (
        {"status": "failed", "error": "INTERNAL"},
        ("failed", "internal", "INTERNAL"),
    ),
    "a skip without words is a device condition": (
        {"status": "skipped"},
        ("skipped", "device_condition", None),
    ),
    "a skip with a condition": (
        {"status": "skipped", "error": "battery_low"},
        ("skipped", "battery_low", None),
    ),
    "a skip with a text": (
        {"status": "skipped", "error": "screen is cracked"},
        ("skipped", "device_condition", "screen is cracked"),
    ),
    "a skip outside the window": (
        {"status": "skipped", "error_code": "outside_window"},
        ("skipped", "outside_window", None),
    ),
    "a skip with the reason of the 410": (
        {"status": "skipped", "error_code": "kill_switch"},
        ("skipped", "kill_switch", None),
    ),
    "a condition is no failure code": (
        {"status": "failed", "error_code": "battery_low"},
        ("failed", "internal", "battery_low"),
    ),
    "a failure code is no condition": (
        {"status": "skipped", "error_code": "checksum_mismatch"},
        ("skipped", "device_condition", "checksum_mismatch"),
    ),
    "a refusal at the device may come as a skip": (
        {"status": "skipped", "error_code": "user_declined"},
        ("skipped", "user_declined", None),
    ),
}


@pytest.mark.parametrize(("body", "expected"), CODES.values(), ids=CODES)
def test_code_and_text(body: dict[str, Any], expected: tuple[str, str | None, str | None]) -> None:
    found = said(**body)
    assert (found.status, found.error_code, found.error_text) == expected


INSTALLED: dict[str, tuple[Any, tuple[int | None, str | None, str | None]]] = {
    "nothing given": (None, (None, None, None)),
    "a string is a version name": ("1.0.121", (None, "1.0.121", None)),
    "digits in a string are a version name": ("121", (None, "121", None)),
    "an integer is a version code": (121, (121, None, None)),
    "a blank string is nothing": (" ", (None, None, None)),
    "an object with all": (
        {"version_code": 121, "version_name": "1.0.121", "signer_sha256": "AB" * 32},
        (121, "1.0.121", "ab" * 32),
    ),
    "an object with a part": ({"version_name": "1.0.121"}, (None, "1.0.121", None)),
    "an object with something else": ({"build": 5}, (None, None, None)),
}


@pytest.mark.parametrize(("given", "expected"), INSTALLED.values(), ids=INSTALLED)
def test_installed_version(given: Any, expected: tuple[int | None, str | None, str | None]) -> None:
    found = said(status="succeeded", installed_version=given)
    assert (found.installed_version_code, found.installed_version_name, found.installed_signer) == expected


def test_the_callback_of_the_milestone_is_read_word_for_word() -> None:
    assert (
        said(status="succeeded", installed_version="1.0.121-d263d20").installed_version_name
        == "1.0.121-d263d20"
    )


def test_the_rest_is_taken_over() -> None:
    found = said(
        status="succeeded",
        attempt=2,
        seq=4,
        progress=100,
        post_install="ok",
        occurred_at="2030-01-31T18:00:00+01:00",
    )
    assert (found.attempt, found.seq, found.progress, found.post_install) == (2, 4, 100, "ok")
    assert found.occurred_at == datetime(2030, 1, 31, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "believed"),
    [
        ("1970-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("2030-01-31T18:00:00", datetime(2030, 1, 31, 18, tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_clock_that_is_plainly_wrong_is_not_believed(given: str | None, believed: datetime | None) -> None:
    assert said(status="received", occurred_at=given).occurred_at == believed


def test_a_long_text_is_cut() -> None:
    assert len(said(status="failed", error="x" * 50_000).error_text or "") == 2_000


BAD: list[dict[str, Any]] = [
    {}, {"status": None}, {"status": "done"}, {"status": ""}, {"status": ":failed"}, {"status": 5},
    {"status": "FAILED"}, {"status": ["failed"]}, {"status": "failed", "error": 5}, {"status": "failed", "error": {}},
    {"status": "failed", "error_code": 404}, {"status": "succeeded", "installed_version": []},
    {"status": "succeeded", "installed_version": True}, {"status": "succeeded", "installed_version": 1.5},
    {"status": "succeeded", "installed_version": -1}, {"status": "succeeded", "installed_version": 2**31},
    {"status": "succeeded", "installed_version": "x" * 256},
    {"status": "succeeded", "installed_version": {"version_code": "121"}},
    {"status": "succeeded", "installed_version": {"signer_sha256": "zz"}},
    {"status": "received", "attempt": 0}, {"status": "received", "attempt": "1"},
    {"status": "received", "attempt": 1.5}, {"status": "received", "attempt": 2**31},
    {"status": "received", "attempt": True}, {"status": "received", "seq": -1},
    {"status": "received", "seq": "x"}, {"status": "received", "progress": 101}, {"status": "received", "progress": -1},
    {"status": "received", "occurred_at": "noon"}, {"status": "received", "occurred_at": {}},
    {"status": "succeeded", "post_install": "maybe"},
]  # fmt: skip


@pytest.mark.parametrize("body", BAD, ids=lambda body: str(body)[:70])
def test_a_report_of_the_wrong_form_is_not_read(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        said(**body)


@pytest.mark.parametrize("status", STATUSES)
def test_only_the_status_is_required_and_more_than_is_known_is_ignored(status: str) -> None:
    assert said(status=status, colour="red", installed_version={"x": 1}).status == status


@pytest.mark.parametrize("code", ERROR_CODES)
def test_every_error_code_is_known_in_every_place(code: str) -> None:
    for body in ({"error_code": code}, {"error": code}):
        assert said(status="failed", **body).error_code == code
    assert said(status=f"failed:{code}").error_code == code


def test_every_reason_to_stop_is_known_as_a_skip() -> None:
    assert STOP_REASONS <= SKIP_CODES
