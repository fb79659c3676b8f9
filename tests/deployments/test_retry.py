import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.rules.retry import (
    ERROR_CODES,
    MAX_BACKOFF_SEC,
    NEVER_BAD,
    NOT_BAD_WHILE_WAITING,
    GiveUp,
    Retry,
    after_failure,
    agent_skip_backoff,
    backoff_seconds,
    counts_as_bad_while_waiting,
    explain,
    retryable,
)

WIRE = """checksum_mismatch, size_mismatch, signature_mismatch, signature_invalid, package_mismatch,
version_mismatch, version_downgrade, not_permitted, user_declined, insufficient_storage,
apk_invalid, sdk_too_old, abi_incompatible, download_http, download_network, download_timeout,
url_expired, verifier_blocked, verifier_timeout, install_aborted, install_blocked,
install_conflict, install_internal, install_timeout, session_limit, result_mismatch,
reinstall_incomplete, not_healthy, timed_out, no_answer, re_enrolled, internal"""
HOPELESS = {
    "signature_mismatch",
    "signature_invalid",
    "package_mismatch",
    "version_downgrade",
    "apk_invalid",
    "sdk_too_old",
    "abi_incompatible",
    "install_conflict",
    "install_blocked",
    "verifier_blocked",
    "not_healthy",
}
SKIPS = {"not_permitted", "user_declined"}
NOT_BAD_YET = {"download_http", "download_network", "download_timeout", "url_expired"}
SILENT = {"no_answer", "re_enrolled"}
FIRST: dict[str, Any] = {
    "code": "install_aborted",
    "previous_code": None,
    "failures": 1,
    "max_retries": 3,
    "backoff_sec": 300,
    "jitter": 0.0,
}


def test_the_table_has_every_code_of_the_wire_contract_in_its_order() -> None:
    assert list(ERROR_CODES) == re.split(r",\s+", WIRE)


@pytest.mark.parametrize("code", ERROR_CODES)
def test_every_code_has_plain_words(code: str) -> None:
    found = ERROR_CODES[code]
    assert found.label
    assert found.label[0].isupper()
    assert not found.label.endswith(".")
    assert found.meaning.endswith(".")
    assert found.advice.endswith(".")


@pytest.mark.parametrize("code", ERROR_CODES)
def test_only_what_another_try_can_mend_is_retried(code: str) -> None:
    assert retryable(code, None) == (code not in HOPELESS | SKIPS)


@pytest.mark.parametrize("code", ERROR_CODES)
def test_only_an_acknowledged_fault_of_the_version_is_bad_while_its_retry_waits(code: str) -> None:
    assert counts_as_bad_while_waiting(code) == (code not in NOT_BAD_YET | SILENT | SKIPS)


def test_what_is_never_bad_is_not_bad_while_it_waits_either() -> None:
    assert NEVER_BAD == SILENT | SKIPS
    assert NOT_BAD_WHILE_WAITING == NEVER_BAD | NOT_BAD_YET


@pytest.mark.parametrize("code", ["", "INSTALL_FAILED_MARS", "Checksum_Mismatch", "💥", "x" * 10_000, "a\0b"])
def test_an_unknown_code_is_treated_as_internal(code: str) -> None:
    assert explain(code) == ERROR_CODES["internal"]
    assert retryable(code, code)
    assert counts_as_bad_while_waiting(code)


@pytest.mark.parametrize(
    ("code", "previous", "expected"),
    [
        pytest.param("checksum_mismatch", None, True, id="the first wrong checksum is tried again"),
        pytest.param("checksum_mismatch", "checksum_mismatch", False, id="the second in a row is not"),
        pytest.param("checksum_mismatch", "download_network", True, id="another failure between begins anew"),
        pytest.param("size_mismatch", "size_mismatch", True, id="a wrong size twice is tried again"),
        pytest.param(
            "download_network", "checksum_mismatch", True, id="another failure after one is tried again"
        ),
    ],
)
def test_a_wrong_checksum_twice_in_a_row_ends(code: str, previous: str | None, expected: bool) -> None:
    assert retryable(code, previous) is expected


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (1, 300),
        (2, 600),
        (3, 1_200),
        (4, 2_400),
        (7, 19_200),
        (8, 21_600),
        (9, 21_600),
        (100, 21_600),
        (0, 300),
    ],
)
def test_the_wait_doubles_up_to_six_hours(failures: int, seconds: int) -> None:
    assert backoff_seconds(300, failures, 0.0) == seconds
    assert agent_skip_backoff(300, failures) == seconds


@given(st.integers(0, 604_800), st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_jitter_only_adds_and_at_most_a_fifth(base: int, failures: int, jitter: float) -> None:
    plain, jittered = backoff_seconds(base, failures, 0.0), backoff_seconds(base, failures, jitter)
    assert plain <= jittered <= min(plain * 1.2, MAX_BACKOFF_SEC)
    assert plain <= backoff_seconds(base, failures + 1, 0.0)


def test_no_backoff_is_no_wait() -> None:
    assert backoff_seconds(0, 5, 0.99) == 0


AFTER = [
    ("the first failure is tried again after the back-off", {}, Retry(300)),
    ("jitter comes on top", {"jitter": 0.5}, Retry(330)),
    ("the third failure still has a retry", {"failures": 3}, Retry(1_200)),
    ("the fourth has none", {"failures": 4}, GiveUp("failed", "install_aborted")),
    ("with no retries the first ends", {"max_retries": 0}, GiveUp("failed", "install_aborted")),
    (
        "what no retry mends ends at once",
        {"code": "signature_mismatch"},
        GiveUp("failed", "signature_mismatch"),
    ),
    (
        "a wrong checksum twice in a row ends",
        {"code": "checksum_mismatch", "previous_code": "checksum_mismatch", "failures": 2},
        GiveUp("failed", "checksum_mismatch"),
    ),
    ("no answer is tried again like any other", {"code": "no_answer", "failures": 2}, Retry(600)),
    ("no answer ends like any other", {"code": "no_answer", "failures": 4}, GiveUp("failed", "no_answer")),
    ("not permitted is skipped, not failed", {"code": "not_permitted"}, GiveUp("skipped", "not_permitted")),
    ("declined is skipped, not failed", {"code": "user_declined"}, GiveUp("skipped", "user_declined")),
    ("an unknown code is tried again", {"code": "mars"}, Retry(300)),
    ("an unknown code keeps its text at the end", {"code": "mars", "failures": 4}, GiveUp("failed", "mars")),
    ("an enrolment in between costs no wait and no retry", {"code": "re_enrolled", "failures": 9}, Retry(0)),
    (
        "a half-done reinstall is tried until done",
        {"code": "reinstall_incomplete", "failures": 50},
        Retry(21_600),
    ),
    ("a retry before the window's end is made", {"window_ends_in_sec": 300.5}, Retry(300)),
    (
        "a retry at the window's end falls behind it",
        {"window_ends_in_sec": 300},
        GiveUp("skipped", "window_over"),
    ),
    ("a window that is over takes no retry", {"window_ends_in_sec": -5}, GiveUp("skipped", "window_over")),
    (
        "what no retry mends has failed, window or not",
        {"code": "apk_invalid", "window_ends_in_sec": -5},
        GiveUp("failed", "apk_invalid"),
    ),
    (
        "spent retries have failed, window or not",
        {"failures": 4, "window_ends_in_sec": -5},
        GiveUp("failed", "install_aborted"),
    ),
]


@pytest.mark.parametrize(("change", "expected"), [row[1:] for row in AFTER], ids=[row[0] for row in AFTER])
def test_what_follows_a_failure(change: dict[str, Any], expected: Retry | GiveUp) -> None:
    assert after_failure(**(FIRST | change)) == expected


@given(st.sampled_from(sorted(ERROR_CODES)), st.integers(0, 10))
def test_a_task_that_only_fails_ends_after_its_retries(code: str, max_retries: int) -> None:
    attempts, previous = 0, None
    while attempts <= 20:
        attempts += 1
        step = FIRST | {
            "code": code,
            "previous_code": previous,
            "failures": attempts,
            "max_retries": max_retries,
        }
        if isinstance(after_failure(**step), GiveUp):
            break
        previous = code
    endless = code in ("reinstall_incomplete", "re_enrolled")
    assert attempts == 21 if endless else attempts <= max_retries + 1
