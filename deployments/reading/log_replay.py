"""The statuses of a deployment and its tasks rebuilt from the audit log alone, held against the tables.

Each of the three questions is one statement, so that log and table are seen at the same moment, and is read in
chunks, so that memory does not grow with the number of devices.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from django.db import connection

from deployments.rules.states import DEPLOYMENT_MOVES, TASK_MOVES, DeploymentStatus, task_state

CHUNK: Final = 2_000

# A change of pace has before and after, too, but they are no statuses.
_DEPLOYMENT: Final = """SELECT p.status, e.id, e.meta ->> 'before', e.meta ->> 'after'
    FROM deployment p LEFT JOIN {log} e ON e.deployment_id = p.id AND e.device_id IS NULL
        AND jsonb_typeof(e.meta -> 'before') = 'string' AND jsonb_typeof(e.meta -> 'after') = 'string'
    WHERE p.id = %(id)s ORDER BY e.id"""

# Planning writes one event for each reason, with the devices that it excluded; who is in none began to wait.
_MOVES: Final = """WITH moves AS (
    SELECT device_id, id, COALESCE(meta ->> 'before', '') AS before, meta ->> 'after' AS after FROM {log}
        WHERE deployment_id = %(id)s AND device_id IS NOT NULL AND meta ? 'after'
    UNION ALL
    SELECT jsonb_array_elements_text(meta -> 'devices')::bigint, id, 'waiting', meta ->> 'after'
        FROM {log} WHERE deployment_id = %(id)s AND device_id IS NULL AND meta ? 'devices')"""
# A device's moves as one text: of a hundred thousand devices most tell one of a few stories.
_STORIES: Final = f"""{_MOVES},
told AS (SELECT device_id, string_agg(before || '>' || after, ' ' ORDER BY id) AS story FROM moves GROUP BY device_id),
tasks AS (SELECT device_id, status, next_run_at IS NULL AS final FROM deployment_task WHERE deployment_id = %(id)s)
SELECT COALESCE(t.device_id, told.device_id) AS device, COALESCE(told.story, ''), t.status, t.final
    FROM tasks t FULL JOIN told ON told.device_id = t.device_id ORDER BY device"""
_OF_DEVICE: Final = f"{_MOVES} SELECT id, before, after FROM moves WHERE device_id = %(device)s ORDER BY id"
# So many are looked into event by event.
EXPLAINED: Final = 100

_PLANNED: Final = """SELECT (SELECT sum(value::int) FROM {log}, jsonb_each_text(meta -> 'counts')
        WHERE deployment_id = %(id)s AND device_id IS NULL AND meta ? 'counts'),
    (SELECT count(*) FROM deployment_task WHERE deployment_id = %(id)s)"""

Move = tuple[int, str, str]


def differences(deployment_id: int, log: str = "deployment_event") -> Iterator[str]:
    """Where log and tables disagree, a sentence each; nothing where they agree. `log`: the table or view of events."""
    yield from _deployment(deployment_id, log)
    yield from _planned(deployment_id, log)
    yield from _tasks(deployment_id, log)


def _tasks(deployment_id: int, log: str) -> Iterator[str]:
    strange = 0
    for device_id, story, status, final in _stream(_STORIES, deployment_id, log):
        if _agrees(story, status, final):
            continue
        strange += 1
        if strange > EXPLAINED:
            yield f"device {device_id}: the log does not lead to what the table says"
            continue
        moves = list(_stream(_OF_DEVICE, deployment_id, log, device=device_id))
        yield from (f"device {device_id}: {sentence}" for sentence in _task(moves, status, final))


@lru_cache(maxsize=4096)
def _agrees(story: str, status: str | None, final: bool | None) -> bool:
    moves = [move.split(">") for move in story.split(" ")] if story else []
    if status is None or any(len(move) != 2 for move in moves):
        return False
    found: list[str] = []
    state = _replay("waiting", [(0, before, after) for before, after in moves], TASK_MOVES, found)
    return not found and state == task_state(status, final=bool(final))


def _deployment(deployment_id: int, log: str) -> Iterator[str]:
    rows = list(_stream(_DEPLOYMENT, deployment_id, log))
    moves = [(event, before, after) for _, event, before, after in rows if event is not None]
    legal = {status.value: {to.value for to in moves} for status, moves in DEPLOYMENT_MOVES.items()}
    found: list[str] = []
    state = _replay(DeploymentStatus.QUEUED.value, moves, legal, found)
    yield from (f"the deployment: {sentence}" for sentence in found)
    if rows and rows[0][0] != state:
        yield f"the deployment: the log says {state}, the table {rows[0][0]}"


def _planned(deployment_id: int, log: str) -> Iterator[str]:
    ((planned, there),) = _stream(_PLANNED, deployment_id, log)
    if (planned or 0) != there:
        yield f"planned for {planned or 0:,} devices by the log, the table has {there:,} tasks"


def _task(moves: list[tuple[Any, ...]], status: str | None, final: bool | None) -> Iterator[str]:
    found: list[str] = []
    state = _replay("waiting", [(event, before, after) for event, before, after in moves], TASK_MOVES, found)
    yield from found
    if status is None:
        yield f"the log says {state}, the table has no task"
    elif state != (now := task_state(status, final=bool(final))):
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


def _stream(sql: str, deployment_id: int, log: str, **more: Any) -> Iterator[tuple[Any, ...]]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql.format(log=log), {"id": deployment_id, **more})
        while rows := cursor.fetchmany(CHUNK):
            yield from rows
