"""What django-q2 calls: ids in, nothing out. Each may be lost or doubled without harm."""

from deployments import bell, pushing, tick


def advance(deployment_id: int) -> None:
    bell.answered(deployment_id)
    claims = tick.advance(deployment_id)
    if claims:
        pushing.push_claims(claims)


def tell_to_stop(deployment_id: int) -> None:
    pushing.tell_to_stop(deployment_id)


def sweep() -> None:
    """Every minute, whatever became of the ticker."""
    tick.ring_due_deployments()
