"""The admin's lists over 100,000 devices, tasks and log lines: how long a page takes, by how many statements."""

import statistics
import time
from typing import Any, Final

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks import crowd
from benchmarks.ground import running
from benchmarks.table import Row, show
from tests.deployments import scene

ROWS: Final = 100_000
READS: Final = 5
_AUDIT: Final = """INSERT INTO audit_event (actor, action, subject_kind, subject_id, level, message, meta)
    SELECT 'user:ada', 'device.change', (ARRAY['device', 'apk', 'apitoken'])[1 + n %% 3], n::text, 'info',
        'Changed alias', '{}' FROM generate_series(1, %(rows)s) n"""
_EVENTS: Final = """INSERT INTO deployment_event (deployment_id, device_id, level, message, actor, meta)
    SELECT deployment_id, device_id, 'info', 'Installed', 'device:' || device_id, '{}' FROM deployment_task"""
PAGES: Final = (
    "/admin/",
    "/admin/deployments/deployment/",
    "/admin/devices/device/",
    "/admin/devices/device/?p=200",
    "/admin/devices/device/?o=5",
    "/admin/devices/device/?q=BENCH4711",
    "/admin/devices/device/?q=nowhere",
    "/admin/devices/device/?status__exact=retired",
    "/admin/devices/heartbeat/",
    "/admin/deployments/deploymenttask/",
    "/admin/deployments/deploymentattempt/",
    "/admin/deployments/deploymentevent/",
    "/admin/mdm/auditevent/",
    "/admin/mdm/auditevent/?subject_kind=apk",
    "/admin/mdm/auditevent/?q=nowhere",
    "/admin/mdm/apitoken/",
)


def measured(client: Client, page: str) -> Row:
    took, slowest = [], 0.0
    for _ in range(READS):
        with CaptureQueriesContext(connection) as asked:
            begun = time.perf_counter()
            answer: Any = client.get(page)
            took.append(time.perf_counter() - begun)
        assert answer.status_code == 200, (page, answer.status_code)
        slowest = max(float(query["time"]) for query in asked)
    words = f"p50 {statistics.median(took) * 1000:.0f} ms"
    note = f"{len(asked)} statements, the slowest {slowest * 1000:.0f} ms"
    return Row(page, words, "≤ 300 ms", note=note)


def main() -> None:
    with running("web"):
        crowd.fleet(ROWS)
        deployment = crowd.started(scene.version(300), canary=5)
        crowd.send(deployment, 10_000)
        crowd.run(_AUDIT, {"rows": ROWS})
        crowd.run(_EVENTS)
        crowd.settle_down()
        client = Client(headers={"host": "127.0.0.1"})
        client.force_login(scene.admin().user)
        show(f"Lists over {ROWS:,} rows", [measured(client, page) for page in PAGES])
