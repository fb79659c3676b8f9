"""The frame of every agent route, kept as thin as Django allows: these are thousands of requests a second.

ninja would cost 80 to 200 µs a request here, as much as the statements of a heartbeat, so the routes are plain
views; what operators get from ninja (problem+json, OpenAPI) agents get from here and from agent_api.openapi.
"""

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel, ValidationError

from agent_api.auth import bearer
from mdm import counters, json_body, problem_json, throttle
from mdm.addresses import client_network
from mdm.problems import NotFound, Problem, TooManyAttempts, Unauthorized
from mdm.wire_types import as_id

MAX_BODY: Final = 64 * 1024

View = Callable[..., HttpResponse]
_Body = TypeVar("_Body", bound=BaseModel)


class TooLarge(Problem):
    status = 413
    title = "The body is too large"
    slug = "too_large"


class Unreadable(Problem):
    status = 400
    title = "The body could not be read"
    slug = "unreadable"


def door(method: str) -> Callable[[View], View]:
    """A view of one method. Agents bring no cookies, so there is nothing for a forged form to ride on."""

    def framed(view: View) -> View:
        def entered(request: HttpRequest, **ids: str) -> HttpResponse:
            status = 500  # unless something else comes out
            try:
                answer = _answered(view, request, ids) if request.method == method else _not_allowed(method)
                status = answer.status_code
                return answer
            finally:
                counters.gatherer.count(
                    counters.key(counters.AGENT_REQUESTS, route=view.__name__, status=str(status))
                )

        entered.__name__, entered.__doc__ = view.__name__, view.__doc__
        return csrf_exempt(entered)

    return framed


def _answered(view: View, request: HttpRequest, ids: dict[str, str]) -> HttpResponse:
    try:
        answer = view(request, **{name: path_id(text) for name, text in ids.items()})
    except Unauthorized as refusal:
        answer = problem_json.response(_slowed(request, refusal))
    except Problem as problem:
        answer = problem_json.response(problem)
    except ValidationError as error:
        answer = problem_json.invalid(error.errors(include_url=False, include_input=False))
    except problem_json.DATABASE_AWAY as error:
        answer = problem_json.unavailable(error)
    answer["Content-Length"] = str(len(answer.content))
    return answer


def _slowed(request: HttpRequest, refusal: Unauthorized) -> Problem:
    """Counted only now that a token was refused: a fleet behind one address is never locked out by one device."""
    try:
        throttle.wrong_token(client_network(request), refusal.given or bearer(request))
    except TooManyAttempts as slowed:
        return slowed
    return refusal


def path_id(text: str) -> int:
    """NotFound for what can be nobody's id."""
    found = as_id(text)
    if found is None:
        raise NotFound("There is nothing with this id.")
    return found


def body_of(request: HttpRequest) -> bytes:
    """At most 64 KB without NUL in a text. TooLarge, Invalid, Unreadable."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise TooLarge(f"At most {MAX_BODY} bytes.")
    try:
        raw = request.body
    except UnreadablePostError:
        raise Unreadable("The connection was lost.") from None
    json_body.check_nul(raw)
    return raw


def read(request: HttpRequest, schema: type[_Body]) -> _Body:
    """The body as this schema. ValidationError, and what body_of raises."""
    return schema.model_validate_json(body_of(request))


def answer(body: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(json.dumps(body), status=status, content_type="application/json")


def _not_allowed(method: str) -> HttpResponse:
    refusal = problem_json.plain(405)
    refusal["Allow"] = method
    return refusal
