"""Moves events of deployments that ended long ago out of the log, without a hole that nobody can account for.

Portion by portion: what is there is held against its seals, written to a file, signed for by an anchor, and only then
cut, in batches that end where a seal ends. So each seal's events of a deployment are all there or all gone. Whatever is
interrupted is taken up again: a file without its anchor is written anew, an anchor whose events are still there is cut.
What cannot go on stays in the log, and is told (watch.cut_troubles).
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, InternalError, ProgrammingError, connection, transaction
from django.utils import timezone

from deployments.models import Deployment
from deployments.rules.states import TERMINAL
from mdm import audit
from mdm.people import SYSTEM
from mdm.watch import archive, cut_troubles
from mdm.watch.archive import Portion, Written
from mdm.watch.cut_troubles import ARCHIVE, DATABASE, Trouble
from mdm.watch.models import AuditCut, AuditSeal
from mdm.watch.seal_check import differing, unproven
from mdm.watch.seal_text import DEPLOYMENTS, FIRST
from mdm.watch.sealing_keys import all_keys

log = logging.getLogger(__name__)

CUT_LOCK: Final = 0x6E657871
PORTION: Final = 100_000  # events of a file, or a little more: up to where a seal ends
BATCH: Final = 2_000  # likewise, of one statement
WORDS: Final = "events of deployments that ended long ago, moved into files"

# Ended and quiet for long, all of it sealed, nobody at work for it, and no deployment that goes on from it is open.
_DUE: Final = f"""WITH due AS (
    SELECT d.id, newest.id AS newest, COALESCE((SELECT max(c.last_id) FROM audit_cut c WHERE c.deployment_id = d.id),
            {FIRST}) AS after_id
    FROM deployment d CROSS JOIN LATERAL (SELECT e.id, e.created_at FROM deployment_event e
        WHERE e.deployment_id = d.id ORDER BY e.id DESC LIMIT 1) newest
    WHERE d.status = ANY(%(terminal)s) AND d.id <> ALL(%(refused)s)
        AND d.finished_at < now() - %(older_than)s AND newest.created_at < now() - %(older_than)s
        AND NOT EXISTS (SELECT FROM deployment o WHERE (o.rollback_of_id = d.id OR o.retry_of_id = d.id)
            AND o.status <> ALL(%(terminal)s))
        AND NOT EXISTS (SELECT FROM deployment_task t WHERE t.deployment_id = d.id AND t.in_flight_until IS NOT NULL)
        AND EXISTS (SELECT FROM audit_seal s WHERE s.stream = 'deployment_event' AND s.last_id >= newest.id))"""
_NEXT: Final = f"{_DUE} SELECT id, after_id FROM due WHERE newest > after_id ORDER BY id LIMIT 1"
_COUNT: Final = f"""{_DUE} SELECT count(*) FROM due JOIN deployment_event e ON e.deployment_id = due.id
    WHERE e.id > due.after_id"""
_END: Final = """SELECT max(id) FROM (SELECT id FROM deployment_event
    WHERE deployment_id = %s AND id > %s ORDER BY id LIMIT %s) portion"""
_ROWS: Final = "SELECT count(*) FROM deployment_event WHERE deployment_id = %s AND id > %s AND id <= %s"
_UNFINISHED: Final = """SELECT c.* FROM audit_cut c WHERE c.deployment_id <> ALL(%s) AND EXISTS (
    SELECT FROM deployment_event e WHERE e.deployment_id = c.deployment_id AND e.id > c.after_id AND e.id <= c.last_id)
    ORDER BY c.number LIMIT 1"""


@dataclass
class Done:
    """`rows` are gone from the log; `troubles`: why deployments were left as they are. `whole`: nothing is left to look
    at; `went`: about what a run that was not whole knows that it went well."""

    rows: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    whole: bool = False
    went: set[str] = field(default_factory=set)

    def refuse(self, deployment_id: int, sentence: str, subject: str = "") -> None:
        """Its events stay. `subject` where it is not that deployment alone."""
        self.refused.append(deployment_id)
        about = subject or _subject(deployment_id)
        if about not in (trouble.subject for trouble in self.troubles):
            self.stop(Trouble(about, sentence, None if subject else deployment_id))

    def stop(self, trouble: Trouble) -> None:
        log.error("%s", trouble.message)
        self.troubles.append(trouble)


def _subject(deployment_id: int) -> str:
    return f"deployment {deployment_id}"


def _key(key_id: str) -> str:
    return f"key {key_id}"


def count() -> int:
    """How many events would go now."""
    return int(_row(_COUNT, _due_params(Done()))[0]) if settings.KEEP_EVENTS_DAYS else 0


def keep() -> None:
    """What the hourly job calls. What is left when its time is up goes with the next one."""
    done = run(15.0)
    if done.rows:
        log.info("Moved %s events of ended deployments into %s", done.rows, archive.folder())


def run(budget_sec: float) -> Done:
    """One at a time, over all processes; ends between two batches when the time is up."""
    done, ends = Done(), time.monotonic() + budget_sec
    with _alone() as mine:
        if mine:
            cut_troubles.begin()
            _work(done, ends)
            cut_troubles.end(done.troubles, None if done.whole else done.went)
    return done


def _work(done: Done, ends: float) -> None:
    try:
        done.whole = _all_cut(done, ends)
    except OSError as error:
        done.stop(Trouble(ARCHIVE, f"The archive cannot be written, so nothing is cut: {error}"))
    except (IntegrityError, InternalError, ProgrammingError) as error:  # it is there, and says no
        done.stop(Trouble(DATABASE, f"The database refuses to cut: {' '.join(str(error).split())}"))


def _all_cut(done: Done, ends: float) -> bool:
    """False where the time was up before everything was looked at."""
    while settings.KEEP_EVENTS_DAYS:
        if time.monotonic() >= ends:
            return False
        cut = _unfinished(done) or _anchored(done)
        if cut is None:
            break
        _finish(cut, done, ends)
    return True


@contextmanager
def held_off() -> Iterator[None]:
    """Nothing is cut meanwhile: who checks the log would see it change under his eyes."""
    _row("SELECT pg_advisory_lock_shared(%s)", [CUT_LOCK])
    try:
        yield
    finally:
        _row("SELECT pg_advisory_unlock_shared(%s)", [CUT_LOCK])


@contextmanager
def _alone() -> Iterator[bool]:
    (mine,) = _row("SELECT pg_try_advisory_lock(%s)", [CUT_LOCK])
    try:
        yield bool(mine)
    finally:
        if mine:
            _row("SELECT pg_advisory_unlock(%s)", [CUT_LOCK])


def _unfinished(done: Done) -> AuditCut | None:
    return next(iter(AuditCut.objects.raw(_UNFINISHED, [done.refused])), None)


def _anchored(done: Done) -> AuditCut | None:
    """The next portion in its file, with its anchor; None where nothing is due."""
    while portion := _next(done):
        if _covered(portion, done):
            written = archive.write(portion)
            done.went |= {ARCHIVE, _key(portion.seal.key_id)}
            return _anchor(portion, written)
    return None


def _covered(portion: Portion, done: Done) -> bool:
    """Whether its events are what our own seals cover. Else they are evidence, and stay."""
    pk, after, last = portion.deployment_id, portion.after_id, portion.last_id
    for sentence, unknown_key in unproven(pk, after, last):
        about = _key(unknown_key) if unknown_key else ""
        done.refuse(pk, f"The events of deployment {pk} stay: {sentence}.", about)
        return False
    for number in differing(DEPLOYMENTS, pk, after, last):
        done.refuse(pk, f"The events of deployment {pk} are not what seal {number} covers; they stay.")
        return False
    return True


def _next(done: Done) -> Portion | None:
    found = _row(_NEXT, _due_params(done))
    if not found:
        return None
    deployment_id, after = found
    (end,) = _row(_END, [deployment_id, after, PORTION])
    seals = AuditSeal.objects.filter(stream=DEPLOYMENTS.table, last_id__gte=end)
    seal = seals.earliest("last_id")
    (rows,) = _row(_ROWS, [deployment_id, after, seal.last_id])
    return Portion(deployment_id, after, seal.last_id, rows, seal)


def _anchor(portion: Portion, written: Written) -> AuditCut:
    with transaction.atomic():
        previous, key = AuditCut.objects.first(), all_keys()[0]
        cut = AuditCut(
            number=previous.number + 1 if previous else 1,
            deployment_id=portion.deployment_id,
            after_id=portion.after_id,
            last_id=portion.last_id,
            rows=portion.rows,
            file=written.file,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            seal_number=portion.seal.number,
            seal_mac=portion.seal.mac,
            cut_at=timezone.now(),
            key_id=key.id,
        )
        cut.mac = key.mac(cut.text(previous.mac if previous else ""))
        cut.save(force_insert=True)
        meta = {"cut": cut.number, "rows": cut.rows, "file": cut.file, "sha256": cut.sha256}
        about = Deployment(pk=cut.deployment_id)
        audit.record(SYSTEM, "audit.cut", about, f"Moved {cut.rows:,} events into {cut.file}", meta)
    return cut


def _finish(cut: AuditCut, done: Done, ends: float) -> None:
    """Cuts what the anchor covers, once its file is seen to be whole."""
    if fault := archive.fault(cut, archive.folder()):
        done.refuse(
            cut.deployment_id,
            f"The file {cut.file} {fault}; the events of deployment {cut.deployment_id} stay until it is back.",
        )
        return
    done.went.add(_subject(cut.deployment_id))
    while time.monotonic() < ends:
        (gone,) = _row("SELECT cut_events(%s, %s)", [cut.number, BATCH])
        done.went.add(DATABASE)
        done.rows += gone
        if not gone:
            break


def _due_params(done: Done) -> dict[str, Any]:
    return {
        "terminal": [status.value for status in TERMINAL],
        "older_than": timedelta(days=settings.KEEP_EVENTS_DAYS),
        "refused": done.refused,
    }


def _row(sql: str, params: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return tuple(cursor.fetchone() or ())
