"""An operator of a started product, with a token, a password, and a look at the tables behind its back."""

import re
import time
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
from psycopg.rows import dict_row

from apks.dummy_apk import dummy_apk
from mdm.embedded_postgres import DATABASE, USER, socket_folder
from tests.apks.forging import rsa_key
from tests.concurrency.product import answered
from tests.core_agents.sim import Sim
from tests.mdm.instance import Instance, eventually

AGENT, OTHER = "com.nexmdm", "com.example.till"
PASSWORD = "only for this test"
# For what takes seconds where nothing else runs: a machine that is busy is no fault of the product.
PATIENCE_SEC = 120.0
# Nothing stands between a test and its devices but what the test is about.
WIDE_OPEN: dict[str, Any] = {
    "canary": 0,
    "rate": 1000,
    "concurrency": 100,
    "retry": {"max": 0},
    "failure_pct": 100,
    "failure_min_sample": 1000,
}


class Operator:
    def __init__(self, instance: Instance, api: httpx.Client) -> None:
        self.instance, self.api = instance, api

    def ready(self) -> Self:
        for package in (AGENT, OTHER):
            answered(self.api.put(f"/v1/apks/managed/{package}", json={"display_name": package}))
        answered(self.api.put("/v1/fleet-switch", json={"deployments_enabled": True, "reason": "test"}))
        return self

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return answered(self.api.request(method, path, json=body))

    def sim(self, state: Path, group: str, devices: int, *arguments: str) -> Sim:
        """A fleet that enrols into this group."""
        token = self.call("POST", "/v1/enrollment-tokens", {"groups": [group]})["token"]
        options = ("--devices", str(devices), "--install-ms", "200", *arguments)
        return Sim(str(self.api.base_url), state, token, *options)

    def upload(self, package: str, code: int, padding_bytes: int = 0) -> int:
        """A version with a real signature, in by the API; its id."""
        data = dummy_apk(package, code, f"1.0.{code}", key=rsa_key("core"), padding_bytes=padding_bytes)
        found: int = answered(self.api.post("/v1/apks/versions", files={"file": ("app.apk", data)}))["id"]
        return found

    def deploy(self, version_id: int, target: dict[str, Any], **options: Any) -> int:
        body = {
            "apk_version_id": version_id,
            "target": {"type": "selection", **target},
            "options": WIDE_OPEN | options,
        }
        found: int = self.call("POST", "/v1/deployments", body)["deployment_id"]
        return found

    def all_heard_of(self, ids: list[int]) -> None:
        """Each has sent a heartbeat since it was enrolled."""
        sql = "SELECT count(*) AS heard FROM heartbeat WHERE device_id = ANY(%s) AND received_at IS NOT NULL"
        eventually(
            lambda: self.rows(sql, ids)[0]["heard"] == len(ids), "a device was never heard of", PATIENCE_SEC
        )

    def ended(self, deployment_id: int, within: float = 120.0) -> dict[str, Any]:
        """The deployment once every task of it is final."""
        deadline = time.monotonic() + within
        while True:
            seen: dict[str, Any] = self.call("GET", f"/v1/deployments/{deployment_id}")
            if seen["status"] not in ("queued", "running"):
                return seen
            assert time.monotonic() < deadline, (seen, self.tasks(deployment_id))
            time.sleep(0.25)

    def tasks(self, deployment_id: int) -> dict[int, dict[str, Any]]:
        """By device."""
        items = self.call("GET", f"/v1/deployments/{deployment_id}/tasks?page_size=500")["items"]
        return {task["device_id"]: task for task in items}

    def details_page(self, deployment_id: int) -> str:
        """As a person sees it, logged in with a password."""
        with httpx.Client(base_url=self.api.base_url, follow_redirects=True, timeout=60) as browser:
            form = browser.get("/admin/login/").text
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
            assert token
            login = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
            browser.post("/admin/login/", data=login)
            page = browser.get(f"/admin/deployments/deployment/{deployment_id}/details/")
            assert page.status_code == 200, page.url
            return page.text

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        """Straight from the tables, behind the product's back."""
        folder = str(socket_folder(self.instance.data_dir))
        with psycopg.connect(host=folder, dbname=DATABASE, user=USER, row_factory=dict_row) as database:
            return database.execute(sql, params).fetchall()
