"""A cancel of a great deployment, through the HTTP API."""

from benchmarks import crowd, load, processes
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, milliseconds, show
from tests.deployments import scene

ROUNDS = 4


def main() -> None:
    with running("web") as instance:
        crowd.fleet(10_000)
        token = crowd.operator()
        took, work = [], {"web": 0.0, "database": 0.0}
        for number in range(ROUNDS):
            deployment = crowd.started(scene.version(200 + number), rate=1000, concurrency=1000)
            crowd.send(deployment, 1000)
            crowd.settle_down()
            cancel = Request("POST", f"/v1/deployments/{deployment.pk}/cancel", token, {})
            before = processes.cpu(instance)
            status, body, seconds = load.one(instance.port, cancel)
            assert (status, body["counts"]["skipped"]) == (200, 10_000), body
            took.append(seconds)
            spent = processes.spent(before, processes.cpu(instance))
            work = {part: so_far + spent[part] for part, so_far in work.items()}
            crowd.free_again()
        note = ", ".join(f"{part} {seconds / ROUNDS * 1000:.0f} ms" for part, seconds in work.items())
        show(
            "Cancel",
            [
                Row(
                    "cancel with 9,000 waiting and 1,000 live",
                    milliseconds(took),
                    "≤ 500 ms",
                    note=f"CPU: {note}",
                )
            ],
        )
