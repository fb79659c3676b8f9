"""Who waits for whom. Order everywhere: fleet switch, then deployment, then device, then task.

The fleet switch is held as a shared advisory lock by everybody who acts on a deployment and exclusively by
the one who turns it. An advisory lock queues fairly: under FOR SHARE a steady stream of claims could keep
the person at the kill switch waiting. The deployment is locked FOR NO KEY UPDATE, which lets the foreign
keys of the audit log and the ledger through. Reports from devices take neither.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction

from deployments import loading
from deployments.models import Deployment, FleetSwitch

SWITCH_LOCK: Final = 0x4E584D01
SHARE_SWITCH = "SELECT pg_advisory_xact_lock_shared(%s)"
TAKE_SWITCH = "SELECT pg_advisory_xact_lock(%s)"
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


@contextmanager
def switch_taken() -> Iterator[FleetSwitch]:
    """Opens a transaction in which nobody else acts on any deployment."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(TAKE_SWITCH, [SWITCH_LOCK])
        yield FleetSwitch.objects.get()
