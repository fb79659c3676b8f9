"""What the rows say about one deployment at this moment: the only memory that limits and gates have.

Exact when read under the deployment's lock; read without it, good enough to show or to spare a lock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from deployments.models import Deployment
from deployments.rules import gate, pace, retry
from deployments.rules.options import DeploymentOptions, milliseconds
from deployments.rules.states import CanaryState
from mdm import prepared

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
# devices could ever take part; one that was sent to still counts after it ended, else a gate of 100 % would pass
# at 90 % once everything had ended. `sent` is wanted only while the verdict is open.
_CANARY: Final = """SELECT
    (SELECT count(*) FROM (SELECT 1 FROM deployment_task WHERE deployment_id = %(id)s
        AND NOT (status = 'skipped' AND next_run_at IS NULL AND attempt = 0) LIMIT %(canary)s) AS few),
    CASE WHEN %(collecting)s THEN (SELECT count(DISTINCT device_id) FROM deployment_attempt
        WHERE deployment_id = %(id)s) ELSE 0 END,
    count(*) FILTER (WHERE status <> 'skipped'),
    count(*) FILTER (WHERE status = 'succeeded'),
    count(*) FILTER (WHERE status = 'failed' AND acknowledged_failure_at IS NOT NULL
        AND error_code <> ALL(%(never_bad)s)),
    count(*) FILTER (WHERE status IN ('queued', 'throttled', 'waiting_window', 'sending', 'installing')
        AND EXISTS (SELECT 1 FROM deployment_attempt a WHERE a.task_id = t.id AND a.acknowledged_at IS NOT NULL))
    FROM deployment_task t WHERE deployment_id = %(id)s AND is_canary"""

# Bad: failed for good after the agent had it, or trying again after a failure that says something about the
# version (deployments.engine.attempts.failed leaves `acknowledged_failure_at` alone for the others).
# Nobody counts a hundred thousand successes for a limit that cannot trip: it would slow every send.
_FAILURES: Final = """SELECT bad, CASE WHEN bad > 0 OR %(always_ok)s THEN (SELECT count(*) FROM deployment_task
    WHERE deployment_id = %(id)s AND status = 'succeeded' AND finished_at > %(since)s) ELSE 0 END
FROM (SELECT count(*) AS bad FROM deployment_task
    WHERE deployment_id = %(id)s AND acknowledged_failure_at > %(since)s
    AND CASE status WHEN 'failed' THEN error_code <> ALL(%(never_bad)s) WHEN 'succeeded' THEN false
        WHEN 'skipped' THEN next_run_at IS NOT NULL ELSE true END) counted"""

_ALL: Final = f"SELECT * FROM ({_PACE}) pace CROSS JOIN ({_CANARY}) canary CROSS JOIN ({_FAILURES}) failures"


@dataclass(frozen=True, slots=True)
class Pace:
    """`at`: the moment at which a send claimed now is stamped. `room`: how many sends the limits allow."""

    at: datetime
    in_flight: int
    sent_last_minute: int
    room: pace.Room


@dataclass(frozen=True, slots=True)
class Canary:
    """Counts of canary devices. `size` 0: nobody is left who could be one. `sent`: devices ever sent to."""

    size: int
    sent: int
    taken: int
    ok: int
    bad: int
    unsettled: int

    @property
    def place_free(self) -> bool:
        return self.taken < self.size

    @property
    def free(self) -> int:
        """How many new devices may take part: never more than twice as many as there are places."""
        return max(0, min(self.size - self.taken, gate.CANARY_TRIES * self.size - self.sent))


@dataclass(frozen=True, slots=True)
class Failures:
    """Devices of the failure limit: that succeeded, and that failed or wait for a retry after a failure that counts."""

    ok: int
    bad: int


@dataclass(frozen=True, slots=True)
class Measures:
    """What pace, canary and failure limit are judged by."""

    pace: Pace
    canary: Canary
    failures: Failures


def measure(deployment: Deployment, options: DeploymentOptions, *, always_ok: bool = False) -> Measures:
    """All of them, of one moment, to be shown. `always_ok`: successes are counted as well while nothing is bad."""
    params = _canary_params(deployment, options) | _failure_params(deployment, always_ok=always_ok)
    at, in_flight, sent, *canary, bad, ok = _row(_ALL, params | _pace_params(deployment))
    return Measures(_pace(options, at, in_flight, sent), Canary(*canary), Failures(ok, bad))


def measure_pace(deployment: Deployment, options: DeploymentOptions) -> Pace:
    """How many more sends the limits allow now; exact for who holds the deployment's lock."""
    return _pace(options, *_row(_PACE, _pace_params(deployment)))


def measure_canary(deployment: Deployment, options: DeploymentOptions) -> Canary:
    """Its places, who took them and what became of them."""
    return Canary(*_row(_CANARY, _canary_params(deployment, options)))


def measure_failures(deployment: Deployment) -> Failures:
    """What the failure limit counts. `ok` stays 0 while nothing is bad."""
    bad, ok = _row(_FAILURES, _failure_params(deployment, always_ok=False))
    return Failures(ok, bad)


def _pace(options: DeploymentOptions, at: datetime, in_flight: int, sent: int) -> Pace:
    room = pace.room(
        rate=options.rate, sent_in_window=sent, concurrency=options.concurrency, in_flight=in_flight
    )
    return Pace(at, in_flight, sent, room)


def _pace_params(deployment: Deployment) -> dict[str, Any]:
    return {"id": deployment.pk, "last_sent_at": deployment.last_sent_at}


def _canary_params(deployment: Deployment, options: DeploymentOptions) -> dict[str, Any]:
    return {
        "id": deployment.pk,
        "canary": options.canary,
        "collecting": deployment.canary_state == CanaryState.COLLECTING,
        "never_bad": list(retry.NEVER_BAD),
    }


def _failure_params(deployment: Deployment, *, always_ok: bool) -> dict[str, Any]:
    return {
        "id": deployment.pk,
        "since": deployment.failures_count_from or deployment.created_at,
        "never_bad": list(retry.NEVER_BAD),
        "always_ok": always_ok,
    }


def canary_verdict(
    deployment: Deployment, options: DeploymentOptions, counts: Canary, now: datetime
) -> gate.CanaryVerdict:
    """The verdict of `gate.canary` over these counts, with the stopwatch as it was last read."""
    reached = deployment.canary_reached_at
    return gate.canary(
        size=counts.size,
        success_pct=options.canary_success_pct,
        ok=counts.ok,
        bad=counts.bad,
        unsettled_acknowledged=counts.unsettled,
        sent=counts.sent,
        place_free=counts.place_free,
        elapsed_ms=deployment.canary_elapsed_ms,
        timeout_ms=milliseconds(options.canary_timeout_min),
        soak_ms=milliseconds(options.canary_soak_min),
        since_reached_ms=None if reached is None else int((now - reached).total_seconds() * 1000),
    )


def failure_verdict(options: DeploymentOptions, failures: Failures) -> gate.FailureVerdict:
    """The verdict of `gate.failure_limit` over these counts."""
    return gate.failure_limit(
        ok=failures.ok,
        bad=failures.bad,
        failure_pct=options.failure_pct,
        min_sample=options.failure_min_sample,
        max_failures=options.max_failures,
    )


def canary_gate_stays_shut(deployment: Deployment, options: DeploymentOptions, now: datetime) -> bool:
    """Whether all places are taken and no verdict is due: then a heartbeat need not take the lock to look closer."""
    if deployment.canary_state != CanaryState.COLLECTING:
        return False
    counts = measure_canary(deployment, options)
    if not canary_gate_shut(deployment, counts):
        return False
    verdict = canary_verdict(deployment, options, counts, now)
    if verdict.state != "collecting":
        return verdict.state == "soaking" and deployment.canary_reached_at is not None
    since = deployment.canary_clock_at or now
    unread_ms = int((now - since).total_seconds() * 1000)
    return deployment.canary_elapsed_ms + unread_ms < milliseconds(options.canary_timeout_min)


def canary_gate_shut(deployment: Deployment, counts: Canary | None) -> bool:
    """Whether every canary place is taken while the verdict is open."""
    return deployment.canary_state == CanaryState.COLLECTING and (counts is None or counts.free == 0)


def _row(sql: str, params: dict[str, Any]) -> tuple[Any, ...]:
    with prepared.cursor() as cursor:
        cursor.execute(sql, params)
        row: tuple[Any, ...] = cursor.fetchone()
    return row
