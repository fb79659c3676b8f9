"""How many devices have which version: one pass over the fleet, kept for a while."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.core.cache import cache
from django.db import connection
from django.utils import timezone

KEPT_SEC: Final = 30
_KEY: Final = "devices.installed"
_COUNT: Final = """SELECT app.key, (app.value ->> 'version_code')::bigint, count(*)
    FROM device d, jsonb_each(d.current_versions) app WHERE d.status = 'active' GROUP BY 1, 2"""


@dataclass(frozen=True, slots=True)
class Installed:
    """`devices`: all active ones. `counts`: package -> version code -> active devices that have it."""

    devices: int
    counts: dict[str, dict[int, int]]
    as_of: datetime

    def having(self, package: str, code: int) -> int:
        return self.counts.get(package, {}).get(code, 0)

    def newer(self, package: str, code: int) -> int:
        """Devices that have a higher version."""
        return sum(count for other, count in self.counts.get(package, {}).items() if other > code)


def installed() -> Installed:
    """At most half a minute old."""
    found: Installed | None = cache.get(_KEY)
    if found is None:
        found = _count()
        cache.set(_KEY, found, KEPT_SEC)
    return found


def _count() -> Installed:
    counts: dict[str, dict[int, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT)
        for package, code, count in cursor.fetchall():
            counts.setdefault(package, {})[code] = count
        cursor.execute("SELECT count(*) FROM device WHERE status = 'active'")
        row: Any = cursor.fetchone()
    return Installed(devices=row[0], counts=counts, as_of=timezone.now())
