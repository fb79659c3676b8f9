"""What a device says of itself: the heartbeat's body, and its list of packages as the record keeps it."""

import re
from functools import cache
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from mdm.wire_types import Int32, examples

MAX_PACKAGES: Final = 200
# Higher codes (versionCodeMajor) are newer than everything that can be deployed: the greatest int4 says so.
MAX_VERSION_CODE: Final = 2**31 - 1

_PACKAGE_NAME: Final = r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*$"
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


def _plain_fingerprint(value: object) -> object:
    return value.replace(":", "").lower() if isinstance(value, str) else value


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _known_zone(value: object) -> object:
    """A zone that the server does not know counts as none: the beat itself is worth more."""
    return value if not isinstance(value, str) or value in _zones() else None


Fingerprint = Annotated[
    str, BeforeValidator(_plain_fingerprint), StringConstraints(pattern=rf"^{_FINGERPRINT.pattern}$")
]
PackageName = Annotated[str, StringConstraints(pattern=_PACKAGE_NAME, max_length=223)]
SdkInt = Annotated[int, Field(ge=1, le=10_000, strict=True)]


class FromAgent(BaseModel):
    """Agents may be newer than the server: unknown fields are ignored, wrong types are not."""

    model_config = ConfigDict(extra="ignore", strict=True)


class PackageIn(FromAgent):
    """One installed package."""

    package: PackageName
    version_code: Annotated[int, Field(ge=0, le=2**63 - 1)]
    version_name: Annotated[str, Field(max_length=255)] | None = None
    signer_sha256: Fingerprint | None = None


Packages = Annotated[list[PackageIn], Field(max_length=MAX_PACKAGES)]


class HeartbeatIn(FromAgent):
    """What is null or left out was not reported; `packages` left out = unchanged, [] = none installed."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"battery": 81, "charging": False, "network": "wifi", "metered": False, "free_storage_mb": 9120},
            {
                "battery": 81,
                "tz": "Europe/Berlin",
                "max_schema": 1,
                "packages": [{"package": "com.nexmdm", "version_code": 121, "version_name": "1.0.121"}],
            },
        )
    )

    battery: Annotated[int, Field(ge=0, le=100)] | None = None
    charging: bool | None = None
    network: Literal["wifi", "ethernet", "cellular", "none"] | None = None
    metered: bool | None = None
    free_storage_mb: Annotated[Int32, Field(ge=0)] | None = None
    doze_exempt: bool | None = None
    in_call: bool | None = None
    device_owner: bool | None = None
    in_use: bool | None = None
    tz: Annotated[str | None, BeforeValidator(_known_zone)] = None
    max_schema: Annotated[Int32, Field(ge=0)] | None = None
    agent_version: Annotated[str, Field(max_length=60)] | None = None
    sdk_int: SdkInt | None = None
    fcm_token: Annotated[str, Field(max_length=4096)] | None = None
    packages: Packages | None = None


def current_versions(packages: list[PackageIn] | None) -> dict[str, dict[str, Any]]:
    """As Device.current_versions keeps it; a package named twice counts as named last."""
    return {found.package: _entry(found) for found in packages or ()}


def _entry(found: PackageIn) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "version_code": min(found.version_code, MAX_VERSION_CODE),
        "version_name": found.version_name or "",
    }
    if found.signer_sha256:
        entry["signer_sha256"] = found.signer_sha256
    return entry
