"""GET /metrics: for a Prometheus on this very host, or for whoever has METRICS_TOKEN."""

import ipaddress
import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mdm import problem_json, throttle
from mdm.addresses import client_network
from mdm.problems import TooManyAttempts, Unauthorized
from mdm.proxies import DIRECT_PEER
from mdm.watch.metrics import Fleet


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """In the format that the caller accepts; 401 for anybody else, 503 while the database is away."""
    try:
        _admit(request)
        return _measured(request)
    except (Unauthorized, TooManyAttempts) as refusal:
        return problem_json.response(refusal)
    except problem_json.DATABASE_AWAY as error:
        return problem_json.unavailable(error)


def _measured(request: HttpRequest) -> HttpResponse:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fleet())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


def _admit(request: HttpRequest) -> None:
    if _from_this_host(request):
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = settings.METRICS_TOKEN
    if (
        token
        and scheme.lower() == "bearer"
        and secrets.compare_digest(given.strip().encode(), token.encode())
    ):
        return
    throttle.wrong_token(client_network(request), given)
    raise Unauthorized("Send METRICS_TOKEN as a bearer token.")


def _from_this_host(request: HttpRequest) -> bool:
    """Directly: a proxy on this host speaks for somebody else, whether or not it is a trusted one."""
    try:
        peer = ipaddress.ip_address(request.META.get(DIRECT_PEER, ""))
    except ValueError:
        return False
    mapped = getattr(peer, "ipv4_mapped", None)
    return bool((mapped or peer).is_loopback)
