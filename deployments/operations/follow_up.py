"""A deployment that follows from another, a rollback or a retry: linked to it, planned in the background."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apks.models import ApkVersion
from deployments import audit
from deployments.engine import bell
from deployments.models import Deployment, DeploymentTarget
from deployments.rules.options import DeploymentOptions
from mdm.people import Actor


def create(
    actor: Actor,
    version: ApkVersion,
    options: DeploymentOptions,
    message: str,
    *,
    query: Mapping[str, Any],
    **columns: Any,
) -> Deployment:
    """In the caller's transaction, which holds the lock of the one that it follows and has seen the switch.

    `query` is what its target shows in place of a selection.
    """
    deployment = Deployment.objects.create(
        apk=version.apk,
        to_version=version,
        created_by=actor.user,
        options=options.to_json(),
        feature_flag_snapshot={"deployments.enabled": True},
        **columns,
    )
    DeploymentTarget.objects.create(
        deployment=deployment,
        scope=DeploymentTarget.Scope.SELECTION,
        selection_query={"type": "selection", **query},
    )
    audit.record(deployment.pk, message, actor=actor, meta={"options": deployment.options, **query})
    transaction.on_commit(lambda: bell.call(deployment.pk))
    return deployment
