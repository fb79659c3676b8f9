"""One bounded HTTP request per call, for a far end that may hang, drip, drop or talk nonsense.

`requests` follows redirects, and Google's session above it sends again after a 401. Here one deadline covers a
whole exchange (mdm.deadline_http), and every answer but a well formed 200 is an exception, so that nothing above
ever sends a second time.
"""

import io
import json
from http import client
from typing import Any

import requests
from pydantic import BaseModel, Field, ValidationError
from requests.adapters import HTTPAdapter
from urllib3 import Timeout

from mdm.deadline_http import HttpPool, HttpsPool

MAX_ANSWER_BYTES = 65_536


class _Detail(BaseModel):
    type: str = Field("", alias="@type")
    errorCode: str = ""  # noqa: N815 - the wire's name


class _Error(BaseModel):
    status: str = ""
    message: str = ""
    details: list[_Detail] = []


class _ErrorBody(BaseModel):
    error: _Error = _Error()


class BoundedAdapter(HTTPAdapter):
    """A transport for `requests` that sends once and is done after `total_sec`, whatever the far end does.

    Raises a `requests.RequestException` for everything but a 200 whose body is a JSON object. An `HTTPError`
    carries the response; its body is reduced to the fields of a Google error, because the Firebase SDK falls
    over one that is formed otherwise and then forgets the answers to the whole batch.
    """

    def __init__(self, total_sec: float, pool_size: int) -> None:
        # Addresses (IPv6, IPv4) are tried in turn, each for its own connect time.
        self._timeout = Timeout(connect=total_sec / 2, total=total_sec)
        super().__init__(pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
        return manager

    def send(self, request: requests.PreparedRequest, *_: Any, **kwargs: Any) -> requests.Response:
        kwargs |= {"stream": True, "timeout": self._timeout}
        with super().send(request, **kwargs) as answer:
            body = _read(answer)
        if answer.status_code == client.OK:
            return _answer_with(answer, _json_object(body))
        answer = _answer_with(answer, _google_error(body))
        raise requests.HTTPError(f"{answer.status_code} {_excerpt(body)}", request=request, response=answer)


def _read(answer: requests.Response) -> bytes:
    body = b""
    for chunk in answer.iter_content(8192):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise requests.ConnectionError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
    return body


def _json_object(body: bytes) -> bytes:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise requests.ConnectionError(f"the answer is no JSON object: {_excerpt(body)}")
    return body


def _google_error(body: bytes) -> bytes:
    try:
        error = _ErrorBody.model_validate_json(body)
    except ValidationError:
        error = _ErrorBody()
    return error.model_dump_json(by_alias=True).encode()


def _answer_with(answer: requests.Response, body: bytes) -> requests.Response:
    clean = requests.Response()
    clean.status_code, clean.reason, clean.url = answer.status_code, answer.reason, answer.url
    clean.request, clean.headers = answer.request, answer.headers
    clean.encoding, clean.raw = "utf-8", io.BytesIO(body)
    return clean


def _excerpt(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())
