"""The operators' door /v1: who may enter, and how refusals look. The routes live with what they are about."""

from collections.abc import Mapping
from typing import Any, Final

from csp.decorators import csp_update
from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.request import RawPostDataException
from django.utils.datastructures import MultiValueDict
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser
from ninja.security import APIKeyCookie, HttpBearer

from apks.api import router as apks_router
from deployments.api import router as deployments_router
from devices.api import router as devices_router
from mdm import api_tokens, json_body, problem_json, throttle
from mdm.addresses import client_network
from mdm.door import request_id
from mdm.people import Actor
from mdm.problems import Invalid, Problem, Unauthorized
from mdm.watch.api import router as watch_router

DESCRIPTION: Final = """Upgrades an app on a fleet of Android devices without breaking any.

Lists are `{items, count, page, page_size}`; refusals are `application/problem+json`; times are ISO 8601 with
offset; ids are opaque."""


class TokenAuth(HttpBearer):
    """A personal API token."""

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        found = api_tokens.authenticate(token)
        if found is None:
            throttle.wrong_token(client_network(request), token)
            raise Unauthorized("The API token is unknown, revoked or expired, or its user is inactive.")
        return Actor.person(found.user, read_only=found.read_only, request_id=request_id(request))


class SessionAuth(APIKeyCookie):
    """A browser's session; what changes something must carry the CSRF token."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> Any:
        return super().__call__(request) if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> Actor | None:
        if not request.user.is_authenticated:
            return None
        return Actor.person(request.user, request_id=request_id(request))


class SafeParser(Parser):
    """Hands nothing on that PostgreSQL could not store."""

    def parse_body(self, request: HttpRequest) -> Any:
        return json_body.parse(request.body)

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        for name, values in data.lists():
            if any(isinstance(value, str) and "\0" in value for value in values):
                raise Invalid(
                    "A parameter holds a NUL character.", slug="nul_character", errors={name: "Holds NUL."}
                )
        return super().parse_querydict(data, list_fields, request)


api = NinjaAPI(
    title="NexMDM Deployments",
    version="1",
    description=DESCRIPTION,
    urls_namespace="v1",
    auth=[TokenAuth(), SessionAuth()],
    parser=SafeParser(),
    # Swagger UI sets styles of its own and draws its icons from data: addresses.
    docs_decorator=csp_update({"style-src": ["'self'", "'unsafe-inline'"], "img-src": ["'self'", "data:"]}),
)
api.add_router("", apks_router)
api.add_router("", devices_router)
api.add_router("", deployments_router)
api.add_router("", watch_router)


@api.exception_handler(Problem)
def _problem(_request: HttpRequest, problem: Problem) -> HttpResponse:
    return problem_json.response(problem)


@api.exception_handler(AuthenticationError)
def _nobody(_request: HttpRequest, _error: AuthenticationError) -> HttpResponse:
    return problem_json.response(Unauthorized("Sign in or send an API token."))


@api.exception_handler(ValidationError)
def _invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    """What is no id in a path is as unknown as an id that nobody has."""
    if any(found["loc"][0] == "path" for found in error.errors):
        return problem_json.plain(404, "There is nothing with this id.")
    return problem_json.invalid([_located(found) for found in error.errors])


def _located(found: Mapping[str, Any]) -> dict[str, Any]:
    """ninja names the source and its own argument first; people want the field."""
    source, *path = found["loc"]
    return {**found, "loc": path[1:] if source == "body" else path}


@api.exception_handler(HttpError)
def _http_error(_request: HttpRequest, error: HttpError) -> HttpResponse:
    cause = error.__cause__
    return (
        problem_json.response(cause)
        if isinstance(cause, Problem)
        else problem_json.plain(error.status_code, str(error))
    )


@api.exception_handler(Http404)
def _not_found(_request: HttpRequest, _error: Http404) -> HttpResponse:
    return problem_json.plain(404)


@api.exception_handler(RequestDataTooBig)
def _too_large(_request: HttpRequest, _error: RequestDataTooBig) -> HttpResponse:
    return problem_json.plain(413)


@api.exception_handler(RawPostDataException)
def _no_json(_request: HttpRequest, _error: RawPostDataException) -> HttpResponse:
    return problem_json.plain(415)


def _bad_request(_request: HttpRequest, _error: Exception | type[Exception]) -> HttpResponse:
    return problem_json.plain(400)


for _unreadable in (SuspiciousOperation, BadRequest, MultiPartParserError, UnreadablePostError):
    api.add_exception_handler(_unreadable, _bad_request)
