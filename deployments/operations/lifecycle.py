"""What people do with a deployment: start, pause, resume, cancel, change of pace. Every door calls these.

Permission and rule are checked here, so that every door is equal. All are safe to press twice.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pydantic import ValidationError

from apks.models import ApkVersion
from deployments import audit
from deployments.engine import bell, ending, gates, moves, planner
from deployments.locking import SHARE_SWITCH, SWITCH_LOCK, Locked, locked
from deployments.models import (
    Deployment,
    DeploymentNumbers,
    DeploymentTarget,
    DryRun,
    FleetSwitch,
    StartRequest,
)
from deployments.operations import dry_run, movers
from deployments.rules import wording
from deployments.rules.options import DeploymentOptions, sentences
from deployments.rules.states import (
    GATE_STOPS,
    HARD_STOPS,
    TERMINAL,
    CanaryState,
    DeploymentStatus,
    PausedReason,
)
from devices.selection import Target
from mdm.people import Actor
from mdm.problems import Conflict, Forbidden, Invalid

REMEMBERED_FOR: Final = timedelta(hours=24)

# Time spent stopped does not count against any deadline, be it set before the stop or by a report during it.
_SHIFT: Final = """UPDATE deployment_task SET
    in_flight_until = in_flight_until + (%(now)s - greatest(%(stopped_at)s, updated_at)),
    install_until = install_until + (%(now)s - greatest(%(stopped_at)s, acknowledged_at)),
    recheck_until = recheck_until + (%(now)s - %(stopped_at)s)
    WHERE deployment_id = %(id)s AND (in_flight_until IS NOT NULL
        OR status = 'skipped' AND next_run_at IS NOT NULL OR status IN ('queued', 'throttled', 'waiting_window')
            AND recheck_until IS NOT NULL)"""


def start(
    actor: Actor,
    *,
    apk_version_id: int,
    target: Target,
    options: DeploymentOptions,
    dry_run_id: int | None = None,
    idempotency_key: str | None = None,
    body_digest: str = "",
) -> int:
    """The new deployment's id; with a key that was used within 24 h the first one's. Planned in the background."""
    actor.require("deployments.start_deployment")
    assert actor.user is not None  # the system starts nothing
    now = timezone.now()
    if idempotency_key and (first := _first_answer(actor, idempotency_key, body_digest, now)):
        return first
    try:
        with transaction.atomic():
            run = dry_run.find(dry_run_id, now, lock=True) if dry_run_id is not None else None
            flag = _may_start()
            # Read under the lock: who withdraws it waits for us and then finds this deployment, or came before.
            version = dry_run.deployable_version(apk_version_id)
            if version.withdrawn_at is not None:
                raise Conflict("The version was withdrawn.", slug="version_withdrawn")
            dry_run.check(options, target.type, now)
            _check_target(run, version.pk, target, version.apk.package_name)
            deployment = _create(actor, version, target, options, run, flag=flag)
            if idempotency_key:
                StartRequest.objects.create(
                    user=actor.user, key=idempotency_key, body_digest=body_digest, deployment=deployment
                )
            transaction.on_commit(lambda: bell.call(deployment.pk))
    except IntegrityError:
        if idempotency_key and (first := _first_answer(actor, idempotency_key, body_digest, now)):
            return first
        raise
    return deployment.pk


def _create(
    actor: Actor,
    version: ApkVersion,
    target: Target,
    options: DeploymentOptions,
    run: DryRun | None,
    *,
    flag: bool,
) -> Deployment:
    deployment = Deployment.objects.create(
        apk=version.apk,
        to_version=version,
        created_by=actor.user,
        options=options.to_json(),
        feature_flag_snapshot={"deployments.enabled": flag},
        dry_run=run,
    )
    DeploymentTarget.objects.create(
        deployment=deployment, scope=target.type, selection_query=target.to_json()
    )
    message = f"Deployment of {version} requested"
    audit.record(deployment.pk, message, actor=actor, meta={"options": deployment.options})
    return deployment


def _first_answer(actor: Actor, key: str, body_digest: str, now: datetime) -> int | None:
    used = StartRequest.objects.filter(user=actor.user, key=key)
    used.filter(created_at__lt=now - REMEMBERED_FOR).delete()
    request = used.first()
    if request is None:
        return None
    if request.body_digest != body_digest:
        raise Invalid(
            "This Idempotency-Key was used with another body.",
            slug="idempotency_key_reused",
            errors={"Idempotency-Key": "Used with another body."},
        )
    return request.deployment_id


def _may_start() -> bool:
    """The flag as it stands; it cannot change before this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(SHARE_SWITCH, [SWITCH_LOCK])
    switch = FleetSwitch.objects.get()
    check_switch(switch)
    return switch.deployments_enabled


def check_switch(switch: FleetSwitch) -> None:
    """Forbidden while the flag is off, Conflict while the kill switch is on."""
    _check_flag(switch)
    _check_kill_switch(switch)


def _check_flag(switch: FleetSwitch) -> None:
    if not switch.deployments_enabled:
        raise Forbidden(
            "Deployments are switched off (deployments.enabled). Switch them on first.", slug="flag_off"
        )


def _check_kill_switch(switch: FleetSwitch, **extra: str) -> None:
    if switch.kill_switch:
        raise Conflict("The kill switch is on. Turn it off first.", slug="kill_switch", extra=extra)


def _check_target(run: DryRun | None, version_id: int, target: Target, package: str) -> None:
    if run is not None:
        if run.apk_version_id != version_id or Target.model_validate(run.target) != target:
            raise Invalid(
                "The dry run was made for another version or target; make a new one.",
                slug="dry_run_mismatch",
                errors={"dry_run_id": "Made for another version or target."},
            )
        return
    chosen = planner.chosen_by(target, package)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS ({chosen.sql})", chosen.params)
        row = cursor.fetchone()
    if not (row and row[0]):
        raise dry_run.nobody()


def pause(actor: Actor, deployment_id: int, *, reason: str = "", expected_status: str | None = None) -> None:
    """Nothing new is claimed once this returns; what is in flight finishes. Forbidden, NotFound, Conflict."""
    actor.require("deployments.operate_deployment")
    with locked(deployment_id) as held:
        deployment = held.deployment
        check_expected(deployment, expected_status)
        if deployment.status == DeploymentStatus.PAUSED:
            return
        now = timezone.now()
        _stop_the_watch(deployment, now)
        message = f"Paused: {reason}" if reason else "Paused"
        moves.pause(
            deployment, PausedReason.OPERATOR, message, now, actor=actor, meta={"operator_reason": reason}
        )


def explain_pause(
    actor: Actor, deployment_id: int, *, reason: str, expected_status: str | None = None
) -> None:
    """The reason of a pause, written once there is time for it. Conflict where no person has paused it."""
    actor.require("deployments.operate_deployment")
    if not reason.strip():
        raise Invalid("A reason is required.", errors={"reason": "A reason is required."})
    with locked(deployment_id) as held:
        deployment = held.deployment
        check_expected(deployment, expected_status)
        if deployment.paused_reason != PausedReason.OPERATOR:
            raise Conflict(
                "It is not paused by a person.",
                slug="not_legal",
                extra={"current_status": deployment.status},
            )
        meta = {"explains": deployment.status, "operator_reason": reason}
        audit.record(deployment.pk, f"Reason of the pause: {reason}", actor=actor, meta=meta)
        DeploymentNumbers.objects.filter(pk=deployment.pk).delete()  # they carry the reason


def _stop_the_watch(deployment: Deployment, now: datetime) -> None:
    if deployment.status == DeploymentStatus.RUNNING:
        gates.run_stopwatch(deployment, DeploymentOptions.from_json(deployment.options), now)


def resume(actor: Actor, deployment_id: int, *, reason: str = "", expected_status: str | None = None) -> None:
    """Back to where it was. After a gate's verdict it is an override and wants a reason."""
    actor.require("deployments.operate_deployment")
    with locked(deployment_id) as held:
        deployment = held.deployment
        check_expected(deployment, expected_status)
        if deployment.status in (DeploymentStatus.RUNNING, DeploymentStatus.QUEUED):
            return
        if deployment.status != DeploymentStatus.PAUSED:
            raise moves.not_legal(deployment, "running")
        _check_resumable(held, reason)
        now = timezone.now()
        if deployment.paused_reason in HARD_STOPS:
            assert deployment.paused_at is not None  # a constraint
            shift_deadlines(deployment.pk, deployment.paused_at, now)
        message = f"Resumed: {reason}" if reason else "Resumed"
        back = DeploymentStatus.RUNNING if deployment.started_at else DeploymentStatus.QUEUED
        moves.move(
            deployment,
            back,
            message,
            actor=actor,
            meta={"was": deployment.paused_reason, "operator_reason": reason},
            killed_by=None,
            killed_reason="",
            **_override(deployment, now),
        )
        transaction.on_commit(lambda: bell.call(deployment_id))


def _check_resumable(held: Locked, reason: str) -> None:
    deployment, switch = held.deployment, held.switch
    status = {"current_status": deployment.status}
    if deployment.to_version.withdrawn_at is not None:
        raise Conflict(
            "The version was withdrawn: cancel the deployment.", slug="version_withdrawn", extra=status
        )
    _check_kill_switch(switch, **status)
    _check_flag(switch)
    if not deployment.apk.managed:
        raise Conflict("The package is not on the allowlist.", slug="not_managed", extra=status)
    if deployment.paused_reason in GATE_STOPS and not reason.strip():
        raise Invalid(
            "Going on against the gate's verdict wants a reason.", errors={"reason": "A reason is required."}
        )


def _override(deployment: Deployment, now: datetime) -> dict[str, Any]:
    """After a gate only what finishes later counts, and a canary that was judged is overridden."""
    columns: dict[str, Any] = {"canary_clock_at": now if deployment.canary_clock_at else None}
    if deployment.paused_reason in GATE_STOPS:
        columns["failures_count_from"] = now
    if deployment.paused_reason in (PausedReason.CANARY_FAILED, PausedReason.CANARY_UNDECIDED):
        columns |= {"canary_state": CanaryState.OVERRIDDEN, "canary_decided_at": now}
    return columns


def shift_deadlines(deployment_id: int, stopped_at: datetime, now: datetime) -> None:
    """Its agents were told to stop all that time."""
    with connection.cursor() as cursor:
        cursor.execute(_SHIFT, {"id": deployment_id, "now": now, "stopped_at": stopped_at})


def cancel(actor: Actor, deployment_id: int, *, reason: str = "", expected_status: str | None = None) -> None:
    """Final at once. What is in flight is told to stop; its device stays taken until it reports or its old
    deadline passes."""
    actor.require("deployments.operate_deployment")
    with locked(deployment_id) as held:
        check_expected(held.deployment, expected_status)
        if held.deployment.status != DeploymentStatus.CANCELED:
            cancel_held(actor, held.deployment, reason)


def cancel_held(actor: Actor, deployment: Deployment, reason: str) -> None:
    """The cancel itself, for who holds the deployment's lock. Conflict where it has ended otherwise."""
    now = timezone.now()
    moves.move(
        deployment,
        DeploymentStatus.CANCELED,
        f"Canceled: {reason}" if reason else "Canceled",
        actor=actor,
        level="warn",
        meta={"operator_reason": reason},
        finished_at=now,
        killed_by=actor.user,
        killed_reason=reason,
    )
    ending.end_tasks_of_deployment(deployment.pk, actor, now)
    transaction.on_commit(lambda: bell.tell_to_stop(deployment.pk))


def change_pace(
    actor: Actor,
    deployment_id: int,
    *,
    rate: int | None = None,
    concurrency: int | None = None,
    expected_status: str | None = None,
) -> None:
    """The one thing about a live deployment that may change."""
    actor.require("deployments.operate_deployment")
    with locked(deployment_id) as held:
        deployment = held.deployment
        check_expected(deployment, expected_status)
        if deployment.status in TERMINAL:
            raise moves.not_legal(deployment, "faster or slower")
        wanted = {"rate": rate, "concurrency": concurrency}
        changes = {name: value for name, value in wanted.items() if value is not None}
        before = {name: deployment.options[name] for name in changes}
        if changes == before:
            return
        options = deployment.options | changes
        _check_options(options)
        Deployment.objects.filter(pk=deployment.pk).update(options=options)
        words = ", ".join(f"{name} {before[name]} → {value}" for name, value in changes.items())
        audit.record(
            deployment.pk, f"Pace changed: {words}", actor=actor, meta={"before": before, "after": changes}
        )
        transaction.on_commit(lambda: bell.call(deployment_id))


def _check_options(options: dict[str, Any]) -> None:
    try:
        DeploymentOptions.from_json(options)
    except ValidationError as error:
        found = sentences(error)
        raise Invalid(" ".join(found.values()), errors=found) from None


def check_expected(deployment: Deployment, expected_status: str | None) -> None:
    """Conflict where the state is no longer the one that the person saw; it says who moved it."""
    if expected_status is not None and expected_status != deployment.status:
        moved = movers.that_moved(deployment)
        how = f" {wording.since(moved.at, timezone.now())} ago by {moved.by}" if moved else ""
        raise Conflict(
            f"State changed{how}: now {DeploymentStatus(deployment.status).label.lower()}.",
            slug="stale_status",
            extra={"current_status": deployment.status},
        )
