"""Health after the install: a reported success is believed once the app was seen to run.

Where `health_within_min` is set, a success counts when a heartbeat received after it carries the version and, where
a restart was asked for, the agent has said that it went well, in whichever order. Until then a task in flight is
`verifying` and holds its slot; one that is not in flight (a late success) only remembers what is known so far.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from deployments.engine import attempts
from deployments.engine.attempts import Change, Task
from deployments.rules.states import Phase, TaskStatus

INSTALLED: Final = "Installed; it counts once a heartbeat shows that it runs"
RESTARTS: Final = {"ok": ("The app restarted", "info"), "failed": ("The restart intent failed", "warn")}


@dataclass(frozen=True, slots=True)
class Success:
    """What says that the version is on the device: a report, or a heartbeat's inventory (`shown`).

    `installed`: what is known of the app beyond its version; `post_install`: "" = nothing was said.
    """

    shown: bool
    event: str = "Succeeded"
    installed: Mapping[str, Any] | None = None
    post_install: str = ""


def after(task: Task, said: Success, now: datetime) -> Change | None:
    """What becomes of a task that has not succeeded yet; None where this says nothing new."""
    if not asked(task):
        return attempts.succeeded(
            task, now, event=said.event, installed=said.installed, post_install=said.post_install
        )
    if task.status == TaskStatus.FAILED and task.error_code == "not_healthy":
        return None  # it failed for its health, not for its version
    known = _known(task, said, now)
    if missing(task, **known) == "":
        return attempts.succeeded(
            task, now, event=said.event, installed=said.installed, post_install=known["post_install"]
        )
    new = {name: value for name, value in known.items() if getattr(task, name) != value}
    return _remembered(task, new, said, now) if new else None


def asked(task: Task) -> bool:
    """Whether its deployment counts only apps that were seen to run."""
    return task.options_json.get("health_within_min") is not None


def _known(task: Task, said: Success, now: datetime) -> dict[str, Any]:
    """The three facts with this one added; once a heartbeat has shown it after the report, later ones add nothing."""
    since, shown_at = task.verifying_since or now, task.shown_at
    if said.shown and (shown_at is None or shown_at <= since):
        shown_at = now
    post_install = said.post_install or task.post_install
    return {"verifying_since": since, "shown_at": shown_at, "post_install": post_install}


def missing(
    task: Task, verifying_since: datetime | None, shown_at: datetime | None, post_install: str
) -> str:
    """What has not been seen yet, for a person; "" = the app came up."""
    if verifying_since is None or shown_at is None or shown_at <= verifying_since:
        return "no heartbeat after the install showed the version"
    if task.options.post_install.restart_intent is not None and post_install != "ok":
        return "the agent did not say that the restart went well"
    return ""


def _remembered(task: Task, new: dict[str, Any], said: Success, now: datetime) -> Change:
    if task.verifying_since is not None:
        restart = RESTARTS.get(new.get("post_install", ""))
        return Change(new, *(restart or ("A heartbeat shows the version", "info")))
    app = {"version_code": task.version_code, "version_name": task.version_name} | dict(said.installed or {})
    if not task.in_flight:
        return Change(new, INSTALLED, installed=app)
    meta = {"phase": Phase.VERIFYING.value}
    return Change(new | _verifying(task, now), INSTALLED, meta=meta, installed=app)


def _verifying(task: Task, now: datetime) -> dict[str, Any]:
    """From here on no other deadline applies."""
    return {
        "status": TaskStatus.INSTALLING.value,
        "phase": Phase.VERIFYING.value,
        "progress": None,
        "install_until": None,
        "in_flight_until": now + timedelta(minutes=float(task.options_json["health_within_min"])),
    }


def not_shown(task: Task) -> Change | None:
    """The device's inventory has the version no longer: what was seen before does not count."""
    return Change({"shown_at": None}) if task.shown_at is not None else None


def not_healthy(task: Task, now: datetime) -> Change:
    """The time is over."""
    text = missing(task, task.verifying_since, task.shown_at, task.post_install)
    return attempts.failed(task, "not_healthy", text, now, acknowledged=True)
