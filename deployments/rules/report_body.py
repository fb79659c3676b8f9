"""What an agent's report says, in the one form that the rules of deployments.engine.report_rules read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from deployments.rules.retry import ERROR_CODES
from deployments.rules.states import AGENT_SKIPS, ENDING, PausedReason
from devices.inventory import Fingerprint, FromAgent
from mdm.wire_types import Int32, examples

Status = Literal["received", "downloading", "installing", "succeeded", "failed", "skipped"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
MAX_TEXT: Final = 2_000

# The reasons of the 410: an agent that stopped gives the one it was told.
STOP_REASONS: Final = frozenset({*PausedReason.values, "paused", "canceled", "settled", "over"})
SKIP_CODES: Final = frozenset(
    {*AGENT_SKIPS, *ENDING, *STOP_REASONS, "outside_window"}
    | {code for code, known in ERROR_CODES.items() if known.skips}
)
_CODES: Final[dict[str, tuple[frozenset[str], str]]] = {
    "failed": (frozenset(ERROR_CODES), "internal"),
    "skipped": (SKIP_CODES, "device_condition"),
}
_YEARS: Final = range(2000, 2100)


def _known_status(value: str) -> str:
    if value.partition(":")[0].strip() not in STATUSES:
        raise PydanticCustomError("unknown_status", "Must be one of " + ", ".join(STATUSES) + ".")
    return value


class InstalledIn(FromAgent):
    """The version that is on the device now. Only what is given is compared."""

    version_code: Annotated[Int32, Field(ge=0)] | None = None
    version_name: Annotated[str, Field(max_length=255)] | None = None
    signer_sha256: Fingerprint | None = None


_Installed = InstalledIn | Annotated[Int32, Field(ge=0)] | Annotated[str, Field(max_length=255)]


class StatusIn(FromAgent):
    """One report. `status` may carry the code after a colon (`failed:not_permitted`)."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"status": "downloading", "attempt": 1, "seq": 2, "progress": 40},
            {"status": "failed", "error_code": "checksum_mismatch", "attempt": 1, "seq": 3},
            {"status": "succeeded", "installed_version": {"version_code": 121}, "attempt": 1, "seq": 4},
        )
    )

    status: Annotated[str, Field(max_length=200), AfterValidator(_known_status)]
    error: str | None = None
    error_code: str | None = None
    installed_version: _Installed | None = None
    attempt: Annotated[Int32, Field(ge=1)] | None = None
    seq: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    occurred_at: datetime | None = None
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    post_install: Literal["ok", "failed"] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """`error_code`: of a failure or skip always a known code, else None. `occurred_at` in UTC, None where the
    device's clock is plainly wrong. `installed_*` None = not given."""

    status: Status
    error_code: str | None = None
    error_text: str | None = None
    installed_version_code: int | None = None
    installed_version_name: str | None = None
    installed_signer: str | None = None
    attempt: int | None = None
    seq: int | None = None
    occurred_at: datetime | None = None
    progress: int | None = None
    post_install: Literal["ok", "failed"] | None = None


def parse(raw: bytes) -> Report:
    """The body of a report. pydantic's ValidationError."""
    return normalise(StatusIn.model_validate_json(raw))


def normalise(body: StatusIn) -> Report:
    """Every way of saying the same thing becomes one."""
    name, _, suffix = body.status.partition(":")
    status: Status = name.strip()  # type: ignore[assignment]  # _known_status has checked it
    code, text = _code_and_text(status, body.error_code, suffix, body.error)
    version_code, version_name, signer = _installed(body.installed_version)
    return Report(
        status=status,
        error_code=code,
        error_text=text,
        installed_version_code=version_code,
        installed_version_name=version_name,
        installed_signer=signer,
        attempt=body.attempt,
        seq=body.seq,
        occurred_at=_believable(body.occurred_at),
        progress=body.progress,
        post_install=body.post_install,
    )


def _code_and_text(
    status: str, code: str | None, suffix: str, error: str | None
) -> tuple[str | None, str | None]:
    """The code is what was given first of: the code, what stands behind the colon, the text itself."""
    said = [part for part in ((code or "").strip(), suffix.strip(), (error or "").strip()) if part]
    if status not in _CODES:
        return None, _text(said)
    known, otherwise = _CODES[status]
    if said and said[0] in known:
        return said[0], _text([part for part in said if part != said[0]])
    return otherwise, _text(said)


def _text(parts: list[str]) -> str | None:
    return ": ".join(dict.fromkeys(parts))[:MAX_TEXT] or None


def _installed(given: Any) -> tuple[int | None, str | None, str | None]:
    if isinstance(given, InstalledIn):
        return given.version_code, (given.version_name or "").strip() or None, given.signer_sha256
    if isinstance(given, int):
        return given, None, None
    return None, (given or "").strip() or None, None


def _believable(moment: datetime | None) -> datetime | None:
    if moment is None or moment.year not in _YEARS:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
