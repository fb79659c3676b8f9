"""What the rows say about one deployment at this moment: the only memory that limits and gates have.

Exact when read under the deployment's lock; read without it, good enough to show or to spare a lock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from deployments import gate, pace
from deployments.models import Deployment
from deployments.options import DeploymentOptions, milliseconds
from deployments.states import CanaryState

# A send is stamped after the lock was taken, never before an earlier one: now() would be the transaction's start.
_MOMENT: Final = (
    "moment AS MATERIALIZED (SELECT greatest(clock_timestamp(), %(last_sent_at)s::timestamptz) AS at)"
)

_PACE: Final = f"""WITH {_MOMENT} SELECT at,
    (SELECT count(*) FROM deployment_task WHERE deployment_id = %(id)s AND status IN ('sending', 'installing')),
    (SELECT count(*) FROM deployment_attempt
        WHERE deployment_id = %(id)s AND sent_at > at - interval '60 seconds')
    FROM moment"""

# A place counts from its first send and is free again once its device is skipped. `size`: fewer where fewer
# devices are left that could take part.
_CANARY: Final = """SELECT
    (SELECT count(*) FROM (SELECT 1 FROM deployment_task WHERE deployment_id = %(id)s
        AND NOT (status = 'skipped' AND next_run_at IS NULL) LIMIT %(canary)s) AS few),
    count(*),
    count(*) FILTER (WHERE status <> 'skipped'),
    count(*) FILTER (WHERE status = 'succeeded'),
    count(*) FILTER (WHERE status = 'failed' AND acknowledged_failure_at IS NOT NULL
        AND error_code <> 'no_answer'),
    count(*) FILTER (WHERE status = 'installing'
        OR status IN ('queued', 'throttled', 'waiting_window', 'sending') AND acknowledged_failure_at IS NOT NULL)
    FROM deployment_task WHERE deployment_id = %(id)s AND is_canary"""

# Bad: failed for good after the agent had it, or waiting for a retry after such a failure (downloads aside,
# which say nothing about the version).
_BAD: Final = """SELECT count(*) FROM deployment_task WHERE deployment_id = %(id)s
    AND acknowledged_failure_at > %(since)s
    AND (status = 'failed' AND error_code <> 'no_answer'
        OR status <> 'succeeded' AND NOT (status = 'skipped' AND next_run_at IS NULL) AND status <> 'failed'
            AND error_code NOT LIKE 'download\\_%%' AND error_code <> 'url_expired')"""
_OK: Final = """SELECT count(*) FROM deployment_task
    WHERE deployment_id = %(id)s AND status = 'succeeded' AND finished_at > %(since)s"""


@dataclass(frozen=True, slots=True)
class Pace:
    """`at`: the moment at which a send claimed now is stamped. `room`: how many sends the limits allow."""

    at: datetime
    in_flight: int
    sent_last_minute: int
    room: pace.Room


@dataclass(frozen=True, slots=True)
class Canary:
    """Counts of canary devices. `size` 0: nobody is left who could be one."""

    size: int
    sent: int
    taken: int
    ok: int
    bad: int
    unsettled: int

    @property
    def free(self) -> int:
        return max(0, self.size - self.taken)


@dataclass(frozen=True, slots=True)
class Failures:
    ok: int
    bad: int


def measure_pace(deployment: Deployment, options: DeploymentOptions) -> Pace:
    at, in_flight, sent = _row(_PACE, {"id": deployment.pk, "last_sent_at": deployment.last_sent_at})
    room = pace.room(
        rate=options.rate, sent_in_window=sent, concurrency=options.concurrency, in_flight=in_flight
    )
    return Pace(at, in_flight, sent, room)


def measure_canary(deployment: Deployment, options: DeploymentOptions) -> Canary:
    return Canary(*_row(_CANARY, {"id": deployment.pk, "canary": options.canary}))


def measure_failures(deployment: Deployment, *, always_ok: bool = False) -> Failures:
    """What the failure limit counts. `ok` stays 0 while nothing is bad unless `always_ok`: counting a
    hundred thousand successes for a limit that cannot trip would slow every send."""
    params = {"id": deployment.pk, "since": deployment.failures_count_from or deployment.created_at}
    (bad,) = _row(_BAD, params)
    ok = _row(_OK, params)[0] if bad or always_ok else 0
    return Failures(ok, bad)


def canary_verdict(
    deployment: Deployment, options: DeploymentOptions, counts: Canary, now: datetime
) -> gate.CanaryVerdict:
    reached = deployment.canary_reached_at
    return gate.canary(
        size=counts.size,
        success_pct=options.canary_success_pct,
        ok=counts.ok,
        bad=counts.bad,
        unsettled_acknowledged=counts.unsettled,
        sent=counts.sent,
        place_free=counts.free > 0,
        elapsed_ms=deployment.canary_elapsed_ms,
        timeout_ms=milliseconds(options.canary_timeout_min),
        soak_ms=milliseconds(options.canary_soak_min),
        since_reached_ms=None if reached is None else int((now - reached).total_seconds() * 1000),
    )


def failure_verdict(options: DeploymentOptions, failures: Failures) -> gate.FailureVerdict:
    return gate.failure_limit(
        ok=failures.ok,
        bad=failures.bad,
        failure_pct=options.failure_pct,
        min_sample=options.failure_min_sample,
        max_failures=options.max_failures,
    )


def canary_gate_shut(deployment: Deployment, counts: Canary | None) -> bool:
    """Whether every canary place is taken while the verdict is open."""
    return deployment.canary_state == CanaryState.COLLECTING and (counts is None or counts.free == 0)


def _row(sql: str, params: dict[str, Any]) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        row = cursor.fetchone()
    assert row is not None
    return row
