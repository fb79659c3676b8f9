"""A million events that tell a hundred thousand tasks' stories, each legal from its first move to its last."""

from benchmarks import crowd
from deployments.models import Deployment

TASKS = 100_000
EVENTS_EACH = 10

_EVENTS = """INSERT INTO deployment_event (deployment_id, device_id, level, message, actor, meta)
    SELECT t.deployment_id, t.device_id, 'info', 'Step ' || n || ' of attempt 1', 'device:' || t.device_id,
        jsonb_build_object('task', t.id, 'attempt', 1,
            'before', CASE n WHEN 1 THEN 'waiting' WHEN 2 THEN 'sending' ELSE 'installing' END,
            'after', CASE n WHEN 1 THEN 'sending' WHEN %(last)s THEN 'succeeded' ELSE 'installing' END)
    FROM generate_series(1, %(last)s) AS n, deployment_task t WHERE t.deployment_id = %(id)s ORDER BY n, t.id"""
_DONE = """UPDATE deployment_task SET status = 'succeeded', attempt = 1, finished_at = now()
    WHERE deployment_id = %(id)s"""


def write(deployment: Deployment, *, finish: bool = False) -> None:
    """The log of every task of this deployment; with `finish` the tasks are as it says."""
    crowd.run(_EVENTS, {"id": deployment.pk, "last": EVENTS_EACH})
    if finish:
        crowd.run(_DONE, {"id": deployment.pk})
