"""The state machine as one page of data: statuses, legal moves, reasons with their precedence and words.

Nothing else decides what is legal; every door, the engine and the CHECK constraints read it here.
"""

from dataclasses import dataclass
from typing import Final

from django.db.models import TextChoices

# Its own update ends the agent for a while, so silence during it is normal.
AGENT_PACKAGE: Final = "com.nexmdm"


class DeploymentStatus(TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    CANCELED = "canceled", "Canceled"
    COMPLETE = "complete", "Complete"
    FAILED = "failed", "Failed"


LIVE: Final = (DeploymentStatus.QUEUED, DeploymentStatus.RUNNING, DeploymentStatus.PAUSED)
TERMINAL: Final = (DeploymentStatus.COMPLETE, DeploymentStatus.CANCELED, DeploymentStatus.FAILED)

# from -> to; resuming goes back to where it was (running once started, queued before).
DEPLOYMENT_MOVES: Final[dict[DeploymentStatus, frozenset[DeploymentStatus]]] = {
    DeploymentStatus.QUEUED: frozenset(
        {
            DeploymentStatus.RUNNING,
            DeploymentStatus.PAUSED,
            DeploymentStatus.CANCELED,
            DeploymentStatus.FAILED,
            DeploymentStatus.COMPLETE,
        }
    ),
    DeploymentStatus.RUNNING: frozenset(
        {
            DeploymentStatus.PAUSED,
            DeploymentStatus.CANCELED,
            DeploymentStatus.COMPLETE,
            DeploymentStatus.FAILED,
        }
    ),
    DeploymentStatus.PAUSED: frozenset(
        {DeploymentStatus.QUEUED, DeploymentStatus.RUNNING, DeploymentStatus.CANCELED}
    ),
    DeploymentStatus.CANCELED: frozenset(),
    DeploymentStatus.COMPLETE: frozenset(),
    DeploymentStatus.FAILED: frozenset(),
}


class PausedReason(TextChoices):
    OPERATOR = "operator", "Paused by a person"
    CANARY_FAILED = "canary_failed", "The canary failed"
    CANARY_UNDECIDED = "canary_undecided", "The canary could not be judged"
    FAILURE_RATE = "failure_rate", "Too many devices failed"
    KILL_SWITCH = "kill_switch", "The kill switch is on"
    FLAG_OFF = "flag_off", "Deployments are switched off"
    VERSION_WITHDRAWN = "version_withdrawn", "The version was withdrawn"
    NOT_MANAGED = "not_managed", "The package was taken off the allowlist"


# Paused for one of these, agents are told to stop and no deadline runs.
HARD_STOPS: Final = (
    PausedReason.KILL_SWITCH,
    PausedReason.FLAG_OFF,
    PausedReason.VERSION_WITHDRAWN,
    PausedReason.NOT_MANAGED,
)
# Resuming from one of these overrides a verdict, so it wants a reason.
GATE_STOPS: Final = (PausedReason.CANARY_FAILED, PausedReason.CANARY_UNDECIDED, PausedReason.FAILURE_RATE)
# What was only pushed, not acknowledged, is called back by these; after them going back is offered.
RECALLING_STOPS: Final = (PausedReason.CANARY_FAILED, PausedReason.FAILURE_RATE)


class InstallMode(TextChoices):
    """`reinstall`: the app is removed first, because Android lets nobody downgrade in place; its data is lost."""

    UPDATE = "update", "Update"
    REINSTALL = "reinstall", "Reinstall"


class CanaryState(TextChoices):
    NONE = "none", "No canary"
    COLLECTING = "collecting", "Collecting"
    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"
    UNDECIDED = "undecided", "Undecided"
    OVERRIDDEN = "overridden", "Overridden"


CANARY_OPEN: Final = (CanaryState.NONE, CanaryState.PASSED, CanaryState.OVERRIDDEN)


class TaskStatus(TextChoices):
    QUEUED = "queued", "Queued"
    WAITING_WINDOW = "waiting_window", "Waiting for the window"
    THROTTLED = "throttled", "Throttled"
    SENDING = "sending", "Sending"
    INSTALLING = "installing", "Installing"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    SKIPPED = "skipped", "Skipped"


WAITING: Final = (TaskStatus.QUEUED, TaskStatus.WAITING_WINDOW, TaskStatus.THROTTLED)
IN_FLIGHT: Final = (TaskStatus.SENDING, TaskStatus.INSTALLING)

# from -> to. "waiting" stands for the three waiting statuses, which count as one; a skip with a
# next_run_at ("skipped") may come back, one without ("ended") is final but for the truth of the device.
TASK_MOVES: Final[dict[str, frozenset[str]]] = {
    "waiting": frozenset({"sending", "skipped", "ended", "failed", "succeeded"}),
    "sending": frozenset({"installing", "succeeded", "failed", "skipped", "ended", "waiting"}),
    "installing": frozenset({"succeeded", "failed", "skipped", "ended", "waiting"}),
    "skipped": frozenset({"waiting", "ended", "succeeded"}),
    "ended": frozenset({"succeeded"}),
    "failed": frozenset({"succeeded"}),
    "succeeded": frozenset(),
}


class Phase(TextChoices):
    RECEIVED = "received", "Received"
    DOWNLOADING = "downloading", "Downloading"
    INSTALLING = "installing", "Installing"
    VERIFYING = "verifying", "Verifying"


PHASE_ORDER: Final = tuple(Phase.values)

# The five groups for people, in the order in which they are drawn.
PEOPLE_GROUPS: Final[dict[str, tuple[TaskStatus, ...]]] = {
    "succeeded": (TaskStatus.SUCCEEDED,),
    "in_progress": IN_FLIGHT,
    "queued": WAITING,
    "failed": (TaskStatus.FAILED,),
    "skipped": (TaskStatus.SKIPPED,),
}


class ReasonGroup(TextChoices):
    EXCLUDED = "excluded", "Excluded"
    ENDED = "ended", "Ended"
    HELD = "held", "Held"
    TIME = "time", "Waiting for its time"
    CONTACT = "contact", "Not reached"
    DEVICE = "device", "The device is not ready"
    PACE = "pace", "Waiting for its turn"


@dataclass(frozen=True, slots=True)
class Reason:
    """`text` is what a person reads; `help` what would change it."""

    group: ReasonGroup
    text: str
    help: str = ""


# Order is precedence: the first that applies wins.
REASONS: Final[dict[str, Reason]] = {
    "device_retired": Reason(ReasonGroup.EXCLUDED, "The device is retired"),
    "not_affected": Reason(
        ReasonGroup.EXCLUDED, "The bad version is not on the device", "Its inventory since the send says so."
    ),
    "already_installed": Reason(ReasonGroup.EXCLUDED, "Already on this version"),
    "newer_installed": Reason(
        ReasonGroup.EXCLUDED, "A newer version is installed", "Android refuses downgrades."
    ),
    "sdk_too_old": Reason(ReasonGroup.EXCLUDED, "Android is too old for this version"),
    "abi_unsupported": Reason(ReasonGroup.EXCLUDED, "The processor is not supported by this version"),
    "agent_too_old": Reason(
        ReasonGroup.EXCLUDED, "The agent is too old", "Update the agent on the device first."
    ),
    "signer_mismatch": Reason(
        ReasonGroup.EXCLUDED,
        "The installed app has another signer",
        "Android refuses an update by another signer.",
    ),
    "not_permitted": Reason(
        ReasonGroup.EXCLUDED, "The device may not install silently and nobody answered the prompt"
    ),
    "user_declined": Reason(ReasonGroup.EXCLUDED, "The person at the device declined"),
    "canceled": Reason(ReasonGroup.ENDED, "The deployment was canceled"),
    "window_over": Reason(ReasonGroup.ENDED, "The maintenance window is over"),
    "retry_budget_spent": Reason(
        ReasonGroup.ENDED, "Tried ten times within a day", "Find out why before trying again."
    ),
    "kill_switch": Reason(ReasonGroup.HELD, "The kill switch is on"),
    "paused": Reason(ReasonGroup.HELD, "The deployment is paused"),
    "needs_approval": Reason(ReasonGroup.HELD, "Waiting for another person's approval"),
    "device_hold": Reason(ReasonGroup.HELD, "A person holds the device"),
    "canary_gate": Reason(ReasonGroup.HELD, "Waiting for the canary"),
    "in_other_deployment": Reason(ReasonGroup.HELD, "The device is busy with another deployment"),
    "outside_window": Reason(ReasonGroup.TIME, "Outside the maintenance window"),
    "backoff": Reason(ReasonGroup.TIME, "Waiting to try again"),
    "offline": Reason(ReasonGroup.CONTACT, "Not seen lately"),
    "no_wifi": Reason(ReasonGroup.DEVICE, "Not on Wi-Fi"),
    "metered_network": Reason(ReasonGroup.DEVICE, "On a metered network"),
    "battery_low": Reason(ReasonGroup.DEVICE, "Battery too low"),
    "not_charging": Reason(ReasonGroup.DEVICE, "Not charging"),
    "low_storage": Reason(ReasonGroup.DEVICE, "Not enough free storage"),
    "doze_restricted": Reason(ReasonGroup.DEVICE, "Not exempt from battery saving"),
    "in_call": Reason(ReasonGroup.DEVICE, "In a call"),
    "in_use": Reason(ReasonGroup.DEVICE, "In use"),
    "device_condition": Reason(ReasonGroup.DEVICE, "The agent says the device is not ready"),
    "rate_limit": Reason(ReasonGroup.PACE, "Held back by the rate limit"),
    "concurrency_limit": Reason(ReasonGroup.PACE, "Held back by the concurrency limit"),
    "group_limit": Reason(ReasonGroup.PACE, "Held back by the limit of its group"),
    "awaiting_heartbeat": Reason(ReasonGroup.PACE, "The command comes with its next heartbeat"),
}


def codes(*groups: ReasonGroup) -> tuple[str, ...]:
    """Reason codes of these groups, in precedence."""
    return tuple(code for code, reason in REASONS.items() if reason.group in groups)


# Decided when the device's turn comes, checked again until its deadline.
MISSES: Final = codes(ReasonGroup.CONTACT, ReasonGroup.DEVICE)
# A waiting task with one of these has ended.
ENDING: Final = codes(ReasonGroup.EXCLUDED, ReasonGroup.ENDED)
# An agent may give these when it skips.
AGENT_SKIPS: Final = codes(ReasonGroup.DEVICE)


def task_state(status: str, *, final: bool) -> str:
    """The key of TASK_MOVES for a task's status."""
    if status in WAITING:
        return "waiting"
    if status == TaskStatus.SKIPPED and final:
        return "ended"
    return status
