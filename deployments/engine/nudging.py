"""An agent that replaces itself is silent for a while. If it stays so, it is called once, by push, to say that it is
back; its next heartbeat settles the rest. With check-in it comes by itself."""

from datetime import datetime
from typing import Any, Final

from django.db import connection
from django_q.tasks import async_task

from deployments import audit
from deployments.engine import attempts, pushing
from deployments.engine.reaper import NOT_STOPPED
from deployments.rules.states import AGENT_PACKAGE, HARD_STOPS, Phase
from devices import push
from devices.models import Device
from devices.push import PushMessage
from mdm.people import SYSTEM

_SILENT: Final = f"""WITH nudged AS (UPDATE deployment_attempt a SET nudged_at = %(now)s
    FROM deployment_task t JOIN deployment p ON p.id = t.deployment_id JOIN apk_version v ON v.id = p.to_version_id
        JOIN apk k ON k.id = p.apk_id JOIN device d ON d.id = t.device_id CROSS JOIN fleet_switch s
    WHERE a.task_id = t.id AND a.number = t.attempt AND a.nudged_at IS NULL AND t.in_flight_until IS NOT NULL
        AND t.status = 'installing' AND t.phase = 'installing' AND k.package_name = %(agent)s AND d.fcm_token <> ''
        AND t.updated_at <= %(now)s - make_interval(secs => 60 * (p.options ->> 'step_timeout_min')::float)
        AND {NOT_STOPPED.replace("%s", "%(stops)s")}
    RETURNING t.id, t.deployment_id, t.device_id, a.number),
changed AS (SELECT deployment_id, device_id, jsonb_build_object('task', id, 'attempt', number) AS meta FROM nudged),
logged AS ({audit.LOG_CHANGED})
SELECT id FROM nudged"""


def look(now: datetime) -> None:
    """Finds whom to call; a worker does."""
    if not push.enabled():
        return
    params: dict[str, Any] = {
        "now": now,
        "agent": AGENT_PACKAGE,
        "stops": [reason.value for reason in HARD_STOPS],
        "event": "Silent since it began to replace itself; called once",
        **audit.signed(SYSTEM),
    }
    with connection.cursor() as cursor:
        cursor.execute(_SILENT, params)
        task_ids = [row[0] for row in cursor.fetchall()]
    if task_ids:
        async_task("deployments.tasks.nudge", task_ids)


def call(task_ids: list[int]) -> None:
    """The command once more, to those that are still at it."""
    tasks = attempts.read("t.id = ANY(%s) AND t.phase = %s", [task_ids, Phase.INSTALLING.value])
    found = Device.objects.filter(pk__in=[task.device_id for task in tasks]).exclude(fcm_token="")
    tokens = dict(found.values_list("pk", "fcm_token"))
    messages: list[PushMessage] = [
        pushing.message(task, tokens[task.device_id])
        for task in tasks
        if task.device_id in tokens and not task.stop_reason
    ]
    pushing.send(messages)
