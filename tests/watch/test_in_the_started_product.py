"""Watch, counts, seals and delivery in a running instance: by its ticker's thread and its web processes."""

import http.client
import json
import re
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

from mdm.watch import webhook
from tests.mdm.instance import Instance, eventually
from tests.watch import far_ends

SILENT_SEC = 5


def _call(instance: Instance, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with closing(http.client.HTTPConnection("127.0.0.1", instance.port, timeout=20)) as connection:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        content = answer.read().decode()
        return answer.status, json.loads(content) if "json" in answer.headers["Content-Type"] else content


def _take_a_serial(instance: Instance, token: str) -> None:
    """Two enrolments with one serial, each with a token of its own: the second is refused."""
    for expected in (201, 409):
        status, made = _call(instance, "POST", "/v1/enrollment-tokens", {}, token)
        assert status == 201
        body = {"enrollment_token": made["token"], "serial": "R58M1", "model": "TC52", "sdk_int": 33}
        assert _call(instance, "POST", "/v1/agent/enroll", body)[0] == expected


def test_it_watches_counts_seals_and_tells(tmp_path: Path) -> None:
    with far_ends.receiver() as there:
        settings = {
            "ALERT_WEBHOOK_URL": there.url,
            "ALERT_WEBHOOK_SECRET": "shared",
            "ALERT_WORKER_SILENT_SEC": str(SILENT_SEC),
        }
        with Instance(tmp_path / "var", **settings) as instance:
            token = instance.manage("api_token", "admin").stdout.strip()
            _take_a_serial(instance, token)
            eventually(lambda: there.received, "the alert was to be told")
            _, headers, body = there.received[0]
            stamp = headers["x-nexmdm-timestamp"]
            assert headers["x-nexmdm-signature"] == f"sha256={webhook.signature('shared', stamp, body)}"
            assert json.loads(body)["alert"]["kind"] == "serial_taken"

            wanted = 'nexmdm_agent_requests_total{route="enroll",status="409"} 1.0'
            eventually(
                lambda: wanted in _call(instance, "GET", "/metrics")[1], "the refusal was to be counted"
            )
            eventually((instance.data_dir / "audit_head").exists, "the log was to be sealed")

            _silence_a_worker(instance, token)
            said = instance.manage("verify_audit", "--all")
            assert said.returncode == 0, said.stdout + said.stderr
            assert re.search(r"Every seal holds \([1-9]\d* seals", said.stdout)
        assert "alert.opened" in there.received[-1][2].decode()


def _silence_a_worker(instance: Instance, token: str) -> None:
    """Stopped, not killed: the supervisor would start a killed one again at once."""
    worker = instance.processes("qcluster")
    group = {process.pid for process in worker[:1]} | {c.pid for c in worker[0].children(recursive=True)}
    stopped = [process for process in worker if process.pid in group]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)

    def raised() -> bool:
        found = _call(instance, "GET", "/v1/alerts?state=open", token=token)[1]["items"]
        return any(alert["kind"] == "worker_silent" for alert in found)

    eventually(raised, "the silence was to be raised", within=SILENT_SEC + 30)
    for process in stopped:
        process.send_signal(signal.SIGCONT)
