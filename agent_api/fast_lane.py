"""Lets agents past what only browsers need: sessions, CSRF, messages and page headers cost more than a report."""

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, get_resolver

PREFIX: Final = "/v1/agent/"


class AgentFastLane:
    """Stands behind what all requests need (proxies, https) and before the rest of the middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.resolver = get_resolver("agent_api.urls")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(PREFIX):
            return self.get_response(request)
        try:
            view, args, kwargs = self.resolver.resolve(request.path_info)
        except Resolver404:
            return self.get_response(request)
        answer: HttpResponseBase = view(request, *args, **kwargs)
        return answer
