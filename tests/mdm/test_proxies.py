from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from mdm.environment import networks
from mdm.proxies import TrustedProxyMiddleware

TRUSTED = networks("TRUSTED_PROXIES", ["10.0.0.0/8", "192.168.1.5"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client", "secure"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9", False),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1", True),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1", True),
        ("10.0.0.1", "198.51.100.1, 192.168.1.5", "198.51.100.1", True),
        ("10.0.0.1", "<script>", "10.0.0.1", True),
        ("10.0.0.1", "", "10.0.0.1", True),
        ("", "198.51.100.1", "", False),
    ],
    ids=[
        "a stranger's header is dropped",
        "a trusted proxy is believed",
        "what a client invented before the proxy is not",
        "a chain of trusted proxies is followed",
        "nonsense is not an address",
        "a proxy that says nothing",
        "no address at all",
    ],
)
def test_forwarded_headers(settings: Any, peer: str, forwarded: str, client: str, secure: bool) -> None:
    settings.TRUSTED_PROXIES = TRUSTED
    seen: list[HttpRequest] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse()

    headers = {"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"}
    TrustedProxyMiddleware(view)(RequestFactory(headers=headers, REMOTE_ADDR=peer).get("/"))
    assert (seen[0].META["REMOTE_ADDR"], seen[0].is_secure()) == (client, secure)


def test_without_trusted_proxies_nobody_is_believed() -> None:
    request = RequestFactory(headers={"X-Forwarded-Proto": "https"}, REMOTE_ADDR="10.0.0.1").get("/")
    TrustedProxyMiddleware(lambda _: HttpResponse())(request)
    assert not request.is_secure()
