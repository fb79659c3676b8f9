"""What was claimed is pushed: after the commit, never inside a transaction. A push is only a hint.

A token that is gone is forgotten; quota and outages give the slot back and count no failure; a push that is
late is left to the heartbeat.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.utils import timezone

from deployments import audit
from deployments.engine import attempts, commands
from deployments.engine.attempts import Task
from deployments.engine.dispatch import Claim
from deployments.locking import locked
from deployments.models import Deployment
from devices import push
from devices.models import Device
from devices.push import Outcome, PushMessage, PushResult
from mdm import counters

# Later than this after the claim the heartbeat is as fast, and the device may have been told already.
LATE_SEC: Final = 5
# Where the far end is unavailable and does not say for how long.
BACKOFF_SEC: Final = 60

_PUSHED: Final = "UPDATE deployment_attempt SET pushed_at = %s WHERE task_id = %s AND number = %s"


def push_claims(claims: list[Claim]) -> None:
    """Each claim is still checked: it may have been canceled, or handed out by a heartbeat, meanwhile."""
    by_task = {claim.task_id: claim for claim in claims if not _late(claim)}
    tasks = attempts.read("t.id = ANY(%s) AND t.status = 'sending'", [list(by_task)]) if by_task else []
    results = send(
        [
            message(task, by_task[task.id].fcm_token)
            for task in tasks
            if task.attempt == by_task[task.id].attempt and not task.stop_reason
        ]
    )
    now = timezone.now()
    for result in results:
        _record(by_task[result.reference], result, now)
    _back_off([result for result in results if result.outcome == Outcome.BACKOFF], by_task, now)


def _late(claim: Claim) -> bool:
    return timezone.now() - claim.sent_at > timedelta(seconds=LATE_SEC)


def send(messages: list[PushMessage]) -> list[PushResult]:
    """Pushed and counted."""
    results = push.send(messages)
    counters.add(Counter(counters.key(counters.PUSHES, outcome=result.outcome.value) for result in results))
    return results


def message(task: Task, token: str) -> PushMessage:
    """The command as a push, kept by FCM no longer than the device has time to take it."""
    assert task.in_flight_until is not None
    ttl = max(0, int((task.in_flight_until - timezone.now()).total_seconds()))
    return PushMessage(token, push.encode_command(commands.command(task)), ttl, task.package, task.id)


def _record(claim: Claim, result: PushResult, now: datetime) -> None:
    if result.outcome == Outcome.DELIVERED:
        with connection.cursor() as cursor:
            cursor.execute(_PUSHED, [now, claim.task_id, claim.attempt])
    elif result.outcome == Outcome.TOKEN_GONE:
        Device.objects.filter(pk=claim.device_id, fcm_token=claim.fcm_token).update(fcm_token="")
        _note(claim, "The push token is gone; the device gets the command with its next heartbeat", result)
    elif result.outcome == Outcome.REJECTED:
        _note(claim, "The push was rejected; the device gets the command with its next heartbeat", result)


def _note(claim: Claim, message: str, result: PushResult) -> None:
    audit.record(
        claim.deployment_id,
        message,
        level="warn",
        device_id=claim.device_id,
        meta={"task": claim.task_id, "attempt": claim.attempt, "detail": result.detail},
    )


def _back_off(results: list[PushResult], claims: dict[int, Claim], now: datetime) -> None:
    if not results:
        return
    wait = max(result.retry_after_sec or BACKOFF_SEC for result in results)
    deployment_id = next(iter(claims.values())).deployment_id
    with locked(deployment_id):
        Deployment.objects.filter(pk=deployment_id).update(push_not_before=now + timedelta(seconds=wait))
    tasks = attempts.read("t.id = ANY(%s) AND t.status = 'sending'", [[r.reference for r in results]])
    for task in tasks:
        if task.attempt == claims[task.id].attempt:
            change = attempts.back_to_queue(
                task,
                now,
                event="Push not possible; slot given back",
                outcome="push_failed",
                code="push_backoff",
            )
            attempts.apply(task, change, now)


def tell_to_stop(deployment_id: int) -> None:
    """The stop hint to the devices that a cancel caught in flight."""
    caught = attempts.read(
        "t.deployment_id = %s AND t.status = 'skipped' AND t.in_flight_until IS NOT NULL", [deployment_id]
    )
    tokens = dict(
        Device.objects.filter(pk__in=[task.device_id for task in caught])
        .exclude(fcm_token="")
        .values_list("pk", "fcm_token")
    )
    push.send(
        [
            PushMessage(
                tokens[task.device_id],
                push.encode_stop(task.deployment_id, task.device_id, task.attempt),
                600,
                task.package,
                task.id,
            )
            for task in caught
            if task.device_id in tokens
        ]
    )
