"""The one place where a reason is computed: an SQL expression over task `t`, device `d` and heartbeat `h`.

Dry run, planner, dispatch, pages, counts, CSV and API all read it from here; nothing computes a reason in
Python. The order of the cases is the precedence of deployments.rules.states.REASONS (a test holds them together).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection

from apks.models import ApkVersion
from deployments.models import Deployment
from deployments.rules import window as windows
from deployments.rules.options import DeploymentOptions
from deployments.rules.retry import RETRY_BUDGET, RETRY_BUDGET_PERIOD
from deployments.rules.states import MISSES, InstallMode
from mdm import prepared

COMMAND_SCHEMA: Final = 1
MIB: Final = 1024 * 1024
SERVER_ZONE: Final = ZoneInfo(settings.TIME_ZONE)

# A device in a dry run has no task yet: this row stands for the one it would get.
NO_TASK: Final = """(SELECT 0::bigint AS id, 'queued'::text AS status, false AS is_canary,
    NULL::timestamptz AS next_run_at, NULL::timestamptz AS in_flight_until, ''::text AS reason, 0 AS attempt,
    ''::text AS error_code, 0 AS failures, 0 AS agent_skips)"""

_APP: Final = "(d.current_versions -> %(package)s)"
INSTALLED_CODE: Final = f"({_APP} ->> 'version_code')::bigint"
_ZONE: Final = "COALESCE(NULLIF(d.tz, ''), %(server_tz)s)"
OUTSIDE_WINDOW: Final = f"%(all_closed)s OR {_ZONE} = ANY(%(closed_zones)s::text[])"

# One device at a time: a lookup by index. Many at once: one grouped pass that is hashed.
# What the push service did not take never left the server: an outage spends nobody's budget.
_TRIED: Final = """a.apk_version_id = %(version_id)s AND a.sent_at > %(budget_since)s
    AND a.outcome <> 'push_failed'"""
BUDGET_OF_ONE: Final = f"""(SELECT count(*) FROM deployment_attempt a WHERE a.device_id = d.id
    AND {_TRIED}) >= %(retry_budget)s"""
BUDGET_OF_MANY: Final = f"""d.id IN (SELECT a.device_id FROM deployment_attempt a WHERE {_TRIED}
    GROUP BY a.device_id HAVING count(*) >= %(retry_budget)s)"""
# A device has one task in flight, so this one's own says that there is no other.
OTHER_OF_ONE: Final = """EXISTS (SELECT 1 FROM deployment_task o WHERE o.device_id = d.id
    AND o.in_flight_until IS NOT NULL AND o.id <> t.id)"""
OTHER_OF_MANY: Final = """t.in_flight_until IS NULL AND d.id IN (SELECT o.device_id FROM deployment_task o
    WHERE o.in_flight_until IS NOT NULL)"""

# The inventory since the last send of the bad version shows another one: a heartbeat after that attempt's end
# (packages left out = unchanged, which counts), or a later success. An attempt without an end disproves nothing,
# nor does an app that is missing: it may never have been told, or be what a reinstall has left half done.
DISPROVED: Final = f"""EXISTS (SELECT 1 FROM (SELECT a.sent_at, a.finished_at FROM deployment_attempt a
        WHERE a.device_id = d.id AND a.apk_version_id = %(bad_version)s ORDER BY a.sent_at DESC LIMIT 1) bad
    WHERE {INSTALLED_CODE} <> (SELECT version_code FROM apk_version WHERE id = %(bad_version)s)
        AND bad.finished_at IS NOT NULL AND (h.received_at > bad.finished_at
            OR EXISTS (SELECT 1 FROM deployment_attempt n WHERE n.device_id = d.id AND n.sent_at > bad.sent_at
                AND n.outcome = 'succeeded' AND n.apk_version_id IN (SELECT id FROM apk_version
                    WHERE apk_id = (SELECT apk_id FROM apk_version WHERE id = %(bad_version)s)))))"""

# Whether a push may start it. A rollback starts a device that was not seen with the bad version only by its own
# heartbeat, which may tell that it has nothing to go back from: a reinstall would cost it its data for nothing.
PUSHABLE: Final = f"""(d.fcm_token <> '' AND (%(bad_version)s::bigint IS NULL OR t.attempt > 0
    OR COALESCE({INSTALLED_CODE} = (SELECT version_code FROM apk_version WHERE id = %(bad_version)s), false)))"""

# What is asked of a device, in order: the first that holds is its reason. Names in _GIVEN stand for reasons that
# the terms or the task give. The page of one device shows every one of them, passed or failed.
CONDITIONS: Final[dict[str, str]] = {
    "device_retired": "d.status = 'retired'",
    "not_affected": f"%(bad_version)s::bigint IS NOT NULL AND t.attempt = 0 AND {DISPROVED}",
    # What was known before the bad version was sent says nothing about what a rollback finds.
    "already_installed": f"""{INSTALLED_CODE} = %(version_code)s
        AND (%(bad_version)s::bigint IS NULL OR {DISPROVED})""",
    "newer_installed": f"{INSTALLED_CODE} > %(version_code)s AND NOT %(reinstall)s",
    "sdk_too_old": "d.sdk_int < %(min_sdk)s",
    "abi_unsupported": """cardinality(%(abis)s::text[]) > 0 AND cardinality(d.abis) > 0
        AND NOT d.abis::text[] && %(abis)s::text[]""",
    "agent_too_old": "d.max_schema < %(schema)s",
    "signer_mismatch": f"NOT (lower({_APP} ->> 'signer_sha256') = ANY(%(signers)s::text[]))",
    "window_over": "%(window_over)s",
    "retry_budget_spent": """%(budget_matters)s AND t.error_code <> 'reinstall_incomplete' AND {budget}""",
    "held": "%(held)s <> ''",
    "device_hold": "d.hold_until > %(now)s",
    "canary_gate": "%(canary_closed)s AND NOT t.is_canary",
    "in_other_deployment": "{other}",
    "outside_window": OUTSIDE_WINDOW,
    # Of who waits for a window the time is an opening: elsewhere, where the window here is open.
    "backoff": """t.status <> 'skipped' AND t.next_run_at > %(now)s
        AND (t.status <> 'waiting_window' OR t.failures > 0 OR t.agent_skips > 0)""",
    "offline": "h.received_at IS NULL OR h.received_at < %(online_since)s",
    "no_wifi": "%(wifi_only)s AND h.network NOT IN ('wifi', 'ethernet')",
    "metered_network": "%(wifi_only)s AND h.metered",
    "battery_low": "h.battery < %(min_battery)s",
    "not_charging": "%(charging_only)s AND NOT h.charging",
    "low_storage": "h.free_storage_mb < %(min_free_mb)s",
    "doze_restricted": "%(require_doze_exempt)s AND NOT h.doze_exempt",
    "in_call": "h.in_call",
    "in_use": "h.in_use",
    "said_by_agent": """t.status = 'skipped' AND t.next_run_at IS NOT NULL
        AND (t.next_run_at > %(now)s OR h.received_at < t.next_run_at)""",
    "pace": "%(pace)s <> ''",
    "group_limit": "d.groups && %(full_groups)s::varchar[]",
}
_GIVEN: Final = {"held": "%(held)s", "said_by_agent": "t.reason", "pace": "%(pace)s"}


# Whether the device misses any condition, whatever else holds it.
MISSED: Final = " OR ".join(
    f"({when})" for name, when in CONDITIONS.items() if name in (*MISSES, "said_by_agent")
)


def _reason(budget: str, other: str) -> str:
    cases = (f"WHEN {when} THEN {_GIVEN.get(name, repr(name))}" for name, when in CONDITIONS.items())
    return f"CASE {' '.join(cases)} ELSE 'awaiting_heartbeat' END".format(budget=budget, other=other)


REASON_OF_ONE: Final = _reason(BUDGET_OF_ONE, OTHER_OF_ONE)
REASON_OF_MANY: Final = _reason(BUDGET_OF_MANY, OTHER_OF_MANY)


def shown(reason: str) -> str:
    """The reason of any task as people see it: stored where it is final, computed by `reason` elsewhere."""
    return f"""CASE WHEN t.status IN ('succeeded', 'sending', 'installing') THEN ''
    WHEN t.status = 'failed' THEN t.error_code
    WHEN t.status = 'skipped' AND t.next_run_at IS NULL THEN t.reason
    ELSE {reason} END"""


# What was seen and what is wanted, for a row whose reason is `r.reason`.
OBSERVED: Final = f"""CASE r.reason
    WHEN 'not_affected' THEN COALESCE({_APP} ->> 'version_name', {_APP} ->> 'version_code')
    WHEN 'already_installed' THEN COALESCE({_APP} ->> 'version_name', {_APP} ->> 'version_code')
    WHEN 'newer_installed' THEN COALESCE({_APP} ->> 'version_name', {_APP} ->> 'version_code')
    WHEN 'sdk_too_old' THEN 'SDK ' || d.sdk_int
    WHEN 'abi_unsupported' THEN array_to_string(d.abis, ', ')
    WHEN 'agent_too_old' THEN 'schema ' || d.max_schema
    WHEN 'signer_mismatch' THEN 'signer ' || left({_APP} ->> 'signer_sha256', 16)
    WHEN 'device_hold' THEN d.hold_reason
    WHEN 'offline' THEN COALESCE('last seen ' || to_char(h.received_at AT TIME ZONE 'UTC',
        'YYYY-MM-DD HH24:MI:SS "UTC"'), 'never seen')
    WHEN 'no_wifi' THEN h.network
    WHEN 'metered_network' THEN h.network || ', metered'
    WHEN 'battery_low' THEN h.battery || ' %%'
    WHEN 'low_storage' THEN h.free_storage_mb || ' MB free'
    WHEN 'group_limit' THEN array_to_string(ARRAY(SELECT name FROM unnest(d.groups) AS name
        WHERE name = ANY(%(full_groups)s::varchar[]) ORDER BY name), ', ') || ' at its limit'
    ELSE '' END"""
REQUIRED: Final = """CASE r.reason
    WHEN 'sdk_too_old' THEN 'SDK ' || %(min_sdk)s::int
    WHEN 'abi_unsupported' THEN array_to_string(%(abis)s::text[], ', ')
    WHEN 'agent_too_old' THEN 'schema ' || %(schema)s::int
    WHEN 'signer_mismatch' THEN 'signer ' || left(%(signer)s, 16)
    WHEN 'device_hold' THEN 'hold ends ' || to_char(d.hold_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
    WHEN 'offline' THEN 'a heartbeat within ' || %(online_within)s || ' min'
    WHEN 'no_wifi' THEN 'Wi-Fi or Ethernet'
    WHEN 'metered_network' THEN 'an unmetered network'
    WHEN 'battery_low' THEN 'at least ' || %(min_battery)s::int || ' %%'
    WHEN 'low_storage' THEN 'at least ' || %(min_free_mb)s::int || ' MB free'
    WHEN 'group_limit' THEN 'fewer than ' || %(max_per_group)s::int || ' at work in each group'
    WHEN 'retry_budget_spent' THEN 'fewer than ' || %(retry_budget)s::int || ' attempts in 24 h'
    ELSE '' END"""


# A final skip keeps what was seen when it was decided: the device's later values say nothing about it.
_KEEP: Final = f"""UPDATE deployment_task t SET observed = left(COALESCE({OBSERVED}, ''), 200),
        required = left(COALESCE({REQUIRED}, ''), 200), observed_at = h.received_at
    FROM deployment_task r JOIN device d ON d.id = r.device_id LEFT JOIN heartbeat h ON h.device_id = d.id
    WHERE t.id = r.id AND r.deployment_id = %(id)s AND r.status = 'skipped' AND r.next_run_at IS NULL
        AND r.finished_at = %(now)s"""


@dataclass(frozen=True, slots=True)
class Closing:
    """Where the maintenance window is shut: everywhere, or for the devices of these zones."""

    everywhere: bool = False
    zones: tuple[str, ...] = ()
    over: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What a device is measured against at `now`.

    `held`: a reason that holds every device ("" = none); `canary_closed`: all canary places are taken;
    `pace`: the limit that is reached ("" = none); `full_groups`: those that the limit per group leaves no place in.
    `bad_version_id`: what a rollback takes off its devices.
    """

    version: ApkVersion
    options: DeploymentOptions
    now: datetime
    closing: Closing = Closing()
    reinstall: bool = False
    bad_version_id: int | None = None
    held: str = ""
    canary_closed: bool = False
    pace: str = ""
    full_groups: tuple[str, ...] = ()

    @classmethod
    def of(cls, deployment: Deployment, options: DeploymentOptions, now: datetime, **more: Any) -> "Terms":
        """Of this deployment's version and way of installing; `more` are further fields."""
        return cls(
            deployment.to_version,
            options,
            now,
            reinstall=deployment.install_mode == InstallMode.REINSTALL,
            bad_version_id=deployment.bad_version_id,
            **more,
        )

    @property
    def online_since(self) -> datetime:
        """Who was heard of later counts as online."""
        return self.now - timedelta(minutes=settings.ONLINE_WITHIN_MIN)

    def params(self) -> dict[str, Any]:
        """Named SQL parameters of REASON_OF_ONE, REASON_OF_MANY, OBSERVED and REQUIRED."""
        return self._of_version() | self._of_conditions() | self._of_moment()

    def _of_version(self) -> dict[str, Any]:
        version = self.version
        replaces = version.signature_info.get("replaces") or []
        return {
            "version_id": version.pk,
            "package": version.apk.package_name,
            "version_code": version.version_code,
            "min_sdk": version.min_sdk,
            "abis": list(version.abis),
            "signer": version.signer_sha256,
            "signers": sorted({version.signer_sha256, *replaces}),
            "schema": COMMAND_SCHEMA,
            "reinstall": self.reinstall,
            "bad_version": self.bad_version_id,
        }

    def _of_conditions(self) -> dict[str, Any]:
        options = self.options
        return {
            "wifi_only": options.wifi_only,
            "min_battery": options.min_battery,
            "charging_only": options.charging_only,
            "min_free_mb": required_free_mb(self.version.size_bytes, options),
            "require_doze_exempt": options.require_doze_exempt,
            "max_per_group": options.max_per_group,
        }

    def _of_moment(self) -> dict[str, Any]:
        return {
            "now": self.now,
            "online_since": self.online_since,
            "online_within": f"{settings.ONLINE_WITHIN_MIN:g}",
            "budget_since": self.now - RETRY_BUDGET_PERIOD,
            "budget_matters": True,
            "retry_budget": RETRY_BUDGET,
            "server_tz": settings.TIME_ZONE,
            "all_closed": self.closing.everywhere,
            "closed_zones": list(self.closing.zones),
            "window_over": self.closing.over,
            "held": self.held,
            "canary_closed": self.canary_closed,
            "pace": self.pace,
            "full_groups": list(self.full_groups),
        }


def required_free_mb(size_bytes: int, options: DeploymentOptions) -> int:
    """Free MB that a device needs: as asked for, else 2.5 times the APK and 128 MB."""
    if options.min_free_mb is not None:
        return options.min_free_mb
    return -(-size_bytes * 5 // (2 * MIB)) + 128


def closing(options: DeploymentOptions, now: datetime, deployment_id: int | None = None) -> Closing:
    """Where the window is shut at `now`. Zones are looked up only for a window in each device's own zone."""
    window = options.maintenance_window()
    if windows.has_ended(window, now):
        return Closing(everywhere=True, over=True)
    if not (isinstance(window, windows.Recurring) and window.zone is None):
        return Closing(everywhere=not windows.is_open(window, now, SERVER_ZONE))
    shut = [
        zone
        for zone in zones(deployment_id)
        if not windows.is_open(window, now, windows.device_zone(zone, SERVER_ZONE))
    ]
    return Closing(zones=tuple(shut))


# From one zone to the next along the index: a handful of zones among 100,000 devices.
_ZONES: Final = """WITH RECURSIVE known (tz) AS (SELECT min(tz) FROM device WHERE tz <> ''
    UNION ALL SELECT (SELECT min(tz) FROM device WHERE tz > known.tz) FROM known WHERE known.tz IS NOT NULL)
SELECT tz FROM known WHERE tz IS NOT NULL AND (%(id)s::bigint IS NULL OR EXISTS (SELECT 1 FROM device d
    JOIN deployment_task t ON t.device_id = d.id AND t.deployment_id = %(id)s WHERE d.tz = known.tz))"""


def zones(deployment_id: int | None = None) -> list[str]:
    """The zones that devices are in (of one deployment, or of the fleet), the server's own always among them."""
    with connection.cursor() as cursor:
        cursor.execute(_ZONES, {"id": deployment_id})
        return sorted({settings.TIME_ZONE, *(row[0] for row in cursor.fetchall())})


def keep_observed(deployment_id: int, terms: Terms) -> None:
    """For the tasks of this deployment that were ended at `terms.now`."""
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, terms.params() | {"id": deployment_id})


def reason_of(task_id: int, terms: Terms) -> str:
    """The reason of one waiting or re-checkable task, on the values of this transaction."""
    with prepared.cursor() as cursor:
        cursor.execute(
            f"SELECT {REASON_OF_ONE} FROM deployment_task t JOIN device d ON d.id = t.device_id"
            " LEFT JOIN heartbeat h ON h.device_id = d.id WHERE t.id = %(task_id)s",
            terms.params() | {"task_id": task_id},
        )
        row = cursor.fetchone()
    return str(row[0]) if row else "device_retired"
