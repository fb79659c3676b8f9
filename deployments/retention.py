"""What may go, and when: rows that no rule, no open deployment and no proof asks for any more.

The logs (`deployment_event`, `audit_event`) are not among them, nor is the last attempt of any task: it says that the
version was sent to the device, which a rollback asks years later.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection

from deployments.rules.states import TERMINAL, DeploymentStatus

BATCH: Final = 2_000  # rows of one statement: short locks, and a report never waits for it
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of `table` (`t`) that meet `condition` may go; `older_than` is its parameter."""

    words: str
    table: str
    condition: str
    older_than: timedelta = timedelta(0)

    def params(self) -> dict[str, Any]:
        return {
            "older_than": self.older_than,
            "batch": BATCH,
            "terminal": [status.value for status in TERMINAL],
            "queued": DeploymentStatus.QUEUED.value,
        }


def rules() -> tuple[Rule, ...]:
    """In this order: rows before those they belong to. Nothing goes that the 24-hour rules may ask for."""
    attempts = timedelta(days=settings.KEEP_ATTEMPTS_DAYS)
    retired = timedelta(days=settings.KEEP_RETIRED_DAYS)
    return (
        Rule("superseded attempts of ended deployments", "deployment_attempt", _SUPERSEDED, attempts),
        Rule("readings of retired devices", "heartbeat", _RETIRED, retired),
        Rule("void tokens of devices", "device_token", "t.revoked_at < now() - %(older_than)s", retired),
        Rule("devices of expired dry runs", "dry_run_device", _ANSWERED, _DAY),
        Rule("expired dry runs", "dry_run", _UNUSED, _DAY),
        Rule("idempotency keys", "start_request", "t.created_at < now() - %(older_than)s", 2 * _DAY),
        Rule("failed background jobs", "django_q_task", "t.stopped < now() - %(older_than)s", 30 * _DAY),
        Rule("expired sessions", "django_session", "t.expire_date < now()"),
        Rule("slowed sign-ins that are over", "throttle", "t.empty_at < now() - %(older_than)s", _DAY),
        Rule("workers long gone", "worker_beat", "t.beat_at < now() - %(older_than)s", 7 * _DAY),
    )


_SUPERSEDED: Final = """t.finished_at < now() - %(older_than)s AND t.sent_at < now() - %(older_than)s
    AND EXISTS (SELECT FROM deployment d WHERE d.id = t.deployment_id AND d.status = ANY(%(terminal)s)
        AND d.finished_at < now() - %(older_than)s)
    AND EXISTS (SELECT FROM deployment_task k WHERE k.id = t.task_id AND k.attempt > t.number)"""
_RETIRED: Final = """EXISTS (SELECT FROM device d WHERE d.id = t.device_id AND d.status = 'retired'
    AND d.retired_at < now() - %(older_than)s)"""
# A deployment that is not planned yet takes its devices from there.
_ANSWERED: Final = """EXISTS (SELECT FROM dry_run r WHERE r.id = t.dry_run_id AND r.expires_at < now() - %(older_than)s
    AND NOT EXISTS (SELECT FROM deployment d WHERE d.dry_run_id = r.id
        AND (d.status = %(queued)s OR d.status = 'paused' AND d.started_at IS NULL)))"""
_UNUSED: Final = """t.expires_at < now() - %(older_than)s
    AND NOT EXISTS (SELECT FROM dry_run_device r WHERE r.dry_run_id = t.id)
    AND NOT EXISTS (SELECT FROM deployment d WHERE d.dry_run_id = t.id)"""


def count(rule: Rule) -> int:
    """How many rows would go now."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {rule.table} t WHERE {rule.condition}", rule.params())
        found: int = cursor.fetchone()[0]
    return found


def run(budget_sec: float) -> Iterator[tuple[Rule, int]]:
    """Each rule with how many rows went; ends early, between two batches, when the time is up."""
    ends = time.monotonic() + budget_sec
    for rule in rules():
        gone = 0
        while time.monotonic() < ends:
            batch = _delete_batch(rule)
            gone += batch
            if batch < BATCH:
                break
        yield rule, gone


def _delete_batch(rule: Rule) -> int:
    """One statement, one transaction. Rows that somebody holds are left for the next time."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""DELETE FROM {rule.table} WHERE ctid = ANY(ARRAY(
                SELECT t.ctid FROM {rule.table} t WHERE {rule.condition}
                LIMIT %(batch)s FOR UPDATE OF t SKIP LOCKED))""",
            rule.params(),
        )
        gone: int = cursor.rowcount
    return gone
