"""What became of tasks, counted from the log as it is sealed: each event is read there exactly once."""

from collections import Counter
from typing import Final

from django.db import connection

from deployments.rules.retry import ERROR_CODES
from mdm import counters
from mdm.counters import Key

# Moves between states, and failed attempts by their code (a failure that is tried again is one, too).
_MOVES: Final = """SELECT meta ->> 'after', CASE WHEN meta ? 'error' THEN meta ->> 'reason' END,
        created_at > clock_timestamp() - interval '1 minute', count(*)
    FROM deployment_event WHERE id > %s AND id <= %s AND device_id IS NOT NULL AND meta ? 'after'
        AND meta ->> 'before' <> meta ->> 'after' GROUP BY 1, 2, 3"""
# From the agent's first word to the success, where it said one.
_TOOK: Final = """SELECT count(*), COALESCE(sum(EXTRACT(EPOCH FROM a.finished_at - COALESCE(a.acknowledged_at,
        a.sent_at)) * 1000), 0)::bigint, e.created_at > clock_timestamp() - interval '1 minute'
    FROM deployment_event e JOIN deployment_attempt a ON a.task_id = (e.meta ->> 'task')::bigint
        AND a.number = (e.meta ->> 'attempt')::int AND a.outcome = 'succeeded'
    WHERE e.id > %s AND e.id <= %s AND e.device_id IS NOT NULL AND e.meta ->> 'after' = 'succeeded' GROUP BY 3"""

MOVES: Final = "task_moves"  # labels: to
FAILURES: Final = "failures"  # labels: code
INSTALLS: Final = "installs"  # labels: what = count | milliseconds


def count(after_id: int, last_id: int) -> None:
    """Adds the events of this range. What is old (a log that was never sealed) counts in the totals only."""
    fresh: Counter[Key] = Counter()
    old: Counter[Key] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(_MOVES, [after_id, last_id])
        for to, code, recent, number in cursor.fetchall():
            counts = fresh if recent else old
            counts[counters.key(MOVES, to=to)] += number
            if code is not None:
                known = code if code in ERROR_CODES else "internal"
                counts[counters.key(FAILURES, code=known)] += number
        cursor.execute(_TOOK, [after_id, last_id])
        for number, milliseconds, recent in cursor.fetchall():
            counts = fresh if recent else old
            counts[counters.key(INSTALLS, what="count")] += number
            counts[counters.key(INSTALLS, what="milliseconds")] += milliseconds
    counters.add(fresh)
    counters.add(old, recently=False)
