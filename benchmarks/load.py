"""A small HTTP load generator on loopback: a fixed number of kept connections, each with its own requests."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    token: str
    body: dict[str, Any] | None = None
    cookie: str = ""

    def encoded(self) -> bytes:
        body = json.dumps(self.body).encode() if self.body is not None else b""
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
            f"Cookie: {self.cookie}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class Load:
    """What came of it. `seconds` in all, `took` per request, `cpu` of the generator itself in seconds."""

    seconds: float = 0.0
    cpu: float = 0.0
    took: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return len(self.took) / self.seconds


class Line:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        assert self.reader is not None
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return int(head[9:12]), await self.reader.readexactly(length)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def through(port: int, lanes: Sequence[Sequence[Request]]) -> Load:
    """Each lane's requests one after the other on a connection of its own, all lanes at once."""
    load = Load()
    encoded = [[request.encoded() for request in lane] for lane in lanes]
    asyncio.run(_drive(port, encoded, load))
    return load


async def _drive(port: int, lanes: Sequence[Sequence[bytes]], load: Load) -> None:
    lines = [Line(port) for _ in lanes]
    own = psutil.Process()
    cpu, begun = sum(own.cpu_times()[:2]), time.perf_counter()
    await asyncio.gather(*(_lane(line, lane, load) for line, lane in zip(lines, lanes, strict=True)))
    load.seconds, load.cpu = time.perf_counter() - begun, sum(own.cpu_times()[:2]) - cpu
    for line in lines:
        line.close()


async def _lane(line: Line, requests: Sequence[bytes], load: Load) -> None:
    for request in requests:
        begun = time.perf_counter()
        status, _ = await line.ask(request)
        load.took.append(time.perf_counter() - begun)
        load.statuses[status] = load.statuses.get(status, 0) + 1


def one(port: int, request: Request, *, parsed: bool = True) -> tuple[int, Any, float]:
    """One request: its status, its answer (as JSON unless not `parsed`), its seconds."""

    async def ask() -> tuple[int, Any, float]:
        line = Line(port)
        begun = time.perf_counter()
        status, body = await line.ask(request.encoded())
        took = time.perf_counter() - begun
        line.close()
        return status, json.loads(body) if body and parsed else body or None, took

    return asyncio.run(ask())


async def beating(
    port: int,
    requests: Sequence[Request],
    per_second: float,
    heard: Callable[..., Any],
    took: list[float] | None = None,
) -> None:
    """One request after the other at this pace, on eight connections, whether or not answers keep up; `took`
    receives how long each was under way, in seconds."""
    lines: asyncio.Queue[Line] = asyncio.Queue()
    for _ in range(8):
        lines.put_nowait(Line(port))
    begun = time.perf_counter()
    asked: set[asyncio.Task[None]] = set()
    for number, request in enumerate(requests):
        await asyncio.sleep(max(0.0, begun + number / per_second - time.perf_counter()))
        task = asyncio.create_task(_beat(lines, request, heard, took))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)


async def _beat(
    lines: asyncio.Queue[Line], request: Request, heard: Callable[..., Any], took: list[float] | None
) -> None:
    line = await lines.get()
    begun = time.perf_counter()
    try:
        status, body = await line.ask(request.encoded())
    finally:
        lines.put_nowait(line)
    if took is not None:
        took.append(time.perf_counter() - begun)
    heard(request, status, json.loads(body) if body.startswith(b"{") else body)
