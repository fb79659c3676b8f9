"""Firebase Cloud Messaging through its own SDK. Nothing else imports that; `devices.push` is the way in.

The SDK repeats requests in secret (7 to 12 s in an outage, and what was taken may be taken twice), waits
120 s and offers no option against either, nor for another address. `_harden` is the one place that reaches
into it.
"""

import datetime as dt
import os
import re
import threading
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import firebase_admin
import requests
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from firebase_admin import credentials, messaging
from firebase_admin.exceptions import FirebaseError, UnauthenticatedError
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from devices.bounded_http import BoundedAdapter
from devices.push import BATCH, Outcome, PushMessage, PushResult
from mdm.environment import is_loopback

TIMEOUT_SEC = 5
TTL_MAX_SEC = 28 * 24 * 3600  # FCM refuses more
RETRY_AFTER_MAX_SEC = 24 * 3600


def send_batch(batch: Sequence[PushMessage]) -> list[PushResult]:
    """One result for each of at most `BATCH` messages, in their order. Never raises for the far end's
    faults; what the settings or the message forbid is `rejected`."""
    try:
        app = _app()
        _authorize(app)
        answers = messaging.send_each([_sdk_message(message) for message in batch], app=app).responses
    except (FirebaseError, GoogleAuthError) as error:
        return [_failed(message, error) for message in batch]
    except (ImproperlyConfigured, OSError, ValueError) as error:
        return [PushResult(message.reference, Outcome.REJECTED, None, _line(error)) for message in batch]
    _forget_refused_access(app, answers)
    return [_result(message, answer) for message, answer in zip(batch, answers, strict=True)]


def _sdk_message(message: PushMessage) -> messaging.Message:
    android = messaging.AndroidConfig(
        priority="high",
        ttl=max(0, min(message.ttl, TTL_MAX_SEC)),
        collapse_key=message.collapse_key,
    )
    sdk_message = messaging.Message(data=dict(message.data), android=android)
    # Not as an argument: the SDK warns that tokens are deprecated there, and tokens are what agents have.
    sdk_message.token = message.token
    return sdk_message


def _result(message: PushMessage, answer: messaging.SendResponse) -> PushResult:
    if answer.success:
        return PushResult(message.reference, Outcome.DELIVERED, None, str(answer.message_id))
    if answer.exception is None:
        return PushResult(message.reference, Outcome.BACKOFF, None, "the answer names no message")
    return _failed(message, answer.exception)


def _failed(message: PushMessage, error: Exception) -> PushResult:
    # The Firebase SDK and google-auth both keep what the transport raised; the answer, if any, hangs on that.
    cause = getattr(error, "cause", None) or error.__cause__
    answer = getattr(cause, "response", None)
    outcome = _outcome(error, None if answer is None else answer.status_code)
    told = answer.headers.get("Retry-After") if answer is not None and outcome is Outcome.BACKOFF else None
    wait = retry_after(told, dt.datetime.now(dt.UTC)) if told else None
    return PushResult(message.reference, outcome, wait, _line(error))


def _outcome(error: Exception, status: int | None) -> Outcome:
    # Only FCM's own word costs a token: a plain 404 is a wrong project or address, and would cost all of
    # them.
    if isinstance(error, messaging.UnregisteredError | messaging.SenderIdMismatchError):
        return Outcome.TOKEN_GONE
    refused = status is not None and 400 <= status < 500 and status not in (408, 429)
    return Outcome.REJECTED if refused else Outcome.BACKOFF


def _line(error: Exception) -> str:
    code = getattr(error, "code", None) or type(error).__name__
    return f"{code}: {' '.join(str(error).split())}"[:300]


def retry_after(value: str, now: dt.datetime) -> int | None:
    """Seconds to wait by a `Retry-After` header, a number of seconds or a date (RFC 9110, 10.2.3); at most
    a day, None if it is neither."""
    if re.fullmatch(r" *[0-9]{1,9} *", value):
        return min(int(value), RETRY_AFTER_MAX_SEC)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=dt.UTC)
    return max(0, min(int((until - now).total_seconds()), RETRY_AFTER_MAX_SEC))


def _authorize(app: firebase_admin.App) -> None:
    """Fetches an access token before the batch: its hundred threads would otherwise each fetch their own."""
    credential = app.credential.get_credential()
    if credential.valid:
        return
    with requests.Session() as session:
        _mount(session, BoundedAdapter(TIMEOUT_SEC, pool_size=1))
        credential.refresh(Request(session))


def _forget_refused_access(app: firebase_admin.App, answers: Sequence[messaging.SendResponse]) -> None:
    """An access token can be revoked before it expires; the next batch then fetches a new one."""
    if any(isinstance(answer.exception, UnauthenticatedError) for answer in answers):
        app.credential.get_credential().token = None


_setup = threading.Lock()


def _app() -> firebase_admin.App:
    """The SDK's app of this process: connections must not cross the fork of a worker.

    Raises ImproperlyConfigured, OSError or ValueError for settings that cannot work.
    """
    name = f"push {os.getpid()} {settings.FCM_ENDPOINT} {settings.GOOGLE_APPLICATION_CREDENTIALS}"
    with _setup:
        try:
            return firebase_admin.get_app(name)
        except ValueError:
            return _new_app(name)


def _new_app(name: str) -> firebase_admin.App:
    url = _loopback_url()
    options = {"httpTimeout": TIMEOUT_SEC} | ({"projectId": "demo"} if url else {})
    app = firebase_admin.initialize_app(_Demo() if url else _service_account(), options, name)
    try:
        _harden(app, url)
    except (AttributeError, ValueError) as error:
        firebase_admin.delete_app(app)
        raise ImproperlyConfigured(f"The Firebase SDK cannot be used: {error}") from error
    return app


def _harden(app: firebase_admin.App, url: str | None) -> None:
    """Takes retries and long waits out of the SDK and points it at `url`; None = Google's.

    Raises AttributeError if the SDK's inside has changed. Every start with `fcm` runs this, and a contract
    test.
    """
    service = messaging._get_messaging_service(app)
    session = service._client.session
    _mount(session, BoundedAdapter(TIMEOUT_SEC, pool_size=BATCH))
    if not hasattr(service, "_fcm_url"):
        raise AttributeError("its messaging service has no _fcm_url")
    if url:
        service._fcm_url = url
        session.trust_env = False  # a proxy of the environment would look for loopback on its own host


def _mount(session: requests.Session, adapter: BoundedAdapter) -> None:
    for prefix in list(session.adapters):
        session.mount(prefix, adapter)


def _service_account() -> credentials.Base:
    if not settings.GOOGLE_APPLICATION_CREDENTIALS:
        raise ImproperlyConfigured(
            "PUSH_TRANSPORT is fcm, but GOOGLE_APPLICATION_CREDENTIALS names no service account file."
        )
    return credentials.Certificate(settings.GOOGLE_APPLICATION_CREDENTIALS)


class _Demo(Credentials):
    """What a loopback FCM is shown; a real account's access token never leaves for anything but Google."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def refresh(self, request: Any) -> None:
        self.token = "demo"  # noqa: S105


def _loopback_url() -> str | None:
    """Where messages go by FCM_ENDPOINT; None = Google's.

    The address is put together again from its parsed parts, so that what was checked is what is called.
    """
    if not settings.FCM_ENDPOINT:
        return None
    parts = urlsplit(settings.FCM_ENDPOINT)
    host, port = parts.hostname or "", parts.port
    if not is_loopback(host) or parts.scheme not in ("http", "https"):
        raise ImproperlyConfigured(
            f"FCM_ENDPOINT is {settings.FCM_ENDPOINT!r}: it may only be a loopback address such as "
            "http://127.0.0.1:9099; leave it empty for Google's."
        )
    path = parts.path.rstrip("/")
    path = path if path.endswith("/messages:send") else f"{path}/v1/projects/demo/messages:send"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}{path}"


def problems() -> list[str]:
    """Why sending cannot work as it is set up, as sentences; empty = it can. Sends nothing."""
    try:
        _app()
    except (ImproperlyConfigured, OSError, ValueError) as error:
        return [str(error)]
    return []
