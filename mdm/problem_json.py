"""Refusals on the wire: application/problem+json, whoever raised them."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from mdm.problems import Invalid, Problem, TooManyAttempts

logger = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
PREFIX: Final = "/v1/"
FIRST_ERROR: Final = 400
MAX_NAMED_ERRORS: Final = 50
SURELY_READ_BYTES: Final = 8 * 1024
RETRY_AFTER_SEC: Final = 5
DATABASE_AWAY: Final = (OperationalError, InterfaceError)

# pydantic says where a value came from and through which arm of a union; a person wants the field.
_SENTENCES: Final = {
    "missing": "This is missing.",
    "extra_forbidden": "There is no such field.",
    "int_type": "Must be a whole number.",
    "int_parsing": "Must be a whole number.",
    "string_type": "Must be a text.",
    "bool_type": "Must be true or false.",
    "json_invalid": "This is no valid JSON.",
}
_DETAILS: Final = {
    400: "The request cannot be read.",
    403: "The request was refused.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    411: "Send the length of the body; one in chunks is not read.",
    413: "The request is too large.",
    415: "Send JSON.",
    500: "Something went wrong here; it has been logged.",
    503: "The database cannot be asked just now. Nothing was done; come back in a few seconds.",
}


def response(problem: Problem) -> HttpResponse:
    answer = _response(problem.status, problem.body())
    if problem.status == HTTPStatus.UNAUTHORIZED:
        answer["WWW-Authenticate"] = "Bearer"
    if isinstance(problem, TooManyAttempts):
        answer["Retry-After"] = str(problem.retry_after)
    return answer


def plain(status: int, detail: str = "") -> HttpResponse:
    """A refusal that no domain call raised."""
    phrase = HTTPStatus(status).phrase
    body = {
        "type": phrase.lower().replace(" ", "_"),
        "title": phrase,
        "status": status,
        "detail": detail or _DETAILS.get(status, f"{phrase}."),
    }
    return _response(status, body)


def unavailable(error: Exception) -> HttpResponse:
    """503 for what `DATABASE_AWAY` raised: agents and scripts come back, where a 500 would be a fault of ours."""
    logger.error("The database failed: %s", " ".join(str(error).split()))
    answer = plain(HTTPStatus.SERVICE_UNAVAILABLE)
    answer["Retry-After"] = str(RETRY_AFTER_SEC)
    return answer


def invalid(details: Iterable[Mapping[str, Any]], skip: int = 0) -> HttpResponse:
    """422 for what pydantic found (its `errors()`); `skip` leaves out the first parts of each location."""
    errors: dict[str, str] = {}
    for found in details:
        path = ".".join(str(part) for part in found["loc"][skip:] if not _names_a_type(part))
        errors.setdefault(path or "body", _sentence(found))
    few = dict(list(errors.items())[:MAX_NAMED_ERRORS])
    detail = "; ".join(f"{path}: {sentence}" for path, sentence in list(few.items())[:3])
    return response(Invalid(detail, errors=few))


def _sentence(found: Mapping[str, Any]) -> str:
    said = _SENTENCES.get(found["type"]) or f"{found['msg'].replace('Input should', 'Must').rstrip('.')}."
    return said.removeprefix("Value error, ")


def _names_a_type(part: object) -> bool:
    """Arms of a union stand in pydantic's locations by their type."""
    return isinstance(part, str) and (part[:1].isupper() or "[" in part or part in ("int", "str", "bool"))


def _response(status: int, body: Mapping[str, Any]) -> HttpResponse:
    return HttpResponse(json.dumps(body), status=status, content_type=CONTENT_TYPE)


class ProblemJsonMiddleware:
    """Under /v1 no error leaves as HTML or text: unknown addresses and methods, bad requests, crashes, …"""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = plain(411) if _has_no_length(request) else self.get_response(request)
        if answer.status_code >= FIRST_ERROR and request.path_info.startswith(PREFIX):
            _reshape(answer)
            if _may_be_unread(request):
                answer["Connection"] = "close"
        return answer

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Of a view; the agents' door, which is further inside, does the same."""
        under_v1 = request.path_info.startswith(PREFIX)
        return unavailable(error) if under_v1 and isinstance(error, DATABASE_AWAY) else None


def _has_no_length(request: HttpRequest) -> bool:
    """A body in chunks: Django reads as much as was announced, which is nothing, and all fields would be missing."""
    return request.path_info.startswith(PREFIX) and "Transfer-Encoding" in request.headers


def _may_be_unread(request: HttpRequest) -> bool:
    """The web server ends a connection on which a body was left; who is not told so loses its next request there."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return not length.isdecimal() or int(length) > SURELY_READ_BYTES or _has_no_length(request)


def _reshape(answer: HttpResponseBase) -> None:
    if isinstance(answer, HttpResponse) and "json" not in answer.headers.get("Content-Type", ""):
        answer.content = plain(answer.status_code).content
        answer["Content-Type"] = CONTENT_TYPE
        answer["Content-Length"] = str(len(answer.content))  # the other body's was set further inside,
        del answer.headers["Content-Encoding"]  # as was this, where the client takes gzip
