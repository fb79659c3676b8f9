"""What becomes of a failed attempt: what its code means, whether another try can mend it, and when."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

# Across deployments: attempts of one version on one device within the period; then it must rest.
RETRY_BUDGET: Final = 10
RETRY_BUDGET_PERIOD: Final = timedelta(hours=24)
MAX_BACKOFF_SEC: Final = 6 * 3600
# Jitter only adds, at most this share of the wait.
JITTER_SHARE: Final = 0.2
_NO_FURTHER_DOUBLING: Final = 32


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """`retryable`: another try may succeed. `skips`: no failure, the task is skipped for good."""

    label: str
    meaning: str
    advice: str
    retryable: bool = True
    skips: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again `at_sec` seconds from now."""

    at_sec: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The task is final with this status; the reason is the error code, or window_over."""

    status: Literal["failed", "skipped"]
    reason: str


_SERVER: Final = "Look at the server's log; upload the version again if it goes on."
_REBUILD: Final = "Build and sign the APK anew, then upload it."
_LATER: Final = "Nothing to do: it is tried again."

# In the order of the wire contract.
ERROR_CODES: Final[dict[str, ErrorCode]] = {
    "checksum_mismatch": ErrorCode(
        "Checksum wrong",
        "The downloaded file is not the one that was uploaded; twice in a row ends the task.",
        "Look for a proxy or cache between device and server that alters downloads.",
    ),
    "size_mismatch": ErrorCode(
        "Size wrong",
        "The downloaded file is shorter or longer than the one that was uploaded.",
        "Look for a proxy or cache between device and server that cuts downloads.",
    ),
    "signature_mismatch": ErrorCode(
        "Other signer",
        "The installed app was signed with another key, so Android refuses the update.",
        "Use a build signed with the app's key; otherwise only a reinstall helps, which deletes its data.",
        retryable=False,
    ),
    "signature_invalid": ErrorCode(
        "Signature invalid", "The device could not verify the APK's signature.", _REBUILD, retryable=False
    ),
    "package_mismatch": ErrorCode(
        "Other package", "The file holds another package than the command named.", _REBUILD, retryable=False
    ),
    "version_mismatch": ErrorCode(
        "Other version", "The file holds another version than the command named.", _SERVER
    ),
    "version_downgrade": ErrorCode(
        "Newer version installed",
        "The device has a newer version, and Android refuses to go back.",
        "To go back use Roll back.",
        retryable=False,
    ),
    "not_permitted": ErrorCode(
        "Not permitted",
        "The agent may not install silently, and nobody answered its prompt.",
        "Make the agent device owner, or have someone at the device accept the prompt.",
        retryable=False,
        skips=True,
    ),
    "user_declined": ErrorCode(
        "Declined",
        "The person at the device refused the update.",
        "Talk to the person, then start a new deployment for this device.",
        retryable=False,
        skips=True,
    ),
    "insufficient_storage": ErrorCode(
        "Storage full",
        "There was not enough free storage to download or install.",
        "Free storage on the device, or ask for more with the option Free storage at least.",
    ),
    "apk_invalid": ErrorCode("APK invalid", "Android could not read the APK.", _REBUILD, retryable=False),
    "sdk_too_old": ErrorCode(
        "Android too old",
        "The version needs a newer Android than the device has.",
        "Update Android, or build for older versions.",
        retryable=False,
    ),
    "abi_incompatible": ErrorCode(
        "Processor not supported",
        "The APK has no native code for the device's processor.",
        "Build for this processor as well.",
        retryable=False,
    ),
    "download_http": ErrorCode(
        "Download refused", "The server answered the download with an error.", _SERVER
    ),
    "download_network": ErrorCode("Download broken off", "The connection broke during the download.", _LATER),
    "download_timeout": ErrorCode(
        "Download too slow",
        "The download did not get on in time.",
        "Check the network at the device; allow more time without progress if it is slow for good.",
    ),
    "url_expired": ErrorCode("Download link expired", "The link ran out before the download began.", _LATER),
    "verifier_blocked": ErrorCode(
        "Blocked by the verifier",
        "Play Protect or another verifier refused the app.",
        "Have the app cleared with the verifier, or switch it off for managed devices.",
        retryable=False,
    ),
    "verifier_timeout": ErrorCode("Verifier too slow", "The app verifier did not answer in time.", _LATER),
    "install_aborted": ErrorCode(
        "Installation broken off", "Android broke the installation off, for instance by a restart.", _LATER
    ),
    "install_blocked": ErrorCode(
        "Installation blocked",
        "A policy or another app on the device blocks installations.",
        "Look at the restrictions set on the device.",
        retryable=False,
    ),
    "install_conflict": ErrorCode(
        "Conflict with another app",
        "Another app on the device claims the same permission, provider or shared user.",
        "Remove the other app, or change the build.",
        retryable=False,
    ),
    "install_internal": ErrorCode(
        "Installation failed", "Android's installer failed without a reason.", _LATER
    ),
    "install_timeout": ErrorCode("Installer silent", "Android's installer gave no result in time.", _LATER),
    "session_limit": ErrorCode(
        "Too many installations open", "The device holds too many unfinished installations.", _LATER
    ),
    "result_mismatch": ErrorCode(
        "Other version after the update",
        "The device reported success, but with another version or signer than was sent.",
        "Check what is installed on the device; something else may install the same app.",
    ),
    "reinstall_incomplete": ErrorCode(
        "Reinstall not finished",
        "The old app was removed and the new one is not installed yet; tried until it is.",
        "See to it that the device stays on and connected.",
    ),
    "not_healthy": ErrorCode(
        "Did not come up",
        "The update was installed, but the app was not seen to run in time.",
        "Look at the app on the device; consider rolling back.",
        retryable=False,
    ),
    "timed_out": ErrorCode(
        "Timed out",
        "The device took the command and reported no end in time.",
        "Check that the device is on and connected; allow more time if it is slow for good.",
    ),
    "no_answer": ErrorCode(
        "No answer",
        "The command was sent and the device never took it.",
        "Check that the device is on and connected.",
    ),
    "re_enrolled": ErrorCode(
        "Enrolled anew", "The device was enrolled again during the attempt, which does not count.", _LATER
    ),
    "internal": ErrorCode(
        "Error in the agent",
        "The agent failed in a way it has no code for; its text says more.",
        "Read the agent's text.",
    ),
}

# A device without its app is tried until it has one again; an attempt cut off by an enrolment is no failure.
_WITHOUT_LIMIT: Final = frozenset({"reinstall_incomplete", "re_enrolled"})
# Nobody's fault and no verdict on the version: never bad in a gate, not even for good.
NEVER_BAD: Final = frozenset({"no_answer", "not_permitted", "user_declined", "re_enrolled"})
# While a retry waits these are not bad yet; when the retries are spent the download errors are.
NOT_BAD_WHILE_WAITING: Final = NEVER_BAD | {
    "download_http",
    "download_network",
    "download_timeout",
    "url_expired",
}


def explain(code: str) -> ErrorCode:
    """What the code means; an unknown one is as `internal`."""
    return ERROR_CODES.get(code, ERROR_CODES["internal"])


def retryable(code: str, previous_code: str | None) -> bool:
    """Whether another try can mend it. `previous_code`: of the attempt before, None where there was none."""
    if code == previous_code == "checksum_mismatch":
        return False
    return explain(code).retryable


def stands_at(code: str, before: str) -> str:
    """The code that a task stands at after this failure. A device whose app was removed is without it until it
    says otherwise: silence or a broken download does not end that, so it is tried until it has its app again."""
    lost = before == "reinstall_incomplete" and explain(code).retryable
    return before if lost else code


def counts_as_bad_while_waiting(code: str) -> bool:
    """Whether an acknowledged failure is bad for the failure limit already while its retry waits."""
    return code not in NOT_BAD_WHILE_WAITING


def backoff_seconds(base: int, failures: int, jitter: float) -> int:
    """The wait after the `failures`-th failure (from 1): base, doubled each time, never more than 6 h in all.

    `jitter` in [0, 1) adds up to 20 %.
    """
    wait = _doubled(base, failures)
    return min(MAX_BACKOFF_SEC, wait + int(wait * JITTER_SHARE * jitter))


def agent_skip_backoff(base: int, skips: int) -> int:
    """The wait after an agent's `skips`-th own skip (from 1), until a heartbeat may have it checked again."""
    return _doubled(base, skips)


def _doubled(base: int, times: int) -> int:
    return min(MAX_BACKOFF_SEC, base << min(max(times - 1, 0), _NO_FURTHER_DOUBLING))


def after_failure(
    *,
    code: str,
    previous_code: str | None,
    failures: int,
    max_retries: int,
    backoff_sec: int,
    jitter: float,
    window_ends_in_sec: float | None = None,
) -> Retry | GiveUp:
    """What follows a failed attempt.

    failures: of this task so far, this one included (an attempt that ended `re_enrolled` is none).
    window_ends_in_sec: until an absolute window's end; None where there is none.
    """
    if explain(code).skips:
        return GiveUp("skipped", code)
    if not retryable(code, previous_code) or (failures > max_retries and code not in _WITHOUT_LIMIT):
        return GiveUp("failed", code)
    wait = 0 if code == "re_enrolled" else backoff_seconds(backoff_sec, failures, jitter)
    if window_ends_in_sec is not None and wait >= window_ends_in_sec:
        return GiveUp("skipped", "window_over")
    return Retry(wait)
