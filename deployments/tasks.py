"""What django-q2 calls: ids in, nothing out. Each may be lost or doubled without harm."""

import logging
from typing import Final

from deployments import retention, tick
from deployments.engine import bell, nudging, pushing

log = logging.getLogger(__name__)

TIDY_SEC: Final = 15.0  # well within the timeout of a job


def advance(deployment_id: int) -> None:
    bell.answered(deployment_id)
    claims = tick.advance(deployment_id)
    if claims:
        pushing.push_claims(claims)


def tell_to_stop(deployment_id: int) -> None:
    pushing.tell_to_stop(deployment_id)


def nudge(task_ids: list[int]) -> None:
    nudging.call(task_ids)


def tidy() -> None:
    """Every hour. What is left when its time is up goes with the next one."""
    for rule, rows in retention.run(TIDY_SEC):
        if rows:
            log.info("Removed %s: %s", rule.words, rows)


def sweep() -> None:
    """Every minute, whatever became of the ticker."""
    tick.ring_due_deployments()
