"""Status reports of agents per second, against the same statements in plain psycopg."""

import random
from collections.abc import Sequence

from benchmarks import crowd, load, processes, replay
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, percentile, show
from deployments.engine import reports
from deployments.models import Deployment
from deployments.rules import report_body
from devices import tokens
from tests.deployments import scene
from tests.mdm.instance import Instance

ROUNDS = 5
DEVICES = 200  # of each side in each round; a bit over four reports each
LANES = 16
REPEATED = 0.1
STEPS = ("received", "downloading", "installing")

Reports = list[tuple[int, dict[str, object]]]


def dice() -> random.Random:
    return random.Random(3)


def conversation(device_id: int, chance: random.Random) -> Reports:
    """Three steps and an end, one in twenty a failure; every tenth report is said twice."""
    last: dict[str, object] = {
        "status": "succeeded",
        "installed_version": {"version_code": 121},
        "attempt": 1,
    }
    if chance.random() < 0.05:
        last = {"status": "failed", "error_code": "signature_mismatch", "error": "other key", "attempt": 1}
    said: Reports = []
    for body in [*({"status": step, "attempt": 1} for step in STEPS), last]:
        said += [(device_id, body)] * (2 if chance.random() < REPEATED else 1)
    return said


def dealt(conversations: Sequence[Reports]) -> list[Reports]:
    """To the lanes, so that each device's reports stay in order; devices of a lane take turns."""
    lanes: list[Reports] = []
    for number in range(LANES):
        mine = list(conversations[number::LANES])
        lanes.append([said[step] for step in range(2 * len(STEPS) + 2) for said in mine if step < len(said)])
    return lanes


def request(deployment: Deployment, device_id: int, body: dict[str, object]) -> Request:
    path = f"/v1/agent/deployments/{deployment.pk}/devices/{device_id}/status"
    return Request("POST", path, crowd.token(device_id), body)


def recorded(deployment: Deployment, said: Reports) -> list[replay.Statement]:
    def talk() -> None:
        for device_id, body in said:
            device = tokens.authenticate(crowd.token(device_id))
            report = report_body.normalise(report_body.StatusIn.model_validate(body))
            answer = reports.report(device, deployment.pk, device_id, report)
            assert answer.http_status == 200, answer

    return replay.record(talk)


def all_recorded(deployment: Deployment, conversations: Sequence[Reports]) -> list[list[replay.Statement]]:
    """Each kind of conversation is recorded once and retold for the other devices."""
    task_of = crowd.tasks(deployment)
    firsts: dict[str, tuple[int, list[replay.Statement]]] = {}
    acts = []
    for said in conversations:
        device_id, kind = said[0][0], str([body for _, body in said])
        if kind not in firsts:
            firsts[kind] = device_id, recorded(deployment, said)
        first, act = firsts[kind]
        acts.append(replay.retold(act, crowd.other_names(first, device_id, task_of)))
    return acts


def measure(instance: Instance) -> list[Row]:
    ids = crowd.fleet(2 * ROUNDS * DEVICES)
    deployment = crowd.started(scene.version(), ids, failure_pct=100)
    crowd.send(deployment, len(ids))
    crowd.settle_down()
    chance = dice()
    conversations = [conversation(device_id, chance) for device_id in ids]
    plain_acts = all_recorded(deployment, conversations[ROUNDS * DEVICES :])
    crowd.settle_down()
    web_rates, plain_rates, took = [], [], []
    cpu = {"web": 0.0, "database": 0.0, "generator": 0.0}
    cpu_plain = 0.0
    count = plain_count = 0
    for number in range(ROUNDS):
        part = slice(number * DEVICES, (number + 1) * DEVICES)
        plain = replay.replay(plain_acts[part])
        said = sum(map(len, conversations[ROUNDS * DEVICES :][part]))
        plain_rates.append(said / plain.seconds)
        plain_count, cpu_plain = plain_count + said, cpu_plain + plain.cpu
        lanes = [[request(deployment, *each) for each in lane] for lane in dealt(conversations[part])]
        before = processes.cpu(instance)
        loaded = load.through(instance.port, lanes)
        spent = processes.spent(before, processes.cpu(instance)) | {"generator": loaded.cpu}
        assert set(loaded.statuses) == {200}, loaded.statuses
        web_rates.append(loaded.per_second)
        took += loaded.took
        count += len(loaded.took)
        cpu = {name: seconds + spent[name] for name, seconds in cpu.items()}
    web, plain_rate = sorted(web_rates)[ROUNDS // 2], sorted(plain_rates)[ROUNDS // 2]
    shares = ", ".join(f"{name} {seconds / count * 1000:.2f} ms" for name, seconds in cpu.items())
    note = (
        f"CPU per report: {shares}; plain client {cpu_plain / plain_count * 1000:.2f} ms;"
        f" p95 {percentile(took, 95) * 1000:.0f} ms; rounds"
        f" {', '.join(f'{a:.0f}/{b:.0f}' for a, b in zip(web_rates, plain_rates, strict=True))}"
    )
    return [
        Row(
            "agent status reports, 16 connections",
            f"{web:.0f}/s",
            "≥ 0.4×, aim 0.5×",
            f"{plain_rate:.0f}/s on 4 connections",
            web / plain_rate,
            note,
        )
    ]


def main() -> None:
    with running("web") as instance:
        show("Status reports", measure(instance))
