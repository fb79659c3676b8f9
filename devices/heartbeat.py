"""The beat of a device: one cheap write to a narrow row, and to the device's own row only where it changed."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import connection

from devices.inventory import HeartbeatIn, current_versions
from devices.tokens import DeviceCredential
from mdm import prepared

# What was said last stands until something else is said; the two of the moment do not.
LASTING: Final = (
    "battery",
    "charging",
    "network",
    "free_storage_mb",
    "doze_exempt",
    "device_owner",
)
MOMENTARY: Final = ("in_call", "in_use")
# What a beat may say of the device itself; compared with what its credential was read with.
TRAITS: Final = ("agent_version", "sdk_int", "max_schema", "tz", "fcm_token")

# Whether it is metered is said of a network: of another one it is not known.
METERED: Final = """metered = COALESCE(%(metered)s, CASE WHEN %(network)s::text IS NULL OR %(network)s::text = network
    THEN metered END)"""

_READINGS: Final = [
    *(f"{name} = COALESCE(%({name})s, {name})" for name in LASTING),
    *(f"{name} = %({name})s" for name in MOMENTARY),
    METERED,
]
_BEAT: Final = (
    f"UPDATE heartbeat SET received_at = %(now)s, {', '.join(_READINGS)} WHERE device_id = %(device_id)s"
)


def store(device: DeviceCredential, beat: HeartbeatIn, now: datetime) -> Mapping[str, Any] | None:
    """Stores the beat; returns the whole inventory as `current_versions` where the beat brought one."""
    readings = {name: getattr(beat, name) for name in (*LASTING, *MOMENTARY, "metered")}
    with prepared.cursor() as cursor:
        cursor.execute(_BEAT, readings | {"now": now, "device_id": device.device_id})
    versions = None if beat.packages is None else current_versions(beat.packages)
    _store_traits(device, beat, versions)
    return versions


def _store_traits(device: DeviceCredential, beat: HeartbeatIn, versions: Mapping[str, Any] | None) -> None:
    changed = {
        name: value
        for name in TRAITS
        if (value := getattr(beat, name)) is not None and value != getattr(device, name)
    }
    unchanged = "false" if changed else "current_versions = %(current_versions)s::jsonb"
    if versions is not None:
        changed["current_versions"] = json.dumps(versions)
    if not changed:
        return
    assignments = ", ".join(f"{name} = %({name})s" for name in changed)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE device SET {assignments} WHERE id = %(device_id)s AND NOT ({unchanged})",
            changed | {"device_id": device.device_id},
        )
