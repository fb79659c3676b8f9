"""What the sensors of a simulated device say: battery, network, storage; and what an agent makes of it."""

from dataclasses import dataclass
from random import Random
from typing import Any

from agent_api.simulator.behaviour import Installed, Network, Readings
from agent_api.simulator.command import Apk, Command, Constraints

DRAIN_PER_HOUR = 9.0
CHARGE_PER_HOUR = 45.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the sensors. Battery in percent, storage in MB."""

    battery: int
    charging: bool
    network: Network
    metered: bool
    free_storage_mb: int
    doze_exempt: bool
    in_call: bool
    device_owner: bool
    in_use: bool
    tz: str


class Battery:
    """Drains in use, is put on the charger when low, is taken off when full. A kiosk is always plugged in."""

    def __init__(self, rng: Random, *, plugged: bool) -> None:
        self._plugged = plugged
        self._level = rng.uniform(60, 100)
        self._charging = plugged
        self._low = rng.uniform(25, 50)
        self._at = 0.0

    def look(self, elapsed: float) -> tuple[int, bool]:
        """(percent, charging) at `elapsed` seconds since the start."""
        hours, self._at = (elapsed - self._at) / 3600, elapsed
        self._level += hours * (CHARGE_PER_HOUR if self._charging else -DRAIN_PER_HOUR)
        self._level = min(100.0, max(1.0, self._level))
        if self._level <= self._low:
            self._charging = True
        elif self._level >= 98:
            self._charging = self._plugged
        return round(self._level), self._charging


class Hardware:
    """The sensors of one device, with what a script fixes laid over them."""

    def __init__(self, rng: Random, *, network: Network, tz: str, fixed: Readings) -> None:
        self._battery = Battery(rng, plugged=network == "ethernet")
        self._network, self._tz, self._fixed = network, tz, fixed
        self._free_mb = rng.randrange(3_000, 40_000)

    def use_storage(self, size_bytes: int) -> None:
        self._free_mb = max(0, self._free_mb - size_bytes // 2**20)

    def look(self, elapsed: float) -> Reading:
        battery, charging = self._battery.look(elapsed)
        values: dict[str, Any] = {
            "battery": battery,
            "charging": charging,
            "network": self._network,
            "metered": False,
            "free_storage_mb": self._free_mb,
            "doze_exempt": True,
            "in_call": False,
            "device_owner": True,
            "in_use": False,
            "tz": self._tz,
        }
        return Reading(**(values | self._overrides(elapsed)))

    def _overrides(self, elapsed: float) -> dict[str, Any]:
        until = self._fixed.until_sec
        if until is not None and elapsed >= until:
            return {}
        return self._fixed.model_dump(exclude_none=True, exclude={"until_sec"})


def obstacle(reading: Reading, command: Command, installed: Installed | None) -> str | None:
    """The reason of behaviour.md §1 for which a good agent would not go on now; None where it may."""
    if command.apk is not None and command.install_mode == "update":
        settled = _version_obstacle(command.apk, installed)
        if settled:
            return settled
    return _network_obstacle(reading, command.constraints) or _device_obstacle(reading, command.constraints)


def _version_obstacle(apk: Apk, installed: Installed | None) -> str | None:
    if installed is None or installed.version_code < apk.version_code:
        return None
    return "already_installed" if installed.version_code == apk.version_code else "newer_installed"


def _network_obstacle(reading: Reading, constraints: Constraints) -> str | None:
    if not constraints.wifi_only:
        return None
    if reading.network not in {"wifi", "ethernet"}:
        return "no_wifi"
    return "metered_network" if reading.metered else None


def _device_obstacle(reading: Reading, constraints: Constraints) -> str | None:
    misses = (
        ("battery_low", reading.battery < constraints.min_battery),
        ("not_charging", constraints.charging_only and not reading.charging),
        ("low_storage", reading.free_storage_mb < constraints.min_free_mb),
        ("in_call", reading.in_call),
        ("in_use", reading.in_use),
    )
    return next((reason for reason, missed in misses if missed), None)
