"""Where the simulated devices stand: shops, time zones, and the profile each device is enrolled with."""

from dataclasses import dataclass
from random import Random

from agent_api.simulator.behaviour import Behaviour, Installed, Network
from agent_api.simulator.pacing import seeded


@dataclass(frozen=True, slots=True)
class Handset:
    manufacturer: str
    model: str
    role: str
    sdk_int: int
    abis: tuple[str, ...]
    network: Network
    serial_prefix: str


@dataclass(frozen=True, slots=True)
class Profile:
    """The groups and tags that the server should give to the devices enrolled with this profile."""

    groups: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One simulated device as it leaves the box; `profile` is a key of PROFILES."""

    number: int
    serial: str
    alias: str
    handset: Handset
    tz: str
    profile: str
    packages: tuple[Installed, ...]
    behaviour: Behaviour

    @property
    def sdk_int(self) -> int:
        return self.behaviour.sdk_int or self.handset.sdk_int

    @property
    def abis(self) -> list[str]:
        return list(self.handset.abis) if self.behaviour.abis is None else self.behaviour.abis

    @property
    def inventory(self) -> tuple[Installed, ...]:
        return self.packages if self.behaviour.packages is None else tuple(self.behaviour.packages)


ARM64 = ("arm64-v8a", "armeabi-v7a")
HANDSETS = (
    Handset("Zebra Technologies", "TC52", "handheld", 30, ARM64, "wifi", "2021"),
    Handset("Samsung", "SM-T225", "kiosk", 34, ARM64, "wifi", "R9PT"),
    Handset("Orbic", "Joy 2", "handheld", 33, ARM64, "wifi", "RC81"),
    Handset("Lenovo", "Lenovo TB-8505F", "kiosk", 29, ARM64, "wifi", "HA1D"),
    Handset("Honeywell", "CT45", "handheld", 31, ARM64, "wifi", "2211"),
    Handset("Sunmi", "D2s", "kiosk", 30, ("armeabi-v7a",), "ethernet", "DB02"),
    Handset("Zebra Technologies", "TC26", "handheld", 33, ARM64, "wifi", "2117"),
)
SHOPS = (
    ("shop-berlin-1", "Berlin 1", "Europe/Berlin"),
    ("shop-berlin-2", "Berlin 2", "Europe/Berlin"),
    ("shop-hamburg-1", "Hamburg 1", "Europe/Berlin"),
    ("shop-london-1", "London 1", "Europe/London"),
    ("shop-lisbon-1", "Lisbon 1", "Europe/Lisbon"),
)
PILOT_SHOP = "shop-berlin-1"
AGENT_PACKAGE = "com.nexmdm"
SPEEDTEST_PACKAGE = "com.example.speedtest"


def _tags(shop: str, role: str) -> tuple[str, ...]:
    return (role, "pilot") if shop == PILOT_SHOP else (role,)


PROFILES = {
    f"{shop} {role}": Profile((shop,), _tags(shop, role))
    for shop, _, _ in SHOPS
    for role in ("handheld", "kiosk")
}


def _packages(rng: Random) -> tuple[Installed, ...]:
    code = rng.choice((118, 119, 120, 120, 120, 120))
    return (
        Installed(package=AGENT_PACKAGE, version_code=code, version_name=f"1.0.{code}"),
        Installed(package=SPEEDTEST_PACKAGE, version_code=40, version_name="4.0.0"),
    )


def make_specs(count: int, seed: int = 1, behaviour: Behaviour | None = None) -> list[DeviceSpec]:
    """`count` devices numbered from 1. The same seed gives the same devices, another seed other serials."""
    salt = seeded("serials", seed).randrange(16**4)
    return [_spec(number, seed, salt, behaviour or Behaviour()) for number in range(1, count + 1)]


def _spec(number: int, seed: int, salt: int, behaviour: Behaviour) -> DeviceSpec:
    handset = HANDSETS[(number - 1) % len(HANDSETS)]
    shop, town, tz = SHOPS[(number - 1) % len(SHOPS)]
    return DeviceSpec(
        number=number,
        serial=f"{handset.serial_prefix}{salt:04X}{number:06d}",
        alias=f"{town} {handset.role} {number}",
        handset=handset,
        tz=tz,
        profile=f"{shop} {handset.role}",
        packages=_packages(seeded("packages", seed, number)),
        behaviour=behaviour,
    )
