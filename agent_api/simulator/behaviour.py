"""What a simulated device does differently from a good agent: every knob of a script, with its bounds.

Strict: an unknown key, a wrong type or a value out of bounds is refused when the script is read.
"""

from random import Random
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(ge=0, le=7 * 24 * 3600)]
Share = Annotated[float, Field(ge=0, le=1)]
Code = Annotated[str, Field(min_length=1, max_length=200)]
Network = Literal["wifi", "ethernet", "cellular", "none"]
Step = Literal["command", "received", "downloading", "installing"]


class Knobs(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sometimes(Knobs):
    """`attempts`: only attempts numbered up to this; `probability`: drawn once per attempt."""

    attempts: Annotated[int, Field(ge=1)] | None = None
    probability: Share = 1.0

    def applies(self, attempt: int, rng: Random) -> bool:
        if self.attempts is not None and attempt > self.attempts:
            return False
        return self.probability >= 1 or rng.random() < self.probability


class Fail(Sometimes):
    """Reports `failed` with `code` (known to the server or not) at the step `at`."""

    code: Code
    text: str | None = None
    at: Step = "installing"


class Skip(Sometimes):
    """Reports `skipped` with `reason` before it downloads anything."""

    reason: Code
    text: str | None = None


class Silence(Sometimes):
    """No report after the step `after`; `installs`: the app is installed all the same, as by a self-update.

    `heartbeats: false`: not even heartbeats, for `for_sec` seconds or (null) for good.
    """

    after: Step
    installs: bool = False
    heartbeats: bool = True
    for_sec: Seconds | None = None


class Lie(Knobs):
    """Claims success with these values and installs nothing; `in_inventory`: its heartbeats say the same."""

    version_code: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    version_name: str | None = None
    signer_sha256: str | None = None
    in_inventory: bool = False


class Late(Knobs):
    """Each report (`all`) or only the last one of an attempt (`final`) is sent `sec` seconds late."""

    sec: Seconds
    reports: Literal["final", "all"] = "final"


class Offline(Knobs):
    """Unreachable between these seconds since the start of the fleet; `until_sec` null: for good."""

    from_sec: Seconds = 0.0
    until_sec: Seconds | None = None

    @model_validator(mode="after")
    def in_order(self) -> "Offline":
        if self.until_sec is not None and self.until_sec <= self.from_sec:
            raise ValueError("until_sec must be greater than from_sec")
        return self


class Restart(Sometimes):
    """The agent dies while downloading, or right after the commit, is down for a while, beats and goes on."""

    at: Literal["downloading", "installing"] = "installing"
    down_sec: Seconds = 2.0


class Vanish(Sometimes):
    """After it has reported success nothing is heard of the device for `for_sec` seconds or (null) for good."""

    for_sec: Seconds | None = None


class Readings(Knobs):
    """Fixed values in place of the simulated ones, in heartbeats and in the agent's own checks.

    `until_sec` (seconds since the start of the fleet) ends them; the device is then as simulated.
    """

    battery: Annotated[int, Field(ge=0, le=100)] | None = None
    charging: bool | None = None
    network: Network | None = None
    metered: bool | None = None
    free_storage_mb: Annotated[int, Field(ge=0)] | None = None
    doze_exempt: bool | None = None
    in_call: bool | None = None
    in_use: bool | None = None
    device_owner: bool | None = None
    tz: str | None = None
    until_sec: Seconds | None = None


class Installed(Knobs):
    """One line of the inventory."""

    package: Annotated[str, Field(min_length=3, max_length=255)]
    version_code: Annotated[int, Field(ge=1, lt=2**31)]
    version_name: str | None = None
    signer_sha256: str | None = None


class Span(Knobs):
    """A random time between two bounds, in seconds."""

    min_sec: Seconds
    max_sec: Seconds

    @model_validator(mode="after")
    def in_order(self) -> "Span":
        if self.max_sec < self.min_sec:
            raise ValueError("max_sec must not be less than min_sec")
        return self

    def draw(self, rng: Random) -> float:
        return rng.uniform(self.min_sec, self.max_sec)


class Latency(Knobs):
    """How long an honest device takes: before it starts, for the download (at least), for the install."""

    start: Span = Span(min_sec=0.1, max_sec=0.8)
    download: Span = Span(min_sec=1, max_sec=4)
    install: Span = Span(min_sec=2, max_sec=7)


INSTANT = Latency(
    start=Span(min_sec=0, max_sec=0), download=Span(min_sec=0, max_sec=0), install=Span(min_sec=0, max_sec=0)
)


class Behaviour(Knobs):
    """Everything a script can say about a device. All left out = a good agent."""

    download: Literal["verify", "head", "skip"] = "verify"
    latency: Latency = Latency()
    slow: Annotated[float, Field(gt=0, le=1000)] = 1.0
    progress_reports: Annotated[int, Field(ge=0, le=20)] = 2
    interval_sec: Annotated[float, Field(gt=0, le=86400)] | None = None
    push: bool = False

    fail: Fail | None = None
    skip: Skip | None = None
    silent: Silence | None = None
    lie: Lie | None = None
    late: Late | None = None
    restart: Restart | None = None
    left_without: Sometimes | None = None
    duplicate_reports: Annotated[int, Field(ge=0, le=20)] = 0
    out_of_order: bool = False
    broken_downloads: Annotated[int, Field(ge=0, le=20)] = 0
    ignore_cancel: bool = False
    post_install: Literal["ok", "failed", "unsaid"] = "ok"
    restart_takes_sec: Seconds = 0.0
    vanish: Vanish | None = None

    offline: Offline | None = None
    never_heartbeats: bool = False
    readings: Readings = Readings()
    unreported: list[str] = []

    sdk_int: Annotated[int, Field(ge=1, le=99)] | None = None
    abis: list[str] | None = None
    packages: list[Installed] | None = None
    max_schema: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def only_what_a_heartbeat_holds(self) -> "Behaviour":
        unknown = set(self.unreported) - HEARTBEAT_FIELDS
        if unknown:
            raise ValueError(f"a heartbeat has no field {min(unknown)!r} that could be left out")
        return self


HEARTBEAT_FIELDS = frozenset(
    (
        *("battery", "charging", "network", "metered", "free_storage_mb", "doze_exempt", "in_call"),
        *("device_owner", "in_use", "tz", "max_schema", "agent_version", "sdk_int", "packages"),
    )
)
