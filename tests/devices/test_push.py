"""Push through the real Firebase SDK, against a loopback FCM."""

import gzip
import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from devices import push
from devices.push import Outcome, PushResult
from tests.devices.messages import message, send_one
from tests.fakes import FcmAnswer, LoopbackFcm, fcm_refusal

COMMAND: dict[str, Any] = {
    "action": "deploy_apk",
    "schema": 1,
    "deployment_id": 7,
    "device_id": 42,
    "attempt": 2,
    "issued_at": "2026-01-01T00:00:00+00:00",
    "apk": {"package": "com.nexmdm", "version_code": 121, "signer_sha256": ["ab"]},
    "constraints": {"wifi_only": True, "min_battery": 40},
    "window": None,
    "post_install": {},
}

# --- What is said ---------------------------------------------------------------------------------------


def test_every_value_of_a_command_is_text_and_what_is_no_text_is_json() -> None:
    data = push.encode_command(COMMAND)

    assert data["action"] == "deploy_apk"
    assert data["deployment_id"] == "7"
    assert data["window"] == "null"
    assert json.loads(data["apk"]) == COMMAND["apk"]
    assert json.loads(data["constraints"]) == COMMAND["constraints"]
    assert data["issued_at"] == COMMAND["issued_at"]
    assert all(isinstance(value, str) for value in data.values())


def test_a_command_of_5_kb_becomes_action_and_ids() -> None:
    data = push.encode_command(COMMAND | {"post_install": {"extras": {"text": "x" * 5_000}}})

    assert data == {
        "action": "deploy_apk",
        "schema": "1",
        "deployment_id": "7",
        "device_id": "42",
        "attempt": "2",
    }


@pytest.mark.parametrize(
    ("filler", "whole"),
    [
        pytest.param("x" * 3_992, True, id="4,000 bytes of keys and values go whole"),
        pytest.param("x" * 3_993, False, id="4,001 bytes do not"),
        pytest.param("ü" * 1_996, True, id="4,000 bytes in two-byte letters go whole"),
        pytest.param("ü" * 1_997, False, id="letters are counted in UTF-8"),
    ],
)
def test_the_limit_counts_keys_and_values_in_utf_8(filler: str, whole: bool) -> None:
    assert ("text" in push.encode_command({"text": filler, "id": "12"})) is whole


def test_a_stop_names_the_attempt() -> None:
    assert push.encode_stop(7, 42, 2) == {
        "action": "stop_deploy",
        "schema": "1",
        "deployment_id": "7",
        "device_id": "42",
        "attempt": "2",
    }


def test_fcm_receives_token_data_and_android_options_as_it_wants_them(fcm: LoopbackFcm) -> None:
    data = push.encode_command(COMMAND)
    [result] = push.send([message("device", 5, data, ttl=600)])

    assert result == PushResult(5, Outcome.DELIVERED, None, "projects/demo/messages/1")
    [request] = fcm.received
    assert request.path == "/v1/projects/demo/messages:send"
    assert request.headers["authorization"] == "Bearer demo"
    assert request.message == {
        "token": "device",
        "data": data,
        "android": {"priority": "high", "ttl": "600s", "collapse_key": "com.nexmdm"},
    }


@pytest.mark.parametrize(
    ("ttl", "told"),
    [
        pytest.param(-3, "0s", id="a deadline that has passed: now or never"),
        pytest.param(10**9, "2419200s", id="FCM refuses more than 28 days"),
    ],
)
def test_the_time_to_live_stays_within_what_fcm_takes(fcm: LoopbackFcm, ttl: int, told: str) -> None:
    push.send([message("device", ttl=ttl)])
    assert fcm.received[0].message["android"]["ttl"] == told


def test_an_endpoint_with_its_own_path_is_called_as_it_is(fcm: LoopbackFcm, settings: Settings) -> None:
    settings.FCM_ENDPOINT = f"{fcm.url}/v1/projects/other/messages:send"
    send_one()
    assert fcm.received[0].path == "/v1/projects/other/messages:send"


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    fcm: LoopbackFcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert send_one().outcome is Outcome.DELIVERED


# --- What comes back ------------------------------------------------------------------------------------

HTML = FcmAnswer(502, b"<html>Bad gateway</html>")
OUTCOMES = [
    pytest.param(
        fcm_refusal(404, "NOT_FOUND", "UNREGISTERED"),
        "token_gone",
        None,
        id="UNREGISTERED: the token is gone",
    ),
    pytest.param(
        fcm_refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
        "token_gone",
        None,
        id="SENDER_ID_MISMATCH: the token is not for us",
    ),
    pytest.param(
        fcm_refusal(404, "NOT_FOUND"), "rejected", None, id="a 404 without FCM's word costs nobody the token"
    ),
    pytest.param(
        fcm_refusal(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
        "rejected",
        None,
        id="401 of a third party",
    ),
    pytest.param(
        fcm_refusal(401, "UNAUTHENTICATED"), "rejected", None, id="401 is not tried again in secret"
    ),
    pytest.param(fcm_refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), "rejected", None, id="400"),
    pytest.param(fcm_refusal(403, "PERMISSION_DENIED"), "rejected", None, id="403 without detail"),
    pytest.param(fcm_refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), "backoff", None, id="quota"),
    pytest.param(
        fcm_refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "2"), "backoff", 2, id="quota, told how long"
    ),
    pytest.param(fcm_refusal(503, "UNAVAILABLE", "UNAVAILABLE"), "backoff", None, id="503"),
    pytest.param(fcm_refusal(503, "UNAVAILABLE", "", "3"), "backoff", 3, id="503, told how long"),
    pytest.param(fcm_refusal(503, "UNAVAILABLE", "", "soon"), "backoff", None, id="503, told nonsense"),
    pytest.param(fcm_refusal(500, "INTERNAL", "INTERNAL"), "backoff", None, id="500"),
    pytest.param(HTML, "backoff", None, id="502 in HTML"),
    pytest.param(FcmAnswer(503, b'{"error": "busy"}'), "backoff", None, id="an error that is no object"),
    pytest.param(
        FcmAnswer(503, b'{"error": {"details": 7}}'), "backoff", None, id="details that are no list"
    ),
    pytest.param(
        FcmAnswer(503, b'{"error": {"status": []}}'), "backoff", None, id="a status that is no text"
    ),
    pytest.param(FcmAnswer(500, b"\xff\xfe"), "backoff", None, id="an error that is no UTF-8"),
    pytest.param(FcmAnswer(404, b"[" * 60_000), "rejected", None, id="an error that is nested without end"),
    pytest.param(FcmAnswer(200, b"thanks"), "backoff", None, id="200 that is no JSON"),
    pytest.param(FcmAnswer(200, b"[]"), "backoff", None, id="200 that is no object"),
    pytest.param(FcmAnswer(200, b"{}"), "backoff", None, id="200 that names no message"),
    pytest.param(
        FcmAnswer(200, b'{"name": ' + b"9" * 5_000 + b"}"), "backoff", None, id="200, a huge number"
    ),
    pytest.param(FcmAnswer(200, b" " * 70_000 + b"{}"), "backoff", None, id="200 without an end"),
    pytest.param(
        FcmAnswer(307, headers={"Location": "/elsewhere"}),
        "backoff",
        None,
        id="a redirection is not followed",
    ),
    pytest.param(FcmAnswer(manner="drop"), "backoff", None, id="the connection is cut"),
    pytest.param(FcmAnswer(manner="noise"), "backoff", None, id="what answers is no web server"),
    pytest.param(
        FcmAnswer(200, gzip.compress(bytes(10**7)), {"Content-Encoding": "gzip"}),
        "backoff",
        None,
        id="a small answer that would unpack to 10 MB",
    ),
]


@pytest.mark.parametrize(("answer", "outcome", "wait"), OUTCOMES)
def test_each_answer_has_one_outcome_and_costs_one_request(
    fcm: LoopbackFcm, answer: FcmAnswer, outcome: str, wait: int | None
) -> None:
    fcm.answers["odd"] = answer
    fcm.answers["/elsewhere"] = answer

    odd, good = push.send([message("odd", 1), message("good", 2)])

    assert (odd.reference, odd.outcome, odd.retry_after_sec) == (1, outcome, wait)
    assert odd.detail
    assert (good.reference, good.outcome) == (2, Outcome.DELIVERED)
    assert sorted(fcm.tokens) == ["good", "odd"]
    assert len(fcm.received) == 2


def test_a_refusal_says_why(fcm: LoopbackFcm) -> None:
    fcm.otherwise = fcm_refusal(400, "INVALID_ARGUMENT")
    assert send_one().detail == "INVALID_ARGUMENT: refused as INVALID_ARGUMENT"


def test_nobody_there_is_a_reason_to_back_off(settings: Settings) -> None:
    with LoopbackFcm() as gone:
        settings.FCM_ENDPOINT = gone.url
    assert send_one().outcome is Outcome.BACKOFF


def test_a_far_end_that_hangs_or_drips_for_ever_holds_up_nobody_else(fcm: LoopbackFcm) -> None:
    """That this ends at all is the proof: none of the three is ever answered."""
    fcm.answers |= {
        "hang": FcmAnswer(manner="hang"),
        "drip": FcmAnswer(manner="drip"),
        "body": FcmAnswer(manner="drip_body"),
    }

    results = push.send([message(token) for token in ("hang", "good", "drip", "body")])

    assert [result.outcome for result in results] == ["backoff", "delivered", "backoff", "backoff"]
    assert sorted(fcm.tokens) == ["body", "drip", "good", "hang"]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("0", 0, id="at once"),
        pytest.param("120", 120, id="seconds"),
        pytest.param("999999999", 86_400, id="a day at most"),
        pytest.param("Thu, 01 Jan 2026 00:01:30 GMT", 90, id="a date"),
        pytest.param("Wed, 31 Dec 2025 00:00:00 GMT", 0, id="a date that has passed"),
        pytest.param("Thu, 01 Jan 2026 00:01:30 -0000", 90, id="a date without a zone is UTC"),
        pytest.param("Thu, 99 Jan 2026 00:01:30 GMT", None, id="no date"),
        pytest.param("-5", None, id="a negative number"),
        pytest.param("²", None, id="a digit of another kind"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_retry_after(header: str, seconds: int | None) -> None:
    from devices.fcm import retry_after

    assert retry_after(header, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


# --- Many, and many processes ---------------------------------------------------------------------------


def test_no_messages_are_no_requests(fcm: LoopbackFcm) -> None:
    assert push.send([]) == []
    assert fcm.received == []


def test_250_messages_arrive_once_each_and_are_answered_in_their_order(fcm: LoopbackFcm) -> None:
    fcm.answers["device-130"] = fcm_refusal(404, "NOT_FOUND", "UNREGISTERED")

    results = push.send([message(f"device-{number}", number) for number in range(250)])

    assert [result.reference for result in results] == list(range(250))
    assert [result.reference for result in results if result.outcome != Outcome.DELIVERED] == [130]
    assert sorted(fcm.tokens) == sorted(f"device-{number}" for number in range(250))
    assert len({request.port for request in fcm.received}) <= push.BATCH


def test_an_outage_costs_one_batch_and_the_others_are_told_to_wait_as_long(fcm: LoopbackFcm) -> None:
    fcm.otherwise = fcm_refusal(503, "UNAVAILABLE", "", "30")

    results = push.send([message("device", number) for number in range(250)])

    assert len(fcm.received) == push.BATCH
    assert [result.reference for result in results] == list(range(250))
    assert {(result.outcome, result.retry_after_sec) for result in results} == {(Outcome.BACKOFF, 30)}


def test_a_forked_worker_opens_connections_of_its_own(fcm: LoopbackFcm) -> None:
    program = f"""
        import os
        from django.conf import settings
        settings.configure(FCM_ENDPOINT={fcm.url!r}, GOOGLE_APPLICATION_CREDENTIALS="", PUSH_TRANSPORT="fcm")
        from devices.push import PushMessage, send
        def say(token):
            assert send([PushMessage(token, {{"a": "b"}}, 60, "key", 1)])[0].outcome == "delivered"
        say("parent")
        child = os.fork()
        say("child" if child == 0 else "parent")
        if child:
            assert os.waitpid(child, 0)[1] == 0
            say("parent")
    """
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=root, check=True, timeout=60)

    assert sorted(fcm.tokens) == ["child", "parent", "parent", "parent"]
    ports = {(request.message["token"], request.port) for request in fcm.received}
    assert len({port for _, port in ports}) == len(ports) == 2


def test_naming_the_transport_does_not_load_the_sdk() -> None:
    program = "import sys; from devices import push; assert 'firebase_admin' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True, timeout=60)
