"""One step of a deployment: plan, judge, mark, skip, claim, finish. Idempotent; losing or doubling one changes
nothing. The ticker finds what is due every second and rings; a worker does the step."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from deployments import audit
from deployments.engine import bell, canary, dispatch, moves, nudging, reaper, turns
from deployments.engine.dispatch import Claim, Turn
from deployments.engine.eligibility import REASON_OF_MANY, SERVER_ZONE, Terms
from deployments.locking import locked
from deployments.models import Deployment, DeploymentTask
from deployments.operations import beginning
from deployments.rules import wording
from deployments.rules.states import (
    IN_FLIGHT,
    WAITING,
    CanaryState,
    DeploymentStatus,
    ReasonGroup,
    TaskStatus,
    codes,
)
from deployments.rules.window import device_zone, next_opening
from devices import push

# While a canary place is free every waiting device is looked at, which costs; so not each second.
LOOK_AT_ALL_EVERY: Final = timedelta(seconds=5)
# Tasks are marked when a window opens or closes; who came back to the queue or travelled since, at this pace.
MARK_ALL_EVERY: Final = timedelta(seconds=30)
# `throttled` marks the next few, never the whole queue.
THROTTLED_SHOWN: Final = 20


def ring_due_deployments() -> None:
    """Called every second by the one ticker: rings for what may have something to do."""
    now = timezone.now()
    reaper.reap(now)
    nudging.look(now)
    due = Deployment.objects.filter(status__in=(DeploymentStatus.QUEUED, DeploymentStatus.RUNNING))
    for deployment_id in due.order_by("id").values_list("id", flat=True):
        bell.call(deployment_id)


def advance(deployment_id: int) -> list[Claim]:
    """One step under the lock; returns what was claimed and is to be pushed after the commit."""
    with locked(deployment_id) as held:
        deployment = held.deployment
        if deployment.status == DeploymentStatus.QUEUED and not held.stopped:
            beginning.begin(deployment)
        now = dispatch.turn(held)
        claims = _use_turn(now) if now is not None else []
        if deployment.status == DeploymentStatus.RUNNING:
            _finish_if_done(deployment)
        return claims


def _use_turn(now: Turn) -> list[Claim]:
    deployment, terms = now.deployment, now.terms
    if terms.closing.over:
        turns.settle_all(deployment, terms)
        return []
    mark_window(deployment, terms)
    if terms.closing.everywhere:
        return []
    turns.settle_deadlines(deployment, terms)
    pushes = push.enabled() and not _push_held(deployment, terms.now)
    candidates = _candidates(now, only_pushable=pushes) if now.room else []
    mark_throttled(now)
    return dispatch.claim_for_push(now, candidates) if pushes and candidates else []


def _push_held(deployment: Deployment, now: datetime) -> bool:
    return deployment.push_not_before is not None and deployment.push_not_before > now


def _candidates(now: Turn, *, only_pushable: bool) -> list[turns.Candidate]:
    """Decides misses for those whose turn has come; returns who could start (whom a push reaches)."""
    deployment, terms = now.deployment, now.terms
    if now.canary is None:
        return turns.ready_in_order(deployment, terms, now.room, only_pushable=only_pushable)
    last = deployment.misses_decided_at
    if now.canary.free and (last is None or terms.now - last >= LOOK_AT_ALL_EVERY):
        turns.settle_waiting(deployment, terms, since=last)
        Deployment.objects.filter(pk=deployment.pk).update(misses_decided_at=terms.now)
    else:
        turns.settle_canary(deployment, terms)
    return canary.pick_for_push(deployment, terms, now.canary, now.room) if only_pushable else []


# --- what the waiting statuses say ---------------------------------------------------------------------------

_SHUT: Final = """UPDATE deployment_task t SET status = 'waiting_window',
        next_run_at = greatest(t.next_run_at, %(opening)s)
    FROM device d WHERE d.id = t.device_id AND t.deployment_id = %(id)s AND (t.status IN ('queued', 'throttled')
        OR %(marked)s AND t.status = 'waiting_window' AND t.next_run_at < %(opening)s)
        AND (%(zone)s IS NULL OR COALESCE(NULLIF(d.tz, ''), %(server_tz)s) = %(zone)s)"""
# Of who failed or skipped before, a time still to come is the back-off; of others it is an opening elsewhere: the
# device has travelled.
_OPEN: Final = """UPDATE deployment_task t SET status = 'queued', next_run_at =
        CASE WHEN t.next_run_at > %(now)s AND (t.failures > 0 OR t.agent_skips > 0) THEN t.next_run_at END
    FROM device d WHERE d.id = t.device_id AND t.deployment_id = %(id)s AND t.status = 'waiting_window'
        AND NOT COALESCE(NULLIF(d.tz, ''), %(server_tz)s) = ANY(%(closed_zones)s::text[])"""


def _openings(terms: Terms) -> dict[str | None, datetime | None]:
    """Where the window is shut (None: everywhere) -> when it opens there."""
    window, closing = terms.options.maintenance_window(), terms.closing
    shut = [None] if closing.everywhere else closing.zones
    return {zone: next_opening(window, terms.now, device_zone(zone, SERVER_ZONE)) for zone in shut}


def mark_window(deployment: Deployment, terms: Terms) -> None:
    """waiting_window ⇄ queued, with the next opening; one event with the count, never one per task."""
    openings = _openings(terms)
    marks = {zone or "": opening.isoformat() for zone, opening in openings.items() if opening}
    last = deployment.window_marked_at
    everyone = marks != deployment.window_marks or last is None or terms.now - last >= MARK_ALL_EVERY
    if not everyone and not terms.closing.everywhere:
        return
    shut = opened = 0
    for zone, opening in openings.items():
        shut += _change(_SHUT, deployment, terms, zone=zone, opening=opening, marked=everyone)
    if not terms.closing.everywhere:
        opened = _change(_OPEN, deployment, terms)
    if everyone:
        Deployment.objects.filter(pk=deployment.pk).update(window_marks=marks, window_marked_at=terms.now)
    if shut:
        audit.record(deployment.pk, f"Window closed for {wording.devices(shut)}", meta={"count": shut})
    if opened:
        audit.record(deployment.pk, f"Window open for {wording.devices(opened)}", meta={"count": opened})


_THROTTLE: Final = f"""{turns.NEXT} UPDATE deployment_task SET status = 'throttled' WHERE status = 'queued' AND id IN (
    SELECT t.id FROM next JOIN deployment_task t USING (id) JOIN device d ON d.id = t.device_id
        LEFT JOIN heartbeat h ON h.device_id = d.id
    WHERE {REASON_OF_MANY} = '{turns.READY}' ORDER BY {turns.PUSH_ORDER} LIMIT %(shown)s)"""
_UNTHROTTLE: Final = """UPDATE deployment_task SET status = 'queued'
    WHERE deployment_id = %(id)s AND status = 'throttled'"""


def mark_throttled(now: Turn) -> None:
    """Only those that a limit holds back right now; refreshed when they are used up. One event per move."""
    deployment = now.deployment
    marked = DeploymentTask.objects.filter(deployment=deployment, status=TaskStatus.THROTTLED).exists()
    if now.room and marked:
        count = _change(_UNTHROTTLE, deployment, now.terms)
        audit.record(
            deployment.pk,
            f"Room again for {wording.devices(count)}",
            meta={"count": count, "throttle": False},
        )
    elif not now.room and not marked:
        few = {"limit": turns.CHUNKS[0], "offset": 0, "shown": min(THROTTLED_SHOWN, now.options.concurrency)}
        if count := _change(_THROTTLE, deployment, now.terms, **few):
            meta = {"count": count, "throttle": True, "reason": now.pace.room.limited_by}
            audit.record(
                deployment.pk, f"A limit holds back {wording.devices(count)}, the next in turn", meta=meta
            )


def _change(sql: str, deployment: Deployment, terms: Terms, **more: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, terms.params() | {"id": deployment.pk, **more})
        return int(cursor.rowcount)


# --- the end -------------------------------------------------------------------------------------------------


def _finish_if_done(deployment: Deployment) -> None:
    tasks = DeploymentTask.objects.filter(deployment=deployment)
    if tasks.filter(
        Q(status__in=[*WAITING, *IN_FLIGHT]) | Q(status="skipped", next_run_at__isnull=False)
    ).exists():
        return
    if deployment.canary_state == CanaryState.COLLECTING and deployment.canary_reached_at is not None:
        return  # the soak goes on, and ends in a verdict
    failed = _why_failed(deployment)
    to = DeploymentStatus.FAILED if failed else DeploymentStatus.COMPLETE
    moves.move(
        deployment,
        to,
        failed or "Complete: every device has ended",
        level="error" if failed else "info",
        finished_at=timezone.now(),
    )


def _why_failed(deployment: Deployment) -> str:
    """Could not be carried out: everybody was excluded for another reason than having the version, or everybody
    has ended and the canary never passed."""
    tasks = DeploymentTask.objects.filter(deployment=deployment)
    excluded = codes(ReasonGroup.EXCLUDED)
    if not tasks.exclude(status="skipped", reason__in=excluded).exists():
        nothing_to_do = tasks.filter(reason__in=("already_installed", "not_affected")).exists()
        nobody_hurt = deployment.bad_version_id is not None and not tasks.exists()
        return "" if nothing_to_do or nobody_hurt else "Failed: every device is excluded"
    if deployment.canary_state == CanaryState.COLLECTING:
        return "Failed: every device has ended and the canary never passed"
    return ""
