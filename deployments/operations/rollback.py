"""Going back from a bad version: a deployment of its own, for exactly the devices that the bad one reached.

In one transaction the bad deployment is canceled, the bad version withdrawn and the rollback made, so that
nobody gets the bad version meanwhile. The devices are worked out by the plan (deployments.engine.planner).
"""

from dataclasses import dataclass
from typing import Final

from django.db import connection

from apks import allowlist
from apks.models import ApkVersion
from deployments import audit
from deployments.engine import planner
from deployments.locking import locked, switch_taken
from deployments.models import Deployment
from deployments.operations import follow_up, lifecycle, way_back
from deployments.operations.way_back import WayBack
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import TERMINAL, DeploymentStatus, InstallMode
from mdm.people import Actor
from mdm.problems import Conflict, Invalid

PERMISSION: Final = "deployments.rollback_deployment"
NOT_TRIPPED: Final = "Rollback is offered once the canary has failed or the failure limit is exceeded."
OVER: Final = (DeploymentStatus.CANCELED, DeploymentStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Offer:
    """Whether to go back is offered now, which way it would be, and else why not. `done_by`: the rollback."""

    way: WayBack
    why_not: str = ""
    done_by: int | None = None

    @property
    def offered(self) -> bool:
        return not self.why_not


@dataclass(frozen=True, slots=True)
class Consent:
    """What the person said. `expected_version_id`: what the page said would be installed."""

    reason: str = ""
    accept_data_loss: bool = False
    confirm_version: str = ""
    expected_status: str | None = None
    expected_version_id: int | None = None


def offer(deployment: Deployment) -> Offer:
    """As things stand; under the deployment's lock it is the decision."""
    way = way_back.of_deployment(deployment)
    done_by = done_by_which(deployment.pk)
    return Offer(way, why_not(deployment, way.why_not, done_by), done_by)


def done_by_which(deployment_id: int) -> int | None:
    """The rollback of this deployment that has not been canceled and has not failed."""
    found = Deployment.objects.filter(rollback_of=deployment_id).exclude(status__in=OVER)
    return found.order_by("-id").values_list("id", flat=True).first()


def why_not(deployment: Deployment, no_way: str, done_by: int | None) -> str:
    """`no_way`: why no way leads back at all, "" where one does."""
    package = deployment.apk
    refusals = (
        (deployment.bad_version_id is not None, "This is a rollback itself."),
        (
            not deployment.options["allow_rollback"],
            "Rollback was not allowed when the deployment was started.",
        ),
        (done_by is not None, f"Rolled back already, by deployment #{done_by}."),
        (bool(no_way), no_way),
        (deployment.gate_tripped_at is None, NOT_TRIPPED),
        (not package.managed, f"{package.package_name} is not on the allowlist; put it there first."),
    )
    return next((text for applies, text in refusals if applies), "")


def roll_back(actor: Actor, deployment_id: int, consent: Consent) -> int:
    """The id of the rollback. NotFound; Conflict with `why_not` and `current_status` where it is not offered;
    Invalid where a reinstall was not consented to."""
    actor.require(PERMISSION)
    with switch_taken(), locked(deployment_id) as held:
        bad = held.deployment
        way = _agreed(bad, consent)
        lifecycle.check_switch(held.switch)
        made = _create(actor, bad, way, consent.reason)
        _log(actor, bad, made, way, consent.reason)
        if bad.status not in TERMINAL:
            lifecycle.cancel_held(actor, bad, f"Rolled back by deployment #{made.pk}")
        why = f"Rolled back from deployment #{bad.pk}: {consent.reason}".rstrip(": ")
        allowlist.withdraw_for(actor, bad.to_version_id, why[: allowlist.MAX_REASON])
    return made.pk


def _agreed(bad: Deployment, consent: Consent) -> WayBack:
    """The way back, if it is offered, is the one that the person saw, and is consented to."""
    status = {"current_status": bad.status}
    found = offer(bad)
    if found.why_not:
        done = {"deployment_id": found.done_by} if found.done_by else {}
        extra = status | {"why_not": found.why_not} | done
        raise Conflict(found.why_not, slug="rollback_not_offered", extra=extra)
    lifecycle.check_expected(bad, consent.expected_status)
    way, expected = found.way, consent.expected_version_id
    assert way.version is not None  # what is offered leads somewhere
    if expected is not None and expected != way.version.pk:
        text = f"The way back is another by now: {way.kind} of {way.version.version_name}. Look at it again."
        raise Conflict(text, slug="stale_version", extra=status)
    if way.kind == "reinstall":
        _check_consent(way.version, consent)
    return way


def _check_consent(version: ApkVersion, consent: Consent) -> None:
    """The only step that deletes data is the only one that is typed."""
    missing = {}
    if not consent.accept_data_loss:
        missing["accept_data_loss"] = "A reinstall deletes the app's data on every device; accept that first."
    if consent.confirm_version.strip() != version.version_name:
        missing["confirm_version"] = f"Type the version that will be installed: {version.version_name}"
    if missing:
        raise Invalid(" ".join(missing.values()), slug="consent_missing", errors=missing)


def _create(actor: Actor, bad: Deployment, way: WayBack, reason: str) -> Deployment:
    assert way.version is not None
    return follow_up.create(
        actor,
        way.version,
        options_of(bad, way),
        f"Rollback of #{bad.pk} ({bad.to_version}) to {way.version} by {way.kind} requested",
        query={"rollback_of": bad.pk},
        rollback_of=bad,
        bad_version=bad.to_version,
        install_mode=InstallMode.REINSTALL if way.kind == "reinstall" else InstallMode.UPDATE,
    )


def options_of(bad: Deployment, way: WayBack) -> DeploymentOptions:
    """As the bad deployment's, but at once and not in its window. A rebuild is code that is known to be good and
    needs no canary; a reinstall deletes data, so it has one like any deployment. Whoever is away keeps the bad
    version until it is back, so devices are checked again even where the bad deployment never did."""
    options = DeploymentOptions.from_json(bad.options)
    changes = {
        "canary": max(1, options.canary) if way.kind == "reinstall" else 0,
        "deadline_hours": options.deadline_hours or DeploymentOptions().deadline_hours,
        "window": None,
        "allow_rollback": False,
    }
    return options.model_copy(update=changes)


def _log(actor: Actor, bad: Deployment, made: Deployment, way: WayBack, reason: str) -> None:
    meta = {"rollback": made.pk, "kind": way.kind, "version": made.to_version_id, "operator_reason": reason}
    text = f"Rollback to {way.version} by {way.kind}: deployment #{made.pk}"
    audit.record(bad.pk, f"{text}. {reason}".rstrip(". "), actor=actor, level="warn", meta=meta)


def affected(deployment: Deployment) -> int:
    """How many devices a rollback would reach now."""
    chosen = planner.chosen_by_rollback(deployment.to_version_id, deployment.apk.package_name)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({chosen.sql}) chosen", chosen.params)
        row = cursor.fetchone()
    return int(row[0]) if row else 0
