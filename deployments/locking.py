"""Who waits for whom. Order everywhere: fleet switch, then deployment, then groups, then device, then task.

The fleet switch is held as a shared advisory lock by everybody who acts on a deployment and exclusively by
the one who turns it. An advisory lock queues fairly: under FOR SHARE a steady stream of claims could keep
the person at the kill switch waiting. The deployment is locked FOR NO KEY UPDATE, which lets the foreign
keys of the audit log and the ledger through. Reports from devices take neither.

Groups are labels of devices and have no row, so the limit per group is decided under advisory locks, a bounded number
of them: two groups may share one. All that a claim needs are taken at once, in ascending order, and who holds one
asks for no switch, deployment or other group any more; so nobody waits in a circle.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction

from deployments import loading
from deployments.models import Deployment, FleetSwitch

SWITCH_LOCK: Final = 0x4E584D01
SHARE_SWITCH = "SELECT pg_advisory_xact_lock_shared(%s)"
TAKE_SWITCH = "SELECT pg_advisory_xact_lock(%s)"
GROUP_LOCKS: Final = 0x4E584D02
# However many groups there are, a transaction holds no more locks than this: the server's table of them is finite.
TAKE_GROUPS = """WITH locks AS MATERIALIZED (SELECT DISTINCT hashtext(name) & 255 AS number
    FROM unnest(%s::text[]) AS name ORDER BY number)
SELECT pg_advisory_xact_lock(%s, number) FROM locks"""
TAKE_DEPLOYMENT = "SELECT 1 FROM deployment WHERE id = %s FOR NO KEY UPDATE"


@dataclass(slots=True)
class Locked:
    """A deployment whose lock this transaction holds, and the switch as it stands for as long."""

    deployment: Deployment
    switch: FleetSwitch

    @property
    def stopped(self) -> bool:
        return self.switch.kill_switch or not self.switch.deployments_enabled


@contextmanager
def locked(deployment_id: int) -> Iterator[Locked]:
    """Opens a transaction and holds the deployment's lock to its end. NotFound where there is none."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(SHARE_SWITCH, [SWITCH_LOCK])
            cursor.execute(TAKE_DEPLOYMENT, [deployment_id])
        yield Locked(*loading.load(deployment_id))


def lock_groups(names: Iterable[str]) -> None:
    """To the end of this transaction, which holds its deployment's lock, nobody else claims in these groups."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE_GROUPS, [sorted(names), GROUP_LOCKS])


@contextmanager
def switch_taken() -> Iterator[FleetSwitch]:
    """Opens a transaction in which nobody else acts on any deployment."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(TAKE_SWITCH, [SWITCH_LOCK])
        yield FleetSwitch.objects.get()
