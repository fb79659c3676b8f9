"""Which way leads back from a version: an update to a rebuild of the last good one, its reinstall, or none."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.db import connection
from django.db.models import Exists, OuterRef, Q

from apks.models import ApkVersion
from deployments.models import Deployment, DeploymentTask
from deployments.rules.states import AGENT_PACKAGE, DeploymentStatus, TaskStatus

Kind = Literal["rebuild", "reinstall"]

_BEFORE: Final = """SELECT DISTINCT from_version_code FROM deployment_task
    WHERE deployment_id = %s AND from_version_code IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class WayBack:
    """`version`: what would be installed. `good`: the last known good version. `why_not`: what is missing."""

    kind: Kind | None = None
    version: ApkVersion | None = None
    good: ApkVersion | None = None
    why_not: str = ""


def of_deployment(deployment: Deployment) -> WayBack:
    """Back from its version to what its devices had, or what a completed deployment has installed."""
    with connection.cursor() as cursor:
        cursor.execute(_BEFORE, [deployment.pk])
        return back_from(deployment.to_version, {row[0] for row in cursor.fetchall()})


def back_from(bad: ApkVersion, on_devices: Collection[int]) -> WayBack:
    """`on_devices`: version codes that the devices had before."""
    good = _last_good(bad, on_devices)
    return decide(bad, good, _rebuild(bad, good) if good else None)


def decide(bad: ApkVersion, good: ApkVersion | None, rebuild: ApkVersion | None) -> WayBack:
    """A rebuild keeps the data, so it is preferred. The agent cannot remove itself."""
    if good is None:
        return WayBack(
            why_not=f"There is no earlier version of {bad.apk.package_name} with the same signer that was"
            " installed before."
        )
    if rebuild is not None:
        return WayBack("rebuild", rebuild, good)
    if bad.apk.package_name != AGENT_PACKAGE:
        return WayBack("reinstall", good, good)
    return WayBack(
        good=good,
        why_not="The agent cannot remove itself, and Android refuses a downgrade. Missing: a rebuild of"
        f" {good.version_name} ({good.version_code}), which is the same code with the same key and a version code"
        f" above {bad.version_code}, uploaded as a rebuild of it.",
    )


def _usable(bad: ApkVersion) -> Q:
    return Q(apk=bad.apk_id, signer_sha256=bad.signer_sha256, withdrawn_at=None)


def _last_good(bad: ApkVersion, on_devices: Collection[int]) -> ApkVersion | None:
    succeeded = DeploymentTask.objects.filter(deployment=OuterRef("pk"), status=TaskStatus.SUCCEEDED)
    completed = Deployment.objects.filter(
        Exists(succeeded), to_version=OuterRef("pk"), status=DeploymentStatus.COMPLETE
    )
    earlier = ApkVersion.objects.filter(_usable(bad), version_code__lt=bad.version_code)
    good = earlier.filter(Q(version_code__in=list(on_devices)) | Exists(completed))
    return good.select_related("apk").order_by("-version_code").first()


def _rebuild(bad: ApkVersion, good: ApkVersion) -> ApkVersion | None:
    """The newest; Android takes it only with a higher code than what is installed."""
    rebuilds = ApkVersion.objects.filter(_usable(bad), rebuild_of=good, version_code__gt=bad.version_code)
    return rebuilds.select_related("apk").order_by("-version_code").first()


def shape(way: WayBack, why_not: str) -> dict[str, Any]:
    """As it travels. `why_not` = why it is not offered, "" where it is."""
    version = way.version
    return {
        "offered": not why_not,
        "kind": way.kind,
        "to_version": version
        and {"id": version.pk, "version_name": version.version_name, "version_code": version.version_code},
        "why_not": why_not or None,
    }
