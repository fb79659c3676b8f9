"""Which way leads back from a version: an update to a rebuild of the last good one, its reinstall, or none."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from apks.models import ApkVersion
from deployments.models import Deployment, DeploymentTask
from deployments.rules.states import AGENT_PACKAGE, DeploymentStatus, TaskStatus

Kind = Literal["rebuild", "reinstall"]


@dataclass(frozen=True, slots=True)
class WayBack:
    """`version`: what would be installed. `good`: the last known good version. `why_not`: what is missing."""

    kind: Kind | None = None
    version: ApkVersion | None = None
    good: ApkVersion | None = None
    why_not: str = ""


def of_deployment(deployment: Deployment) -> WayBack:
    """Back from its version to what its devices had, or what a completed deployment has installed."""
    before = DeploymentTask.objects.filter(deployment=deployment, from_version_code__isnull=False)
    return back_from(deployment.to_version, before.values("from_version_code").distinct())


def back_from(bad: ApkVersion, on_devices: Collection[int] | QuerySet[Any, Any]) -> WayBack:
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


def _last_good(bad: ApkVersion, on_devices: Collection[int] | QuerySet[Any, Any]) -> ApkVersion | None:
    succeeded = DeploymentTask.objects.filter(deployment=OuterRef("pk"), status=TaskStatus.SUCCEEDED)
    completed = Deployment.objects.filter(
        Exists(succeeded), to_version=OuterRef("pk"), status=DeploymentStatus.COMPLETE
    )
    earlier = ApkVersion.objects.filter(_usable(bad), version_code__lt=bad.version_code)
    good = earlier.filter(Q(version_code__in=on_devices) | Exists(completed))
    rebuilt = good.annotate(newest_rebuild=Subquery(_rebuilds(bad, OuterRef("pk")).values("pk")[:1]))
    return rebuilt.select_related("apk").order_by("-version_code").first()


def _rebuild(bad: ApkVersion, good: ApkVersion) -> ApkVersion | None:
    """Asked for only where there is one, which is rare: the way back is counted every second."""
    newest = getattr(good, "newest_rebuild", None)
    return None if newest is None else _rebuilds(bad, good.pk).select_related("apk").first()


def _rebuilds(bad: ApkVersion, good: Any) -> QuerySet[ApkVersion]:
    """The newest first; Android takes one only with a higher code than what is installed."""
    rebuilds = ApkVersion.objects.filter(_usable(bad), rebuild_of=good, version_code__gt=bad.version_code)
    return rebuilds.order_by("-version_code")


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
