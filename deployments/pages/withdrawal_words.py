"""What the withdrawal of a version would do, in sentences with numbers, before a person confirms it."""

from typing import Final

from apks.models import ApkVersion
from deployments.models import Deployment, DeploymentTask
from deployments.rules.states import IN_FLIGHT, LIVE
from devices.models import Device

_NAMED: Final = 5


def lines(version: ApkVersion) -> list[str]:
    """Who has it, which deployments stop, who is at work."""
    package = version.apk.package_name
    have = Device.objects.filter(
        current_versions__contains={package: {"version_code": version.version_code}}
    ).count()
    live = list(Deployment.objects.filter(to_version=version, status__in=LIVE).order_by("id"))
    at_work = DeploymentTask.objects.filter(deployment__in=live, status__in=IN_FLIGHT).count()
    found = [
        f"Nobody gets it any more; {_count(have, 'device')} that {_has(have)} it keep{'s' if have == 1 else ''} it.",
        "To take it off devices again, roll its deployment back instead.",
        f"{_stopped(live)}. What has stopped can only be canceled.",
    ]
    if at_work:
        found.append(f"{_count(at_work, 'device')} at work: told to stop; one that is installing may finish.")
    return found


def _stopped(live: list[Deployment]) -> str:
    if not live:
        return "No live deployment pauses"
    named = ", ".join(f"#{deployment.pk}" for deployment in live[:_NAMED])
    more = f" and {len(live) - _NAMED} more" if len(live) > _NAMED else ""
    return f"{_count(len(live), 'live deployment')} of it must stop at once: {named}{more}"


def _count(count: int, word: str) -> str:
    return f"1 {word}" if count == 1 else f"{count:,} {word}s"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"
