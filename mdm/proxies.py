"""`X-Forwarded-*` counts only from TRUSTED_PROXIES; from anybody else it is dropped."""

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

# In META: who really sent the request, "" where any proxy has passed it on.
DIRECT_PEER = "nexmdm.direct_peer"
FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
)


class TrustedProxyMiddleware:
    """Puts the client's own address into `REMOTE_ADDR` where a trusted proxy tells it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        passed_on = any(header in request.META for header in (*FORWARDED, "HTTP_FORWARDED", "HTTP_VIA"))
        request.META[DIRECT_PEER] = "" if passed_on else request.META.get("REMOTE_ADDR", "")
        if _is_trusted(request.META.get("REMOTE_ADDR", "")):
            request.META["REMOTE_ADDR"] = _client(request)
        else:
            for header in FORWARDED:
                request.META.pop(header, None)
        return self.get_response(request)


def _client(request: HttpRequest) -> str:
    """The last address in the chain that is not one of our proxies; what stands before it can be invented."""
    nearest: str = request.META["REMOTE_ADDR"]
    for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        address = hop.strip()
        if not _is_address(address):
            break
        nearest = address
        if not _is_trusted(address):
            break
    return nearest


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(text: str) -> bool:
    if not settings.TRUSTED_PROXIES or not _is_address(text):
        return False
    address = ipaddress.ip_address(text)
    return any(address in network for network in settings.TRUSTED_PROXIES)
