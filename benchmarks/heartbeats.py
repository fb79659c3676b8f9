"""Heartbeats per second, with nothing to do and with a command to hand out, against plain psycopg."""

from typing import Any

from benchmarks import crowd, load, processes, replay
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, percentile, show
from deployments.engine import checkin
from devices import tokens
from devices.inventory import HeartbeatIn
from tests.deployments import scene
from tests.mdm.instance import Instance

ROUNDS = 5
LANES = 16
BEAT: dict[str, Any] = {
    "battery": 81,
    "charging": False,
    "network": "wifi",
    "metered": False,
    "free_storage_mb": 9120,
    "doze_exempt": True,
    "in_call": False,
    "in_use": False,
}


def beat(device_id: int) -> Request:
    return Request("POST", f"/v1/agent/devices/{device_id}/heartbeat", crowd.token(device_id), BEAT)


def recorded(device_id: int, commands: int) -> list[replay.Statement]:
    def check_in() -> None:
        device = tokens.authenticate(crowd.token(device_id))
        found = checkin.check_in(device, HeartbeatIn.model_validate(BEAT))
        assert len(found.commands) == commands

    return replay.record(check_in)


def compared(instance: Instance, what: str, ids: list[int], task_of: dict[int, int], commands: int) -> Row:
    """The first half of the devices beats over HTTP, the second is replayed."""
    half = len(ids) // 2
    share = half // ROUNDS
    act = recorded(ids[half], commands)
    acts = [replay.retold(act, crowd.other_names(ids[half], device_id, task_of)) for device_id in ids[half:]]
    rates: list[float] = []
    plain_rates: list[float] = []
    took: list[float] = []
    cpu = {"web": 0.0, "database": 0.0, "generator": 0.0}
    for number in range(ROUNDS):
        part = slice(number * share, (number + 1) * share)
        plain_rates.append(share / replay.replay(acts[part]).seconds)
        mine = ids[:half][part]
        before = processes.cpu(instance)
        loaded = load.through(
            instance.port, [[beat(pk) for pk in mine[lane::LANES]] for lane in range(LANES)]
        )
        spent = processes.spent(before, processes.cpu(instance)) | {"generator": loaded.cpu}
        assert loaded.statuses == {200: len(mine)}, loaded.statuses
        rates.append(loaded.per_second)
        took += loaded.took
        cpu = {part: seconds + spent[part] for part, seconds in cpu.items()}
    count = share * ROUNDS
    web, plain = sorted(rates)[ROUNDS // 2], sorted(plain_rates)[ROUNDS // 2]
    shares = ", ".join(f"{part} {seconds / count * 1000:.2f} ms" for part, seconds in cpu.items())
    note = f"CPU per request: {shares}; p95 {percentile(took, 95) * 1000:.0f} ms; {len(act)} statements"
    return Row(what, f"{web:.0f}/s", "≥ 0.4×", f"{plain:.0f}/s on 4 connections", web / plain, note)


def main() -> None:
    with running("web") as instance:
        ids = crowd.fleet(2_000)
        idle = compared(instance, "heartbeats with nothing to do", ids, {}, 0)
        deployment = crowd.started(scene.version(), ids)
        crowd.settle_down()
        busy = compared(instance, "heartbeats that hand out a command", ids, crowd.tasks(deployment), 1)
        show("Heartbeats", [idle, busy])
