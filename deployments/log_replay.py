"""The statuses of a deployment and its tasks rebuilt from the audit log alone, held against the tables.

Each of the three questions is one statement, so that log and table are seen at the same moment, and is read in
chunks, so that memory does not grow with the number of devices.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from django.db import connection

from deployments.states import DEPLOYMENT_MOVES, TASK_MOVES, DeploymentStatus, task_state

CHUNK: Final = 2_000

# A change of pace has before and after, too, but they are no statuses.
_DEPLOYMENT: Final = """SELECT p.status, e.id, e.meta ->> 'before', e.meta ->> 'after'
    FROM deployment p LEFT JOIN deployment_event e ON e.deployment_id = p.id AND e.device_id IS NULL
        AND jsonb_typeof(e.meta -> 'before') = 'string' AND jsonb_typeof(e.meta -> 'after') = 'string'
    WHERE p.id = %(id)s ORDER BY e.id"""

# Planning writes one event for each reason, with the devices that it excluded; who is in none began to wait.
_TASKS: Final = """WITH moves AS (
    SELECT device_id, id, meta ->> 'before' AS before, meta ->> 'after' AS after FROM deployment_event
        WHERE deployment_id = %(id)s AND device_id IS NOT NULL AND meta ? 'after'
    UNION ALL
    SELECT jsonb_array_elements_text(meta -> 'devices')::bigint, id, 'waiting', meta ->> 'after'
        FROM deployment_event WHERE deployment_id = %(id)s AND device_id IS NULL AND meta ? 'devices'),
tasks AS (SELECT device_id, status, next_run_at IS NULL AS final FROM deployment_task WHERE deployment_id = %(id)s)
SELECT COALESCE(t.device_id, m.device_id) AS device, t.status, t.final, m.id, m.before, m.after
    FROM tasks t FULL JOIN moves m ON m.device_id = t.device_id ORDER BY device, m.id"""

_PLANNED: Final = """SELECT (SELECT sum(value::int) FROM deployment_event, jsonb_each_text(meta -> 'counts')
        WHERE deployment_id = %(id)s AND device_id IS NULL AND meta ? 'counts'),
    (SELECT count(*) FROM deployment_task WHERE deployment_id = %(id)s)"""

Move = tuple[int, str, str]


def differences(deployment_id: int) -> Iterator[str]:
    """Where log and tables disagree, a sentence each; nothing where they agree."""
    yield from _deployment(deployment_id)
    yield from _planned(deployment_id)
    for device_id, rows in groupby(_stream(_TASKS, deployment_id), key=lambda row: row[0]):
        yield from (f"device {device_id}: {sentence}" for sentence in _task(list(rows)))


def _deployment(deployment_id: int) -> Iterator[str]:
    rows = list(_stream(_DEPLOYMENT, deployment_id))
    moves = [(event, before, after) for _, event, before, after in rows if event is not None]
    legal = {status.value: {to.value for to in moves} for status, moves in DEPLOYMENT_MOVES.items()}
    found: list[str] = []
    state = _replay(DeploymentStatus.QUEUED.value, moves, legal, found)
    yield from (f"the deployment: {sentence}" for sentence in found)
    if rows and rows[0][0] != state:
        yield f"the deployment: the log says {state}, the table {rows[0][0]}"


def _planned(deployment_id: int) -> Iterator[str]:
    ((planned, there),) = _stream(_PLANNED, deployment_id)
    if (planned or 0) != there:
        yield f"planned for {planned or 0:,} devices by the log, the table has {there:,} tasks"


def _task(rows: list[tuple[Any, ...]]) -> Iterator[str]:
    """Of one device: the same task in each row, with one of its events."""
    found: list[str] = []
    moves = [(event, before, after) for *_, event, before, after in rows if event is not None]
    state = _replay("waiting", moves, TASK_MOVES, found)
    yield from found
    _, status, final, *_ = rows[0]
    if status is None:
        yield f"the log says {state}, the table has no task"
    elif state != (now := task_state(status, final=final)):
        yield f"the log says {state}, the table {now}"


def _replay(state: str, moves: list[Move], legal: Mapping[str, Collection[str]], found: list[str]) -> str:
    """The state after these moves; what does not follow from what was before is added to `found`."""
    for event, before, after in moves:
        if before != state:
            found.append(f"event {event} begins at {before}, the log before it ends at {state}")
        elif after != before and after not in legal.get(before, ()):
            found.append(f"event {event} moves from {before} to {after}, which is not legal")
        state = after
    return state


def _stream(sql: str, deployment_id: int) -> Iterator[tuple[Any, ...]]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, {"id": deployment_id})
        while rows := cursor.fetchmany(CHUNK):
            yield from rows
