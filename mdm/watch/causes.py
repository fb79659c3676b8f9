"""What must be true for an alert to stand, each a look at the rows. Thresholds are the ALERT_ settings."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection

from deployments.models import Deployment
from deployments.reading import stalling
from deployments.rules import wording
from deployments.rules.states import PausedReason
from mdm import counters, worker_beat
from mdm.watch import cut_troubles, reading
from mdm.watch.alerts import Cause

REPORTS: Final = "status"  # the route

_STOPPED: Final = {
    PausedReason.CANARY_FAILED: "has paused itself: its canary failed",
    PausedReason.CANARY_UNDECIDED: "has paused itself: its canary gave no answer",
    PausedReason.FAILURE_RATE: "has paused itself: too many devices failed",
}
# Of deployments that are not over, or only just.
_HALF_DONE: Final = """SELECT t.deployment_id, count(*) FROM deployment_task t
    JOIN deployment p ON p.id = t.deployment_id
    WHERE t.acknowledged_failure_at IS NOT NULL AND t.error_code = 'reinstall_incomplete'
        AND t.status <> 'succeeded' AND (p.finished_at IS NULL OR p.finished_at > %s) GROUP BY t.deployment_id"""


def standing(now: datetime) -> list[Cause]:
    """Everything that is wrong at this moment."""
    return [cause for look in _LOOKS for cause in look(now)]


def name_of(deployment: Deployment) -> str:
    version = deployment.to_version
    return f"Deployment {deployment.pk} ({version.apk.display_name} {version.version_name})"


def _cause(kind: str, deployment: Deployment, words: str) -> Cause:
    subject = f"deployment {deployment.pk}"
    return Cause(kind, subject, f"{name_of(deployment)} {words}.", deployment.pk)


def _paused(now: datetime) -> Iterator[Cause]:
    """Stopped by a gate: at once. Paused by whomever: after a while."""
    patience = timedelta(hours=settings.ALERT_PAUSED_HOURS)
    for deployment in Deployment.objects.filter(status="paused").select_related("to_version__apk"):
        why = PausedReason(deployment.paused_reason)
        if why in _STOPPED:
            yield _cause(why.value, deployment, _STOPPED[why])
        if deployment.paused_at is not None and deployment.paused_at < now - patience:
            words = f"has been paused for more than {settings.ALERT_PAUSED_HOURS:g} h ({why.label.lower()})"
            yield _cause("paused_too_long", deployment, words)


def _webhook_errors(now: datetime) -> Iterator[Cause]:
    span = timedelta(minutes=settings.ALERT_WEBHOOK_ERRORS_WITHIN_MIN)
    answers = [
        (int(labels["status"]), count)
        for labels, count in counters.recent(counters.AGENT_REQUESTS, span)
        if labels["route"] == REPORTS
    ]
    total = sum(count for _, count in answers)
    errors = sum(count for status, count in answers if status >= 400 and status != 409)
    share = settings.ALERT_WEBHOOK_ERRORS_PCT
    if total >= settings.ALERT_WEBHOOK_ERRORS_MIN and errors * 100 > share * total:
        words = (
            f"{errors:,} of {total:,} reports of agents within {span.total_seconds() / 60:g} min were answered"
            f" with an error (409 aside); more than {share:g} % is too many."
        )
        yield Cause("webhook_errors", "reports", words)


def _late(now: datetime) -> Iterator[Cause]:
    patience = timedelta(minutes=settings.ALERT_BACKLOG_MIN)
    since = reading.latest().oldest_due
    if since is not None and since < now - patience:
        late = (now - since).total_seconds() / 60
        yield Cause("queue_backlog", "queue", f"The oldest task that is due is {late:.0f} min late.")


def _stalled(now: datetime) -> Iterator[Cause]:
    patience = timedelta(minutes=settings.ALERT_NO_PROGRESS_MIN)
    for found in stalling.stalled(now, patience):
        for_long = f"nothing has moved for more than {settings.ALERT_NO_PROGRESS_MIN:g} min"
        words = f"runs with {wording.devices(found.ready)} ready, and {for_long}"
        yield _cause("no_progress", found.deployment, words)


def _silent(now: datetime) -> Iterator[Cause]:
    for part in ("worker", "ticker"):
        for name, age in worker_beat.ages(part).items():
            if age > settings.ALERT_WORKER_SILENT_SEC:
                limit = f"{settings.ALERT_WORKER_SILENT_SEC:g} s"
                yield Cause("worker_silent", name, f"{name} has not been heard of for more than {limit}.")


def _half_done(now: datetime) -> Iterator[Cause]:
    with connection.cursor() as cursor:
        cursor.execute(_HALF_DONE, [now - timedelta(days=1)])
        counts = dict(cursor.fetchall())
    for deployment in Deployment.objects.filter(pk__in=counts).select_related("to_version__apk"):
        words = (
            f"left {wording.devices(counts[deployment.pk])} without the app: the reinstall is not finished"
        )
        yield _cause("reinstall_incomplete", deployment, words)


def _not_archived(now: datetime) -> Iterator[Cause]:
    for trouble in cut_troubles.standing():
        yield Cause("archive_stuck", trouble.subject, trouble.message, trouble.deployment_id)


_LOOKS: Final[tuple[Callable[[datetime], Iterator[Cause]], ...]] = (
    _paused,
    _webhook_errors,
    _late,
    _stalled,
    _silent,
    _half_done,
    _not_archived,
)
