"""Compresses what is text on its way to people; packages are compressed already and are asked for in ranges."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

_TEXT = ("text/", "application/json", "application/problem+json", "application/javascript", "image/svg+xml")


class TextCompression(GZipMiddleware):
    """Django's, for text alone; it hides lengths from whoever guesses at secrets by them."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.headers.get("Content-Type", "").startswith(_TEXT):
            return response
        return super().process_response(request, response)
