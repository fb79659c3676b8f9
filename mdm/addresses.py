"""Whose address counts as one: a single IPv4 address, or the network that an IPv6 host may change its own in."""

import ipaddress
from typing import Final

from django.http import HttpRequest

IPV6_NETWORK_BITS: Final = 64


def client_network(request: HttpRequest) -> str:
    """`192.0.2.7`, or `2001:db8:1:2::/64`; "unknown" where the server was told none."""
    text: str = request.META.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
    return str(address)
