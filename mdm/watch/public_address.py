"""Addresses that a webhook may call: those of the public Internet, and those that a setting names."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# All of IPv6 that leads out. What lies beside it is local, nobody's, or carries an IPv4 address inside, which the
# network may unwrap behind our back (mapped, compatible, translated, NAT64).
_UNICAST: Final = ipaddress.ip_network("2000::/3")


class RefusedAddressError(Exception):
    """The name leads to where a webhook may not go."""


def look_up(host: str, port: int, allowed: Sequence[Network]) -> str:
    """The address of `host`, asked for once. RefusedAddressError where any of its addresses may not be called; OSError
    where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(info[4][0]).partition("%")[0] for info in found]
    for address in addresses:
        if not may_be_called(ipaddress.ip_address(address), allowed):
            raise RefusedAddressError(f"{host} is {address}, which ALERT_WEBHOOK_NETWORKS does not allow")
    return addresses[0]


def may_be_called(address: Address, allowed: Sequence[Network]) -> bool:
    if any(address in network for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv6Address) and (address not in _UNICAST or _wraps_another(address)):
        return False
    return address.is_global and not address.is_multicast


def _wraps_another(address: ipaddress.IPv6Address) -> bool:
    return bool(address.sixtofour or address.teredo)
