"""The whole product as it is started for real, an operator with a token, and a fleet that speaks HTTP to it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from agent_api.simulator import PROFILES, Behaviour, FleetThread, SimulatedFleet, make_specs
from apks.dummy_apk import dummy_apk
from mdm.embedded_postgres import DATABASE, USER, socket_folder
from tests.apks.forging import rsa_key
from tests.concurrency import ledger
from tests.mdm.instance import Instance

PACKAGES = ("com.nexmdm", "com.example.speedtest")
LOOK_EVERY_SEC = 0.25
# A test has no hours: what an install takes. Nor is it to be busy with beats: they come when they are wanted.
BRISK: dict[str, Any] = {
    "interval_sec": 60.0,
    "progress_reports": 1,
    "latency": {
        "start": {"min_sec": 0.0, "max_sec": 0.1},
        "download": {"min_sec": 0.0, "max_sec": 0.2},
        "install": {"min_sec": 0.0, "max_sec": 0.3},
    },
}

_OF_DEVICE = "(SELECT jsonb_agg(to_jsonb(r) ORDER BY r.id) FROM {} r WHERE r.device_id = d.id) AS {}"
TRACE = "SELECT {} FROM device d WHERE d.id = ANY(%s) ORDER BY d.id".format(
    ", ".join(
        [
            "to_jsonb(d) AS device",
            *(
                _OF_DEVICE.format(table, table)
                for table in ("deployment_task", "deployment_attempt", "deployment_event", "device_token")
            ),
        ]
    )
)


class Product:
    """`api` is the operator's client; `fleet` the devices, all enrolled and heard of."""

    def __init__(self, instance: Instance, api: httpx.Client, fleet: FleetThread) -> None:
        self.instance, self.api, self.fleet = instance, api, fleet

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return answered(self.api.request(method, path, json=body))

    def upload(self, package: str, code: int, **fields: str) -> int:
        """A version with a real signature, in by the API; its id."""
        content = {"file": ("app.apk", dummy_apk(package, code, f"1.0.{code}", key=rsa_key("fleet")))}
        found: int = answered(self.api.post("/v1/apks/versions", files=content, data=fields))["id"]
        return found

    def behave(self, device_ids: list[int], **knobs: Any) -> None:
        """From now on these devices do so, and otherwise as all do."""
        serials = self.rows("SELECT serial FROM device WHERE id = ANY(%s)", device_ids)
        behaviour = Behaviour.model_validate(BRISK | knobs)

        def change(fleet: SimulatedFleet) -> None:
            for row in serials:
                fleet._agents[row["serial"]].device.behaviour = behaviour

        self.fleet.do(change)

    def deploy(self, version_id: int, target: Mapping[str, Any], **options: Any) -> int:
        body = {"apk_version_id": version_id, "target": target, "options": options}
        found: int = self.call("POST", "/v1/deployments", body)["deployment_id"]
        return found

    def ends(self, deployment_id: int, within: float, beats: int = 10) -> dict[str, Any]:
        """The deployment once it has ended or paused itself. Until then, at each look, devices that wait or must be
        seen to run beat now and not when their interval is over: two more than there are places, at most `beats`."""
        deadline = time.monotonic() + within
        while True:
            seen: dict[str, Any] = self.call("GET", f"/v1/deployments/{deployment_id}")
            if seen["status"] not in ("queued", "running"):
                return seen
            assert time.monotonic() < deadline, seen
            taken = seen["counts"]["sending"] + seen["counts"]["installing"]
            self._some_beat(deployment_id, min(beats, seen["options"]["concurrency"] - taken + 2))
            time.sleep(LOOK_EVERY_SEC)

    def _some_beat(self, deployment_id: int, beats: int) -> None:
        waiting = self.rows(
            """SELECT serial FROM deployment_task t JOIN device d ON d.id = t.device_id WHERE deployment_id = %s
            AND (t.status IN ('queued', 'throttled') OR t.phase = 'verifying')
            ORDER BY t.phase <> 'verifying', random() LIMIT %s""",
            deployment_id,
            beats,
        )

        def wake(fleet: SimulatedFleet) -> None:
            for row in waiting:
                fleet.beat(row["serial"])

        self.fleet.do(wake)

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        """Straight from the tables, behind the product's back."""
        folder = str(socket_folder(self.instance.data_dir))
        with psycopg.connect(host=folder, dbname=DATABASE, user=USER, row_factory=dict_row) as database:
            return database.execute(sql, params).fetchall()

    def sends(self, deployment_id: int) -> list[ledger.Send]:
        columns = ", ".join(ledger.COLUMNS)
        rows = self.rows(
            f"SELECT {columns} FROM deployment_attempt WHERE deployment_id = %s ORDER BY sent_at, id",
            deployment_id,
        )
        return [ledger.Send(*row.values()) for row in rows]

    def trace(self, device_ids: list[int]) -> list[dict[str, Any]]:
        """Everything that is kept about these devices, but for the readings of their last heartbeat; and how many
        commands each has ever got by its own record."""
        wanted = set(device_ids)
        commands = self.fleet.do(
            lambda fleet: {
                it.device_id: len(it.received)
                for it in fleet.record.devices.values()
                if it.device_id in wanted
            }
        )
        return [*self.rows(TRACE, device_ids), {"commands": commands}]

    def versions(self, device_ids: list[int], package: str) -> set[int]:
        """The version codes of a package that these devices have."""
        sql = "SELECT DISTINCT (current_versions -> %s ->> 'version_code')::int AS code FROM device"
        return {row["code"] for row in self.rows(f"{sql} WHERE id = ANY(%s)", package, device_ids)}

    def device_ids(self) -> list[int]:
        return [row["id"] for row in self.rows("SELECT id FROM device ORDER BY id")]


def answered(response: httpx.Response) -> Any:
    assert response.is_success, f"{response.request.url} was answered {response.status_code}: {response.text}"
    return response.json()


@contextmanager
def on_air(data_dir: Path, devices: int, **environment: str) -> Iterator[Product]:
    """Started from nothing, deployments enabled, this many devices enrolled into their shops."""
    with Instance(data_dir, ADMIN_PASSWORD="only for this test", **environment) as instance:
        token = instance.manage("api_token", "admin").stdout.strip()
        address = f"http://127.0.0.1:{instance.port}"
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60) as api:
            behaviour = Behaviour.model_validate(BRISK)
            specs = make_specs(devices, behaviour=behaviour)
            tokens = _prepare(api)
            fleet = SimulatedFleet(address, lambda: tokens, specs, starts_per_sec=100)
            with FleetThread(fleet) as thread:
                thread.until(_all_heard_of, 120)
                yield Product(instance, api, thread)
            assert fleet.record.totals["crashes"] == 0, list(fleet.record.problems)


def _prepare(api: httpx.Client) -> dict[str, str]:
    """Switches deployments on; an enrolment token for each profile."""
    for package in PACKAGES:
        answered(api.put(f"/v1/apks/managed/{package}", json={"display_name": package}))
    answered(api.put("/v1/fleet-switch", json={"deployments_enabled": True, "reason": "test"}))
    return {
        name: answered(
            api.post("/v1/enrollment-tokens", json={"groups": profile.groups, "tags": profile.tags})
        )["token"]
        for name, profile in PROFILES.items()
    }


def _all_heard_of(fleet: SimulatedFleet) -> bool:
    return all(device.counts["heartbeats"] for device in fleet.record.devices.values())
