"""Push as it is set up: the service account, its access tokens, and what cannot work."""

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.checks import run_checks
from pytest_django import Settings

from devices import push
from devices.push import Outcome
from tests.devices.messages import message, send_one
from tests.fakes import FcmAnswer, LoopbackFcm, fcm_refusal


@pytest.fixture
def service_account(settings: Settings, tmp_path: Path, fcm: LoopbackFcm) -> LoopbackFcm:
    """Real FCM with an account whose access tokens are to be had from the loopback's `/token`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "project_id": "shop",
        "client_email": "push@shop.example",
        "token_uri": f"{fcm.url}/token",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    settings.FCM_ENDPOINT = ""
    settings.GOOGLE_APPLICATION_CREDENTIALS = str(path)
    return fcm


def test_the_sdk_still_has_the_inside_that_we_reach_into(service_account: LoopbackFcm) -> None:
    from firebase_admin import messaging

    from devices import fcm
    from devices.bounded_http import BoundedAdapter

    app = fcm._app()
    service = messaging._get_messaging_service(app)

    assert service._fcm_url == "https://fcm.googleapis.com/v1/projects/shop/messages:send"
    adapters = service._client.session.adapters.values()
    assert all(isinstance(adapter, BoundedAdapter) and adapter.max_retries.total == 0 for adapter in adapters)
    assert service._client.timeout == fcm.TIMEOUT_SEC


@pytest.mark.parametrize(
    ("answer", "outcome", "wait"),
    [
        pytest.param(
            FcmAnswer(400, b'{"error": "invalid_grant"}'), Outcome.REJECTED, None, id="the account is refused"
        ),
        pytest.param(
            FcmAnswer(503, headers={"Retry-After": "9"}), Outcome.BACKOFF, 9, id="no access tokens today"
        ),
        pytest.param(FcmAnswer(200, b'{"hello": 1}'), Outcome.BACKOFF, None, id="an answer without one"),
        pytest.param(FcmAnswer(manner="drop"), Outcome.BACKOFF, None, id="the connection is cut"),
    ],
)
def test_without_access_a_whole_batch_asks_once_and_sends_nothing(
    service_account: LoopbackFcm, answer: FcmAnswer, outcome: Outcome, wait: int | None
) -> None:
    service_account.answers["/token"] = answer

    results = push.send([message("device", number) for number in range(20)])

    assert {(result.outcome, result.retry_after_sec) for result in results} == {(outcome, wait)}
    assert [request.path for request in service_account.received] == ["/token"]


def test_after_a_refused_access_token_the_next_batch_fetches_a_new_one(fcm: LoopbackFcm) -> None:
    from devices.fcm import _app

    credential = _app().credential.get_credential()
    fcm.answers["device"] = fcm_refusal(401, "UNAUTHENTICATED")
    assert send_one().outcome is Outcome.REJECTED
    assert not credential.valid

    fcm.answers.clear()
    assert send_one().outcome is Outcome.DELIVERED
    assert credential.valid


def test_nothing_to_object_to_where_loopback_fcm_is_named(fcm: LoopbackFcm) -> None:
    assert [problem.msg for problem in run_checks() if problem.id == "devices.E001"] == []


@pytest.mark.parametrize(
    ("endpoint", "account", "sentence"),
    [
        pytest.param("", "", "names no service account file", id="Google without an account"),
        pytest.param("", "/nowhere.json", "No such file", id="an account that is not there"),
        pytest.param("", os.devnull, "Expecting value", id="an account that is no JSON"),
        pytest.param("https://fcm.example.com", "", "only be a loopback", id="a host elsewhere"),
        pytest.param("http://127.0.0.1.example.com", "", "only be a loopback", id="a name like loopback"),
        pytest.param("http://127.0.0.1@10.0.0.1:80", "", "only be a loopback", id="loopback as a user"),
        pytest.param("http://0.0.0.0:9099", "", "only be a loopback", id="every address"),
        pytest.param("ftp://127.0.0.1", "", "only be a loopback", id="another protocol"),
        pytest.param("http://127.0.0.1:99999", "", "Port out of range", id="a port that is none"),
    ],
)
def test_what_cannot_work_is_said_at_the_start_and_rejects_every_message(
    settings: Settings, endpoint: str, account: str, sentence: str
) -> None:
    settings.PUSH_TRANSPORT = "fcm"
    settings.FCM_ENDPOINT = endpoint
    settings.GOOGLE_APPLICATION_CREDENTIALS = account

    [problem] = [problem for problem in run_checks() if problem.id == "devices.E001"]

    assert sentence in problem.msg
    result = send_one()
    assert result.outcome is Outcome.REJECTED
    assert sentence in result.detail


def test_what_is_not_used_is_not_checked(settings: Settings) -> None:
    settings.PUSH_TRANSPORT = "checkin"
    assert not push.enabled()
    assert push.problems() == []
