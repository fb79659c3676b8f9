"""The far ends that the product talks to and that are not ours."""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


@dataclass(frozen=True)
class FcmAnswer:
    """One reply. `manner`: `whole` = at once; `hang` = never; `drop` = the connection is cut instead;
    `noise` = no HTTP; `drip` = a byte in 100 ms for ever, from the first header on; `drip_body` = from the
    body on."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Literal["whole", "hang", "drop", "noise", "drip", "drip_body"] = "whole"

    def encoded(self) -> tuple[bytes, bytes]:
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Length: {len(self.body)}",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode(), self.body


@dataclass(frozen=True)
class FcmRequest:
    """What arrived. `message` is the wire's, {} where the body holds none; `port` is the caller's."""

    path: str
    headers: Mapping[str, str]
    message: dict[str, Any]
    port: int


ACCEPTED = FcmAnswer(body=b'{"name": "projects/demo/messages/1"}')


def fcm_refusal(status: int, code: str, fcm_code: str = "", retry_after: str = "") -> FcmAnswer:
    """FCM's error reply: `code` is Google's (`NOT_FOUND`), `fcm_code` FCM's own detail (`UNREGISTERED`)."""
    details = [{"@type": FCM_ERROR, "errorCode": fcm_code}] if fcm_code else []
    error = {"code": status, "status": code, "message": f"refused as {fcm_code or code}", "details": details}
    headers = {"Retry-After": retry_after} if retry_after else {}
    return FcmAnswer(status, json.dumps({"error": error}).encode(), headers)


class LoopbackFcm:
    """FCM's far end on a free loopback port, for as long as the `with` lasts.

    `answers` maps a registration token (or a path, for requests that carry no message) to its reply,
    `otherwise` is everybody else's. `received` holds every request in the order of arrival.
    """

    def __init__(self) -> None:
        self.answers: dict[str, FcmAnswer] = {}
        self.otherwise = ACCEPTED
        self.received: list[FcmRequest] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def tokens(self) -> list[str]:
        return [request.message["token"] for request in self.received if request.message]

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)

    async def _close(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its reply; False = this connection is over."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request_line, *header_lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in header_lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = request_line.split()[1]
        message = json.loads(body)["message"] if path.endswith("/messages:send") else {}
        self.received.append(FcmRequest(path, headers, message, writer.get_extra_info("peername")[1]))
        return await self._reply(writer, self.answers.get(message.get("token", path), self.otherwise))

    async def _reply(self, writer: asyncio.StreamWriter, answer: FcmAnswer) -> bool:
        head, body = answer.encoded()
        if answer.manner == "hang":
            await asyncio.Event().wait()
        if answer.manner == "drop":
            return False
        if answer.manner == "noise":
            writer.write(b"\x00\xff this is no HTTP\r\n\r\n")
            return False
        if answer.manner == "drip":
            await _drip(writer, b"HTTP/1.1 200 OK\r\n")
        if answer.manner == "drip_body":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
            await _drip(writer, b"{")
        writer.write(head + body)
        await writer.drain()
        return True


async def _drip(writer: asyncio.StreamWriter, start: bytes) -> None:
    writer.write(start)
    while True:
        await asyncio.sleep(0.1)
        writer.write(b" ")
        await writer.drain()
