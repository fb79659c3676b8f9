"""From the press on Roll back, through the HTTP API, until every device of the rollback has its task."""

import time

from benchmarks import crowd, load
from benchmarks.ground import running
from benchmarks.load import Request
from benchmarks.table import Row, milliseconds, show
from deployments import tick
from deployments.models import Deployment
from tests.deployments import scene

ROUNDS, DEVICES = 4, 10_000
# Everybody got the bad version, said so an hour ago, and has been heard of since.
_SUCCEEDED = (
    """UPDATE deployment_task SET status = 'succeeded', in_flight_until = NULL, finished_at = now() - interval '1 hour'
    WHERE deployment_id = %(id)s""",
    """UPDATE deployment_attempt SET outcome = 'succeeded', finished_at = now() - interval '1 hour'
    WHERE deployment_id = %(id)s""",
    """UPDATE deployment SET status = 'paused', paused_reason = 'failure_rate', paused_at = now(),
    gate_tripped_at = now() WHERE id = %(id)s""",
)
_INSTALLED = """UPDATE device SET current_versions =
    jsonb_build_object('com.nexmdm', jsonb_build_object('version_code', %s::int))"""


def bad(number: int) -> Deployment:
    """A deployment that has reached everybody and was stopped by its failure limit."""
    crowd.run(_INSTALLED, [120])
    good, code = scene.version(120), 200 + 2 * number
    scene.version(code + 1, rebuild_of=good)
    deployment = crowd.started(scene.version(code))
    crowd.send(deployment, DEVICES)
    for sql in _SUCCEEDED:
        crowd.run(sql, {"id": deployment.pk})
    crowd.run(_INSTALLED, [code])
    crowd.settle_down()
    return deployment


def main() -> None:
    with running("web") as instance:
        crowd.fleet(DEVICES)
        token = crowd.operator()
        pressed, planned = [], []
        for number in range(ROUNDS):
            press = Request("POST", f"/v1/deployments/{bad(number).pk}/rollback", token, {})
            begun = time.perf_counter()
            status, body, seconds = load.one(instance.port, press)
            assert status == 201, body
            tick.advance(body["deployment_id"])
            planned.append(time.perf_counter() - begun)
            pressed.append(seconds)
            made = Deployment.objects.get(pk=body["deployment_id"])
            assert len(crowd.tasks(made)) == DEVICES
            crowd.run(
                "UPDATE deployment SET status = 'canceled', finished_at = now() WHERE id = %s", [made.pk]
            )
        note = f"of which the request: {milliseconds(pressed)}"
        show(
            "Rollback",
            [Row("rollback of 10,000 devices, pressed → planned", milliseconds(planned), "≤ 3 s", note=note)],
        )
