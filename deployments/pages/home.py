"""What a person looks at first: held and running deployments, and the switch."""

from typing import Any, Final

from apks.models import Apk, ApkVersion
from deployments.models import Deployment, FleetSwitch
from deployments.operations import approval
from deployments.reading import summary
from deployments.rules.states import LIVE, DeploymentStatus
from devices.models import Device

SHOWN: Final = 50


def kill_switch_on() -> FleetSwitch | None:
    return FleetSwitch.objects.select_related("changed_by").filter(kill_switch=True).first()


def overview() -> dict[str, Any]:
    """Held ones first, then running and queued ones, newest first; and which of the first steps are done."""
    live = Deployment.objects.filter(status__in=LIVE).select_related("to_version__apk", "target")
    found = list(live.order_by("-id")[:SHOWN])
    counts = summary.counts_by_status([deployment.pk for deployment in found])
    rows = {
        deployment.pk: {
            "deployment": deployment,
            "state": summary.state_of(deployment),
            "counts": counts[deployment.pk],
        }
        for deployment in found
    }
    held = {deployment.pk for deployment in found if _is_held(deployment)}
    return {
        "held": [rows[pk] for pk in rows if pk in held],
        "moving": [rows[pk] for pk in rows if pk not in held],
        "switch": FleetSwitch.objects.select_related("changed_by").get(),
        "steps": None if found or Deployment.objects.exists() else _first_steps(),
    }


def _is_held(deployment: Deployment) -> bool:
    """Whether it waits for a person."""
    return deployment.status == DeploymentStatus.PAUSED or approval.is_missing(deployment)


def _first_steps() -> dict[str, bool]:
    return {
        "device": Device.objects.exists(),
        "package": Apk.objects.filter(managed=True).exists(),
        "version": ApkVersion.objects.exists(),
    }
