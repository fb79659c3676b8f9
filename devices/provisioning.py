"""What Android's setup wizard reads from a QR code to make our agent device owner, and the agent to enrol.

The names are Android's own (`android.app.admin.DevicePolicyManager.EXTRA_PROVISIONING_…`); the bundle of extras
is handed to the agent as it is.
"""

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any, Final

import segno
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

PREFIX: Final = "android.app.extra.PROVISIONING_"
COMPONENT: Final = f"{PREFIX}DEVICE_ADMIN_COMPONENT_NAME"
DOWNLOAD: Final = f"{PREFIX}DEVICE_ADMIN_PACKAGE_DOWNLOAD_LOCATION"
SIGNER: Final = f"{PREFIX}DEVICE_ADMIN_SIGNATURE_CHECKSUM"
EXTRAS: Final = f"{PREFIX}ADMIN_EXTRAS_BUNDLE"

QUIET_ZONE: Final = 4  # modules of white around the code, as the standard asks


def payload(token: str) -> dict[str, Any]:
    """For one enrolment token. Where the agent is downloaded from and who signed it only as far as settings tell."""
    found: dict[str, Any] = {COMPONENT: settings.AGENT_ADMIN_COMPONENT}
    if settings.AGENT_DOWNLOAD_URL:
        found[DOWNLOAD] = settings.AGENT_DOWNLOAD_URL
    if settings.AGENT_SIGNER_SHA256:
        found[SIGNER] = _url_safe(bytes.fromhex(settings.AGENT_SIGNER_SHA256))
    found[EXTRAS] = {"server_url": settings.PUBLIC_URL, "enrollment_token": token}
    return found


def is_complete() -> bool:
    """Whether a device fresh from its box can fetch the agent, or has to bring it."""
    return bool(settings.AGENT_DOWNLOAD_URL and settings.AGENT_SIGNER_SHA256)


def qr_svg(content: dict[str, Any]) -> SafeString:
    """A QR code of this JSON as an SVG drawing, black on white whatever the page's colours are."""
    matrix = segno.make_qr(json.dumps(content, separators=(",", ":")), error="m").matrix
    size = len(matrix) + 2 * QUIET_ZONE
    path = "".join(f"M{x} {y}h{length}v1h-{length}z" for x, y, length in _runs(matrix))
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" class="nx-qr" role="img" '
        'aria-label="QR code for the setup of a device" '
        'viewBox="0 0 {0} {0}" shape-rendering="crispEdges">'
        '<rect width="{0}" height="{0}" fill="#fff"/><path d="{1}" fill="#000"/></svg>',
        size,
        path,
    )


def _runs(matrix: tuple[bytearray, ...]) -> Iterator[tuple[int, int, int]]:
    """Column, row and length of each run of dark modules."""
    for y, row in enumerate(matrix, QUIET_ZONE):
        x = QUIET_ZONE
        for dark, modules in itertools.groupby(row):
            length = len(list(modules))
            if dark:
                yield x, y, length
            x += length


def _url_safe(digest: bytes) -> str:
    """As Android wants checksums: base64 for addresses, without padding."""
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
