"""Three ways to begin: on a few devices, on a pilot, on everybody. Each is a starting point, all may be changed."""

from dataclasses import dataclass
from typing import Any, Final

from django.db import connection
from django.http import QueryDict

from apks.models import ApkVersion
from deployments.pages.deploy_form import TICKED
from deployments.rules.option_fields import FIELDS

STAGED: Final = 5

# Devices kept for trials first, then whoever was heard of last.
_STAGING: Final = """SELECT d.id FROM device d JOIN heartbeat h ON h.device_id = d.id
    WHERE d.status = 'active' AND h.received_at IS NOT NULL
        AND COALESCE((d.current_versions -> %(package)s ->> 'version_code')::bigint, 0) < %(code)s
    ORDER BY 'staging' = ANY(d.tags || d.groups) DESC, h.received_at DESC, d.id LIMIT %(count)s"""


@dataclass(frozen=True, slots=True)
class Preset:
    name: str
    label: str
    says: str
    options: dict[str, Any]


PRESETS: Final = {
    preset.name: preset
    for preset in (
        Preset("staging", "Staging", "a selection of 5 devices", {}),
        Preset(
            "pilot",
            "Pilot",
            "canary 3, 5 per minute, Wi-Fi only",
            {"canary": 3, "rate": 5, "wifi_only": True},
        ),
        Preset(
            "production",
            "Production",
            "canary 5, 10 per minute, 3 at a time",
            {"canary": 5, "rate": 10, "concurrency": 3},
        ),
    )
}


def apply(data: QueryDict, preset: Preset, version: ApkVersion) -> None:
    """Options back to their defaults but for the preset's; target and window stay, except with Staging."""
    for option in FIELDS:
        if option.kind in ("integer", "decimal", "boolean"):
            _set(data, option.name, preset.options.get(option.name, option.default))
    if preset.name == "staging":
        data["target_type"] = TICKED
        data["device_ids"] = ", ".join(str(pk) for pk in _staging(version))


def _set(data: QueryDict, name: str, value: Any) -> None:
    if value is None or value is False:
        data.pop(name, None)
    else:
        data[name] = "on" if value is True else str(value)


def _staging(version: ApkVersion) -> list[int]:
    params: dict[str, Any] = {
        "package": version.apk.package_name,
        "code": version.version_code,
        "count": STAGED,
    }
    with connection.cursor() as cursor:
        cursor.execute(_STAGING, params)
        return [row[0] for row in cursor.fetchall()]
