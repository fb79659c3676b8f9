"""A second pair of eyes: which deployments wait until another person has approved them.

More than APPROVAL_ABOVE targets need it (0 = none do). Rollbacks are exempt: a bad version is left at once.
"""

from django.conf import settings

from deployments.models import Deployment
from deployments.rules.states import LIVE


def too_many(targets: int) -> bool:
    """Whether so many targets need approval."""
    return 0 < settings.APPROVAL_ABOVE < targets


def is_missing(deployment: Deployment) -> bool:
    """Whether it is planned and not yet begun, and its number of targets needs approval. The setting counts as it
    is now."""
    if deployment.status not in LIVE or deployment.started_at or deployment.approved_at:
        return False
    if deployment.planned_at is None or deployment.bad_version_id is not None:
        return False
    return settings.APPROVAL_ABOVE > 0 and too_many(deployment.target.resolved_count)
