"""The doorbell: tells a worker that a deployment may have something to do.

Losing or doubling a ring changes nothing: the tables are the queue, and the ticker rings every second. At
most one ring is under way per deployment, so a burst of reports is one job.
"""

from typing import Final

from django.db import connection, transaction
from django_q.tasks import async_task

from devices import push

# A ring that nobody answered (its worker died) may be repeated after this many seconds.
STALE_SEC: Final = 5
_RING: Final = """INSERT INTO deployment_bell (deployment_id, rung_at) VALUES (%s, clock_timestamp())
    ON CONFLICT (deployment_id) DO UPDATE SET rung_at = EXCLUDED.rung_at
    WHERE deployment_bell.rung_at < EXCLUDED.rung_at - make_interval(secs => %s)"""


def ring(deployment_id: int) -> None:
    """After this transaction: a slot is free. With check-in the devices come by themselves."""
    if push.enabled():
        transaction.on_commit(lambda: call(deployment_id))


def call(deployment_id: int) -> None:
    """Has a worker advance this deployment, unless one is already on its way."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_RING, [deployment_id, STALE_SEC])
            rung = cursor.rowcount
        if rung:
            async_task("deployments.tasks.advance", deployment_id)


def answered(deployment_id: int) -> None:
    """Whoever takes up the work says so first, so that a ring from then on is another job."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM deployment_bell WHERE deployment_id = %s", [deployment_id])


def tell_to_stop(deployment_id: int) -> None:
    """Has a worker tell the devices of a canceled deployment; their own question would tell them, too."""
    if push.enabled():
        async_task("deployments.tasks.tell_to_stop", deployment_id)
