"""Who an agent is: its device token, in one query."""

from django.http import HttpRequest

from devices import tokens
from devices.tokens import DeviceCredential
from mdm.problems import Forbidden

SCHEME = "bearer "


def bearer(request: HttpRequest) -> str:
    """The token of the Authorization header, "" where there is none."""
    header: str = request.META.get("HTTP_AUTHORIZATION", "")
    return header[len(SCHEME) :].strip() if header[: len(SCHEME)].lower() == SCHEME else ""


def device_of(request: HttpRequest) -> DeviceCredential:
    """The device that asks, retired or not. Unauthorized."""
    return tokens.authenticate(bearer(request))


def itself(device: DeviceCredential, device_id: int) -> None:
    """Forbidden where the path names another device."""
    if device.device_id != device_id:
        raise Forbidden("This token belongs to another device.")
