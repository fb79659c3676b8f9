"""/v1/agent over HTTP, as api.md has it. Whatever a server answers becomes a Reply; nothing here raises."""

import json
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from agent_api.simulator.lanes import Lanes
from agent_api.simulator.pacing import retry_after

TIMEOUT = httpx.Timeout(30, connect=5)
MAX_ANSWER_BYTES = 1_000_000
DOWNLOAD_LANES = 32


@dataclass(frozen=True, slots=True)
class Reply:
    """`status` 0: no answer at all. `body` is empty where the answer was no JSON object."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def try_again(self) -> bool:
        """The server is away, busy or broken: the same request may be sent again."""
        return self.status in {0, 408, 425, 429} or self.status >= 500


class AgentApi:
    """The HTTP side of all devices: a client for calls, one for downloads, so that neither starves."""

    def __init__(self, server: str, connections: int) -> None:
        trust = ssl.create_default_context()
        self._calls = httpx.AsyncClient(
            base_url=server, timeout=TIMEOUT, transport=Lanes(connections, trust), trust_env=False
        )
        self.downloads = httpx.AsyncClient(
            timeout=TIMEOUT, transport=Lanes(DOWNLOAD_LANES, trust), trust_env=False, max_redirects=3
        )

    async def close(self) -> None:
        await self._calls.aclose()
        await self.downloads.aclose()

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str | None = None
    ) -> Reply:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._calls.stream(method, path, json=body, headers=headers) as response:
                return await _read(response)
        except (httpx.HTTPError, httpx.InvalidURL):
            return Reply(0)

    async def server_is_up(self) -> bool:
        return (await self.request("GET", "/healthz")).ok


async def _read(response: httpx.Response) -> Reply:
    told = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            return Reply(response.status_code, {}, told)
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    return Reply(response.status_code, body if isinstance(body, dict) else {}, told)


def server_problem(server: str) -> str | None:
    """Why this cannot be the address of a server; None where it can."""
    try:
        parts = urlsplit(server)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        port_ok = False
    if not port_ok or parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"{server!r} is not the address of a server; it looks like http://127.0.0.1:8000."
    return None
