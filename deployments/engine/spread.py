"""The limit per group: never more tasks in flight among one group's devices than `max_per_group`, so that a shop
is never dark all at once.

`spread_groups` says which groups are meant. A device in several of them needs a place in each, and the tasks of all
deployments count, those as well that were canceled in flight and have not let go of their device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from deployments.locking import lock_groups
from deployments.rules.options import DeploymentOptions

_MEANT: Final = "(SELECT DISTINCT g AS name FROM unnest(d.groups) AS g WHERE g LIKE %(meant)s)"
_AT_WORK: Final = f"""SELECT meant.name, count(*) FROM deployment_task t JOIN device d ON d.id = t.device_id
    CROSS JOIN LATERAL {_MEANT} AS meant WHERE t.in_flight_until IS NOT NULL GROUP BY meant.name"""
_GROUPS_OF: Final = f"""SELECT d.id, ARRAY{_MEANT}::text[] FROM device d WHERE d.id = ANY(%(devices)s)"""
_LARGEST: Final = f"""SELECT meant.name, count(*) FROM dry_run_device r JOIN device d ON d.id = r.device_id
    CROSS JOIN LATERAL {_MEANT} AS meant WHERE r.dry_run_id = %(id)s AND r.classification = 'will_update'
    GROUP BY meant.name ORDER BY count(*) DESC, meant.name LIMIT 1"""


@dataclass(slots=True)
class Places:
    """How many devices of each group are at work. `limit` None: nothing limits."""

    limit: int | None
    at_work: dict[str, int]

    @property
    def full(self) -> tuple[str, ...]:
        if self.limit is None:
            return ()
        return tuple(sorted(name for name, count in self.at_work.items() if count >= self.limit))

    def take(self, groups: Sequence[str]) -> bool:
        """Takes a place in each of these groups; False, and nothing is taken, where one of them is full."""
        if self.limit is None:
            return True
        counts = {name: self.at_work.get(name, 0) + 1 for name in groups}
        if any(count > self.limit for count in counts.values()):
            return False
        self.at_work |= counts
        return True


def places(options: DeploymentOptions) -> Places:
    """As the rows say now: exact under the groups' locks, good enough without them to show or to choose by."""
    if options.max_per_group is None:
        return Places(None, {})
    return Places(options.max_per_group, dict(_rows(_AT_WORK, {"meant": like(options.spread_groups)})))


def groups_of(options: DeploymentOptions, devices: Sequence[int]) -> Mapping[int, list[str]]:
    """The groups of these devices that the limit is about."""
    if options.max_per_group is None or not devices:
        return {}
    return dict(_rows(_GROUPS_OF, {"meant": like(options.spread_groups), "devices": list(devices)}))


def with_a_place(options: DeploymentOptions, tasks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of these (task, device) pairs those whose groups have a place for them, in their order. The places stay true
    to the end of the transaction: who claims under the limit waits for the locks of the groups."""
    groups = groups_of(options, [device for _, device in tasks])
    if not any(groups.values()):
        return tasks
    lock_groups({name for names in groups.values() for name in names})
    now = places(options)
    return [(task, device) for task, device in tasks if now.take(groups.get(device, ()))]


def largest_group(options: DeploymentOptions, dry_run_id: int) -> tuple[str, int] | None:
    """Of the devices that could start now: the group with the most of them, and how many."""
    if options.max_per_group is None:
        return None
    rows = _rows(_LARGEST, {"meant": like(options.spread_groups), "id": dry_run_id})
    return rows[0] if rows else None


def like(pattern: str | None) -> str:
    """`*` stands for any text, `?` for one character, everything else for itself."""
    literal = (pattern or "*").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return literal.replace("*", "%").replace("?", "_")


def _rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
