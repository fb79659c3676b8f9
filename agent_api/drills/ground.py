"""What a drill stands on: a package, versions and devices of its own, and the tidying up afterwards."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from agent_api.drills.operator import Operator, Red
from agent_api.simulator import Behaviour, DeviceSpec, FleetThread, SimulatedFleet, make_specs
from apks.dummy_apk import SigningKey, dummy_apk

PACKAGE: Final = "com.nexmdm.drill"
GROUP: Final = "drill"
# Codes rise from run to run: a second of this count is one.
_FIRST_CODE_AT: Final = 1_700_000_000
_KNOBS: Final[dict[str, Any]] = {
    "interval_sec": 1.0,
    "progress_reports": 1,
    "readings": {"battery": 90, "network": "wifi", "metered": False, "in_call": False, "in_use": False},
    "latency": {
        "start": {"min_sec": 0.0, "max_sec": 0.2},
        "download": {"min_sec": 0.0, "max_sec": 0.3},
        "install": {"min_sec": 0.3, "max_sec": 0.8},
    },
}
_EASY: Final[dict[str, Any]] = {
    "canary": 0,
    "rate": 1000,
    "concurrency": 2,
    "wifi_only": False,
    "min_battery": 0,
    "min_free_mb": 0,
    "retry": {"max": 0, "backoff_sec": 1},
}


class Ground:
    """Three versions (good, bad, and a rebuild of the good one) and devices that have the good one."""

    def __init__(self, operator: Operator, server: str) -> None:
        self.operator, self.server = operator, server
        self.code = int(time.time()) - _FIRST_CODE_AT
        self.versions: dict[str, int] = {}
        self.started: list[int] = []
        self.fleet: FleetThread

    def publish(self) -> None:
        """Puts the drill's package on the allowlist and uploads good, bad and rebuild."""
        self.operator.call("PUT", f"/v1/apks/managed/{PACKAGE}", {"display_name": "Drill"})
        self.code = max(self.code, 1 + self._latest_code())
        self.versions["good"] = self._upload(self.code, "good")
        self.versions["bad"] = self._upload(self.code + 1, "bad")
        self.versions["rebuild"] = self._upload(
            self.code + 2, "rebuild", rebuild_of=str(self.versions["good"])
        )

    def _latest_code(self) -> int:
        """Of the drill that was run last, which may have begun in this very second."""
        apks = self.operator.call("GET", "/v1/apks?page_size=500")["items"]
        return max(
            [apk["latest_version_code"] or 0 for apk in apks if apk["package_name"] == PACKAGE], default=0
        )

    def _upload(self, code: int, name: str, **fields: str) -> int:
        key = SigningKey.kept_in(Path(settings.DATA_DIR) / "drill_signer.pem", "Drills")
        apk = dummy_apk(PACKAGE, code, f"{name}-{code}", key=key, padding_bytes=20_000)
        found = self.operator.call(
            "POST",
            "/v1/apks/versions",
            files={"file": ("drill.apk", apk)},
            data={"notes": "A drill.", **fields},
        )
        return int(found["id"])

    def specs(self, count: int, misfits: int = 0, **misfit: Any) -> list[DeviceSpec]:
        """Good agents with the good version, the last `misfits` of them with these knobs."""
        installed = [{"package": PACKAGE, "version_code": self.code, "version_name": f"good-{self.code}"}]
        good = Behaviour.model_validate(_KNOBS | {"packages": installed})
        bad = Behaviour.model_validate(_KNOBS | {"packages": installed} | misfit)
        specs = make_specs(count, seed=self.code, behaviour=good)
        return [replace(spec, behaviour=bad if spec.number > count - misfits else good) for spec in specs]

    @contextmanager
    def devices(self, specs: Sequence[DeviceSpec]) -> Iterator[list[int]]:
        """Enrolled and heard of; retired at the end. Their ids."""
        wanted = {"max_uses": len(specs), "groups": [GROUP]}
        token = self.operator.call("POST", "/v1/enrollment-tokens", wanted)["token"]
        fleet = SimulatedFleet(self.server, token, specs, seed=self.code)
        with FleetThread(fleet) as self.fleet:
            try:
                self.operator.until(f"{len(specs)} devices have enrolled and are heard of", self._all_beat)
                yield self._ids()
            finally:
                for device_id in self._ids():
                    self.operator.ask("PATCH", f"/v1/devices/{device_id}", {"status": "retired"})

    def _ids(self) -> list[int]:
        """In the order of the specs."""
        return [int(record.device_id) for record in self._records() if record.device_id is not None]

    def _records(self) -> list[Any]:
        found: list[Any] = self.fleet.do(lambda fleet: list(fleet.record.devices.values()))
        return found

    def _all_beat(self) -> bool:
        return all(record.counts["heartbeats"] for record in self._records())

    def beats(self) -> dict[int, int]:
        """Heartbeats so far, by device."""
        return {int(record.device_id): record.counts["heartbeats"] for record in self._records()}

    def until_all_beat_again(self, what: str, times: int = 2) -> None:
        """Every device had the chance to be handed a command."""
        before = self.beats()
        self.operator.until(what, lambda: all(self.beats()[key] >= n + times for key, n in before.items()))

    def commands(self, deployment_id: int) -> dict[int, int]:
        """How many attempts of this deployment each device was handed, by its own record."""
        found = {}
        for record in self._records():
            got = [r for r in list(record.received) if r.deployment_id == deployment_id and not r.repeat]
            if got:
                found[int(record.device_id)] = len(got)
        return found

    def installed(self) -> dict[int, int | None]:
        """The version code of the drill's package on each device, as the server knows it."""
        items = self.operator.call("GET", f"/v1/devices?groups={GROUP}&status=active&page_size=500")["items"]
        mine = set(self._ids())
        return {
            item["id"]: (item["current_versions"].get(PACKAGE) or {}).get("version_code")
            for item in items
            if item["id"] in mine
        }

    def deploy(self, name: str, device_ids: Sequence[int], **options: Any) -> int:
        """Starts a deployment of that version to these devices alone; its id."""
        body = {
            "apk_version_id": self.versions[name],
            "target": {"type": "selection", "device_ids": list(device_ids)},
            "options": _EASY | options,
        }
        made = int(self.operator.call("POST", "/v1/deployments", body)["deployment_id"])
        self.started.append(made)
        self.operator.say(f"deployment #{made} of the {name} version has started")
        return made

    def tidy_up(self) -> None:
        """Nothing of the drill goes on, whatever came of it."""
        with suppress(Red):
            for made in self.started:
                self.operator.ask("POST", f"/v1/deployments/{made}/cancel", {"reason": "The drill is over"})
            self.operator.ask("DELETE", f"/v1/apks/managed/{PACKAGE}")


@contextmanager
def ready(operator: Operator, server: str) -> Iterator[Ground]:
    """Versions are there and deployments may be started. Red where not."""
    switch = operator.call("GET", "/v1/fleet-switch")
    operator.check("deployments are switched on and the kill switch is off", _may_start(switch), switch)
    ground = Ground(operator, server)
    with ExitStack() as ends:
        ends.callback(ground.tidy_up)
        ground.publish()
        yield ground


def _may_start(switch: Any) -> bool:
    return bool(switch["deployments_enabled"]) and not switch["kill_switch"]


Drill = Callable[[Ground], None]
