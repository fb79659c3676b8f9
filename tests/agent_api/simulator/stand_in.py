"""A far end for the simulated fleet alone: it hands out what a test puts in and writes down what comes."""

import asyncio
import contextlib
import hashlib
import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

APK = bytes(range(256)) * 1200
SHA256 = hashlib.sha256(APK).hexdigest()
SIGNER = "ab" * 32


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class StandIn:
    """`commands[device_id]` waits for the next heartbeat and is handed out until a report comes.

    `scripted[route]` are answers to give first; healthz, enroll, heartbeat, confirm, status, artifact.
    `gone[device_id]` makes the device's own GET a 410 with that reason. `bodies[route]` and `seen` keep all;
    `arrived` rings at each request.
    """

    def __init__(self) -> None:
        self.devices: dict[str, int] = {}
        self.commands: dict[int, dict[str, Any]] = {}
        self.gone: dict[int, str] = {}
        self.scripted: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self.bodies: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.seen: Counter[str] = Counter()
        self.interval = 0.05
        self.cancel = False
        self.arrived = asyncio.Event()
        self._acknowledged: set[int] = set()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def send(self, device_id: int, *, code: int = 121, attempt: int = 1, **changes: Any) -> None:
        """Puts a command in for the device."""
        apk = {
            "package": "com.nexmdm",
            "version_code": code,
            "version_name": f"1.0.{code}",
            "url": f"{self.url}/v1/artifacts/{SHA256}.apk?signature=x",
            "sha256": SHA256,
            "size_bytes": len(APK),
            "signer_sha256": [SIGNER],
        }
        constraints = {"wifi_only": True, "min_battery": 40, "charging_only": False, "min_free_mb": 200}
        self._acknowledged.discard(device_id)
        self.commands[device_id] = {
            "action": "deploy_apk",
            "schema": 1,
            "deployment_id": 7,
            "device_id": device_id,
            "attempt": attempt,
            "issued_at": "2030-01-01T00:00:00+00:00",
            "expires_at": "2030-01-01T00:10:00+00:00",
            "apk": apk | changes.pop("apk", {}),
            "constraints": constraints | changes.pop("constraints", {}),
            "window": None,
            "install_mode": "update",
            "post_install": {"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {}}},
        } | changes

    def statuses(self) -> list[str]:
        return [body["status"] for body in self.bodies["status"]]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                await self._serve_one(reader, writer)
        writer.close()
        self._connections.discard(task)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((method, path, headers))
        self.arrived.set()
        answer = self._answer(path.partition("?")[0], headers, json.loads(raw) if raw else {})
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        given = {"Content-Length": str(len(content))} | answer.headers
        lines = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {value}" for name, value in given.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await writer.drain()

    def _answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        device_id = int((re.findall(r"devices/(\d+)", path) or ["0"])[0])
        route = path.rpartition("/")[2] if "artifacts" not in path else "artifact"
        route = "confirm" if route.isdigit() else route
        self.seen[route] += 1
        self.bodies[route].append(body)
        if self.scripted[route]:
            return self.scripted[route].popleft()
        if route == "artifact":
            return _artifact(headers)
        if route == "healthz":
            return Answer(200, {})
        act: Callable[[int, dict[str, Any]], Answer] = getattr(self, f"_{route}")
        return act(device_id, body)

    def _heartbeat(self, device_id: int, _: dict[str, Any]) -> Answer:
        waiting = device_id in self.commands and device_id not in self._acknowledged
        commands = [self.commands[device_id]] if waiting else []
        return Answer(200, {"checkin_interval_sec": self.interval, "commands": commands})

    def _confirm(self, device_id: int, _: dict[str, Any]) -> Answer:
        if device_id in self.gone:
            return Answer(410, {"status": "skipped", "reason": self.gone[device_id]})
        return Answer(200, self.commands[device_id] | {"window_open": True})

    def _status(self, device_id: int, body: dict[str, Any]) -> Answer:
        self._acknowledged.add(device_id)
        final = body["status"] in {"succeeded", "failed", "skipped"}
        fields = {"status": body["status"], "attempt": body["attempt"], "final": final}
        return Answer(200, fields | {"cancel": self.cancel and not final})

    def _enroll(self, _: int, body: dict[str, Any]) -> Answer:
        device_id = self.devices.setdefault(body["serial"], len(self.devices) + 1)
        fields = {"device_id": device_id, "device_token": f"secret-{device_id}"}
        return Answer(201, fields | {"checkin_interval_sec": self.interval})


def _artifact(headers: dict[str, str]) -> Answer:
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
    if not asked:
        return Answer(200, APK, {"ETag": '"e"'})
    first, last = int(asked[1]), int(asked[2] or len(APK) - 1)
    content_range = f"bytes {first}-{last}/{len(APK)}"
    return Answer(206, APK[first : last + 1], {"ETag": '"e"', "Content-Range": content_range})
