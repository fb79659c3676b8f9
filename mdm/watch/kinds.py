"""The kinds of alert, once: for the rows, the pages, the messages that go out and the runbook."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """`slug` is the wire's word and the runbook's anchor. `calm_sec`: so long the cause must be gone before
    the alert resolves, so that a value around its threshold raises one alert, not fifty. `stays_sec`: of what
    is no state but happened once, how long it stands."""

    slug: str
    title: str
    calm_sec: int = 0
    stays_sec: int | None = None


_KINDS: Final = (
    Kind("canary_failed", "Canary failed"),
    Kind("canary_undecided", "Canary undecided"),
    Kind("failure_rate", "Too many failures"),
    Kind("webhook_errors", "Agent reports are refused", calm_sec=60),
    Kind("queue_backlog", "Work is late", calm_sec=60),
    Kind("paused_too_long", "Paused for long"),
    Kind("no_progress", "Nothing moves", calm_sec=10),
    Kind("worker_silent", "A worker is silent", calm_sec=10),
    Kind("serial_taken", "A device was refused at enrolment", stays_sec=24 * 3600),
    Kind("reinstall_incomplete", "A reinstall is not finished"),
    Kind("archive_stuck", "Old events are not archived"),
)
KINDS: Final = {kind.slug: kind for kind in _KINDS}
CHOICES: Final = [(kind.slug, kind.title) for kind in _KINDS]
