"""Whose turn has come, and what becomes of a device that cannot use it.

A device that misses a condition when its turn comes is skipped and checked again until its deadline, so that
nobody waits for it. Always under the deployment's lock, while it runs and its window is open.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from deployments import audit
from deployments.engine import eligibility, spread
from deployments.engine.eligibility import OUTSIDE_WINDOW, PUSHABLE, REASON_OF_MANY, REASON_OF_ONE, Terms
from deployments.models import Deployment, DeploymentTarget
from deployments.rules.states import ENDING, MISSES
from mdm.people import SYSTEM

READY: Final = "awaiting_heartbeat"
# Its conditions hold: nothing but the others of its group may be in its way.
MET: Final = (READY, "group_limit")
CHUNKS: Final = (200, 2_000, 20_000)
# From this many targets on, most of whom wait, the most recently seen are looked for from the heartbeats' side.
MANY_TARGETS: Final = 5_000
RECENT_TRIES: Final = 4
# A beat is dated before its transaction ends.
UNDER_WAY: Final = timedelta(seconds=10)

_WAITING: Final = "t.status IN ('queued', 'throttled', 'waiting_window')"
# Canary, then retries that are due, then most recently seen; who disagreed with the server sorts last.
PUSH_ORDER: Final = """(t.agent_skips > 0), t.is_canary DESC, (t.failures > 0) DESC,
    h.received_at DESC NULLS LAST, t.id"""

_ROWS: Final = """FROM deployment_task t JOIN device d ON d.id = t.device_id
    LEFT JOIN heartbeat h ON h.device_id = d.id WHERE t.deployment_id = %(id)s"""

# Put in order first, over two narrow tables, and judged only then: of 100,000 devices a few hundred matter.
NEXT: Final = f"""WITH next AS MATERIALIZED (SELECT t.id
    FROM deployment_task t LEFT JOIN heartbeat h ON h.device_id = t.device_id
    WHERE t.deployment_id = %(id)s AND {_WAITING} AND (t.next_run_at IS NULL OR t.next_run_at <= %(now)s)
    ORDER BY {PUSH_ORDER} LIMIT %(limit)s OFFSET %(offset)s)"""
# The same without a look at every task: who comes before the rest, and of the rest those that were seen most
# recently in the whole fleet and whose window is open. Finds too few where most of these have had their turn;
# NEXT knows then.
_MAY_START: Final = (
    f"{_WAITING} AND (t.next_run_at IS NULL OR t.next_run_at <= %(now)s) AND t.agent_skips = 0"
)
_NEXT_RECENT: Final = f"""WITH recent AS MATERIALIZED (SELECT h.device_id, h.received_at FROM heartbeat h {{in_zones}}
    ORDER BY h.received_at DESC NULLS LAST LIMIT %(recent)s),
near AS MATERIALIZED (SELECT id FROM deployment_task WHERE deployment_id = %(id)s AND is_canary
    UNION SELECT id FROM deployment_task WHERE deployment_id = %(id)s AND failures > 0
    UNION (SELECT t.id FROM recent JOIN deployment_task t USING (device_id) WHERE t.deployment_id = %(id)s
        AND {_MAY_START} ORDER BY recent.received_at DESC NULLS LAST, t.id LIMIT %(limit)s)),
next AS MATERIALIZED (SELECT t.id
    FROM near JOIN deployment_task t USING (id) LEFT JOIN heartbeat h ON h.device_id = t.device_id
    WHERE {_MAY_START} ORDER BY {PUSH_ORDER} LIMIT %(limit)s)"""
_NEXT_ANYWHERE: Final = _NEXT_RECENT.format(in_zones="")
_NEXT_WHERE_OPEN: Final = _NEXT_RECENT.format(
    in_zones=f"JOIN device d ON d.id = h.device_id WHERE NOT ({OUTSIDE_WINDOW})"
)
# Not by the deployment once more: of one that was just planned the database still believes it has no tasks, and
# would go through all of them for each of these.
_JUDGED: Final = f"""SELECT t.id, d.id, {PUSHABLE}, {REASON_OF_MANY}
    FROM next JOIN deployment_task t USING (id) JOIN device d ON d.id = t.device_id
    LEFT JOIN heartbeat h ON h.device_id = d.id ORDER BY {PUSH_ORDER}"""

_SETTLE: Final = """WITH judged AS MATERIALIZED (SELECT t.id, {reason} AS reason {rows} AND {which}),
changed AS (UPDATE deployment_task t SET status = 'skipped', reason = j.reason,
        recheck_until = CASE WHEN j.ends THEN t.recheck_until
            ELSE COALESCE(t.recheck_until, %(now)s + %(deadline)s) END,
        next_run_at = CASE WHEN j.final THEN NULL ELSE %(now)s END,
        finished_at = CASE WHEN j.final THEN %(now)s END, updated_at = %(now)s
    FROM (SELECT judged.*, o.status = 'skipped' AS again, judged.reason = ANY(%(ending)s) AS ends,
            judged.reason = ANY(%(ending)s) OR o.error_code <> 'reinstall_incomplete'
                AND COALESCE(o.recheck_until, %(now)s + %(deadline)s) <= %(now)s AS final
        FROM judged JOIN deployment_task o USING (id)
        WHERE judged.reason = ANY(%(ending)s) OR judged.reason = ANY(%(misses)s)) j
    WHERE t.id = j.id AND (t.status IN ('queued', 'throttled', 'waiting_window') OR t.next_run_at IS NOT NULL)
        AND t.in_flight_until IS NULL AND (j.final OR t.status <> 'skipped')
    RETURNING t.deployment_id, t.device_id, jsonb_build_object('task', t.id, 'reason', j.reason,
        'before', CASE WHEN j.again THEN 'skipped' ELSE 'waiting' END,
        'after', CASE WHEN j.final THEN 'ended' ELSE 'skipped' END) AS meta)"""

# Who was skipped has lost its canary place and may win another. It waits again once it misses no condition, whatever
# else holds it: a shut window or gate is none of its own.
_REQUEUE: Final = f"""WITH changed AS (UPDATE deployment_task t
    SET status = 'queued', reason = '', next_run_at = NULL, is_canary = false, updated_at = %(now)s
    FROM device d LEFT JOIN heartbeat h ON h.device_id = d.id
    WHERE d.id = t.device_id AND t.id = ANY(%(tasks)s) AND t.status = 'skipped' AND t.next_run_at IS NOT NULL
        AND ({eligibility.MISSED}) IS NOT TRUE
    RETURNING t.deployment_id, t.device_id, jsonb_build_object('task', t.id, 'before', 'skipped',
        'after', 'waiting') AS meta)
{audit.LOG_CHANGED}"""


Judged = tuple[int, int, bool, str]  # task, device, whether a push reaches it, its reason


@dataclass(frozen=True, slots=True)
class Candidate:
    task_id: int
    device_id: int
    can_push: bool


def _settle_sql(reason: str, which: str) -> str:
    return _SETTLE.format(reason=reason, rows=_ROWS, which=which) + audit.LOG_CHANGED


_SETTLE_THESE: Final = _settle_sql(REASON_OF_ONE, "t.id = ANY(%(tasks)s)")
_SETTLE_WAITING: Final = _settle_sql(REASON_OF_MANY, _WAITING)
_SETTLE_CHANGED: Final = _settle_sql(
    REASON_OF_MANY,
    f"{_WAITING} AND (h.received_at >= %(since)s OR h.received_at < %(online_since)s OR h.received_at IS NULL)",
)
_SETTLE_CANARY: Final = _settle_sql(REASON_OF_ONE, f"t.is_canary AND {_WAITING}")
_SETTLE_ALL: Final = _settle_sql(
    REASON_OF_MANY, f"({_WAITING} OR t.status = 'skipped' AND t.next_run_at IS NOT NULL)"
)
_SETTLE_DUE: Final = _settle_sql(
    REASON_OF_MANY, "t.status = 'skipped' AND t.next_run_at IS NOT NULL AND t.recheck_until <= %(now)s"
)
_DUE_AND_READY: Final = f"""SELECT t.id {_ROWS} AND t.status = 'skipped' AND t.next_run_at IS NOT NULL
    AND t.recheck_until <= %(now)s AND {REASON_OF_MANY} = ANY(%(met)s)"""


def settle_tasks(deployment: Deployment, terms: Terms, task_ids: list[int]) -> int:
    """Skips or ends these waiting tasks by their reason, those that have one; how many changed."""
    return _settle(_SETTLE_THESE, deployment, terms, tasks=task_ids) if task_ids else 0


def settle_waiting(deployment: Deployment, terms: Terms, since: datetime | None) -> int:
    """Every waiting device's turn has come. Who was looked at `since` and has said nothing new can only have
    gone offline."""
    if since is None:
        return _settle(_SETTLE_WAITING, deployment, terms)
    return _settle(_SETTLE_CHANGED, deployment, terms, since=since - UNDER_WAY)


def settle_canary(deployment: Deployment, terms: Terms) -> int:
    """Canary devices that try again come first, so their turn has come whether or not a place is free."""
    return _settle(_SETTLE_CANARY, deployment, terms)


def settle_all(deployment: Deployment, terms: Terms) -> int:
    """The window is over for good: nobody's turn will come again."""
    return _settle(_SETTLE_ALL, deployment, terms)


def settle_deadlines(deployment: Deployment, terms: Terms) -> int:
    """A last check of the skipped devices whose deadline has passed: back into the queue, or final."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE_AND_READY, _params(deployment, terms) | {"met": list(MET)})
        ready = [row[0] for row in cursor.fetchall()]
    if ready:
        requeue(ready, terms)
    return _settle(_SETTLE_DUE, deployment, terms)


def requeue(task_ids: list[int], terms: Terms) -> int:
    """Back into the queue: the condition that was missed holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            _REQUEUE,
            terms.params() | {"tasks": task_ids, "event": "Ready again", **audit.signed(SYSTEM)},
        )
        return int(cursor.rowcount)


def ready_in_order(
    deployment: Deployment, terms: Terms, room: int, *, only_pushable: bool = False
) -> list[Candidate]:
    """The next `room` devices that could start now, in the order of pushes; who missed a condition on the
    way there is skipped. Held devices are passed over, and with `only_pushable` those that come by heartbeat."""
    ready: list[Candidate] = []
    missed: list[int] = []
    offset, places = 0, spread.places(terms.options)
    for limit in (min(max(CHUNKS[0], 3 * room), CHUNKS[1]), *CHUNKS[1:]):
        rows = [] if offset else _next_recent(deployment, terms, limit)
        rows = rows if len(rows) == limit else _next(deployment, terms, limit, offset)
        groups = spread.groups_of(terms.options, [row[1] for row in rows])
        for task_id, device_id, can_push, reason in rows:
            if len(ready) == room:
                break
            if reason == READY and (can_push or not only_pushable):
                if places.take(groups.get(device_id, ())):
                    ready.append(Candidate(task_id, device_id, can_push))
            elif reason in MISSES or reason in ENDING:
                missed.append(task_id)
        if len(ready) == room or len(rows) < limit:
            break
        offset += limit
    settle_tasks(deployment, terms, missed)
    return ready


def _next(deployment: Deployment, terms: Terms, limit: int, offset: int) -> list[Judged]:
    return _judged(NEXT, deployment, terms, limit=limit, offset=offset)


def _next_recent(deployment: Deployment, terms: Terms, limit: int) -> list[Judged]:
    targets = DeploymentTarget.objects.filter(deployment=deployment, resolved_count__gte=MANY_TARGETS)
    if not targets.exists():
        return []
    which = _NEXT_WHERE_OPEN if terms.closing.zones else _NEXT_ANYWHERE
    return _judged(which, deployment, terms, limit=limit, recent=RECENT_TRIES * limit)


def _judged(which: str, deployment: Deployment, terms: Terms, **more: int) -> list[Judged]:
    with connection.cursor() as cursor:
        cursor.execute(f"{which} {_JUDGED}", _params(deployment, terms) | more)
        return list(cursor.fetchall())


def _settle(sql: str, deployment: Deployment, terms: Terms, **more: Any) -> int:
    params = _params(deployment, terms) | {
        "deadline": timedelta(hours=terms.options.deadline_hours),
        "ending": list(ENDING),
        "misses": list(MISSES),
        "event": "Skipped: its turn came",
        **audit.signed(SYSTEM),
        **more,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        changed = int(cursor.rowcount)
    if changed:
        eligibility.keep_observed(deployment.pk, terms)
    return changed


def _params(deployment: Deployment, terms: Terms) -> dict[str, Any]:
    return terms.params() | {"id": deployment.pk}
