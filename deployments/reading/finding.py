"""One deployment with everything that is shown beside its numbers."""

from typing import Any, Final, cast

from django.contrib.auth.models import User

from apks.models import Apk, ApkVersion
from deployments import loading
from deployments.loading import Parts
from deployments.models import Deployment, DeploymentNumbers, DeploymentTarget
from deployments.operations import rollback

_PARTS: Final[Parts] = {
    "p": Deployment,
    "apk": Apk,
    "to_version": ApkVersion,
    "from_version": ApkVersion,
    "created_by": User,
    "killed_by": User,
    "approved_by": User,
    "target": DeploymentTarget,
    "numbers": DeploymentNumbers,
}
_FIND: Final = f"""SELECT {loading.columns(_PARTS)},
    (SELECT max(r.id) FROM deployment r WHERE r.rollback_of_id = p.id AND r.status <> ALL(%(over)s)),
    (SELECT max(r.id) FROM deployment r WHERE r.retry_of_id = p.id)
    FROM deployment p JOIN apk ON apk.id = p.apk_id
    JOIN apk_version to_version ON to_version.id = p.to_version_id
    LEFT JOIN apk_version from_version ON from_version.id = p.from_version_id
    LEFT JOIN auth_user created_by ON created_by.id = p.created_by_id
    LEFT JOIN auth_user killed_by ON killed_by.id = p.killed_by_id
    LEFT JOIN auth_user approved_by ON approved_by.id = p.approved_by_id
    LEFT JOIN deployment_target target ON target.deployment_id = p.id
    LEFT JOIN deployment_numbers numbers ON numbers.deployment_id = p.id
    WHERE p.id = %(id)s"""


def find(deployment_id: int) -> Deployment:
    """With `rolled_back_by` and `retried_by`, the deployments that did (None = none). NotFound."""
    over = [status.value for status in rollback.OVER]
    values = loading.row(_FIND, {"id": deployment_id, "over": over})
    found = loading.made(_PARTS, values)
    deployment: Any = found.pop("p")
    for name, related in found.items():
        field: Any = Deployment._meta.get_field(name)
        field.set_cached_value(deployment, related)
    deployment.to_version.apk = deployment.apk
    deployment.rolled_back_by, deployment.retried_by = values
    return cast(Deployment, deployment)
