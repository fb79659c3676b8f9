"""Fetches an APK as a careful agent does: streamed, resumed by Range, checked; only a digest is kept."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random

import httpx

from agent_api.simulator.command import Apk
from agent_api.simulator.pacing import Backoff, retry_after

CHUNK = 64 * 1024
HEAD_BYTES = 1024
MAX_BREAKS = 8


class DownloadFailed(Exception):
    """`code` is one of the error codes of api.md; `expired` URLs are worth a fresh one."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Broken(Exception):
    """The connection ended early; what came so far stays valid."""

    def __init__(self, wait: float | None = None) -> None:
        super().__init__("broken off")
        self.wait = wait


class Download:
    """One file. `breaks`: how often the device itself loses the connection half-way."""

    def __init__(self, client: httpx.AsyncClient, apk: Apk, rng: Random, breaks: int = 0) -> None:
        self._client, self._apk, self._rng = client, apk, rng
        self._breaks = breaks
        self._etag: str | None = None
        self._digest = hashlib.sha256()
        self.received = 0
        self._announced = 0

    async def verify(self, progress: Callable[[int], Awaitable[None]]) -> None:
        """Whole file, size and sha256. `progress` hears percents; raises DownloadFailed."""
        backoff = Backoff(self._rng, first=0.2, most=10)
        for _ in range(MAX_BREAKS + self._breaks):
            try:
                await self._pull(progress)
            except (_Broken, httpx.TransportError) as error:
                await asyncio.sleep(backoff.after_failure(getattr(error, "wait", None)))
            else:
                return self._judge()
        raise DownloadFailed("download_network", f"gave up after {self.received} bytes")

    async def head(self) -> None:
        """The first kilobyte, and the size that the server gives for the whole. Raises DownloadFailed."""
        headers = {"Range": f"bytes=0-{HEAD_BYTES - 1}", "Accept-Encoding": "identity"}
        try:
            async with self._client.stream("GET", self._apk.url, headers=headers) as response:
                _check_status(response)
                size = _whole_size(response)
                if response.status_code == 206:
                    await response.aread()
        except (_Broken, httpx.TransportError) as error:
            raise DownloadFailed("download_network", str(error)) from error
        self._check_size(size)

    async def _pull(self, progress: Callable[[int], Awaitable[None]]) -> None:
        if self.received == self._apk.size_bytes:
            return
        headers = {"Accept-Encoding": "identity"}
        if self.received and self._etag:
            headers |= {"Range": f"bytes={self.received}-", "If-Range": self._etag}
        async with self._client.stream("GET", self._apk.url, headers=headers) as response:
            _check_status(response)
            self._begin(response)
            cut = self._cut()
            async for chunk in response.aiter_raw(CHUNK):
                self._take(chunk if cut is None else chunk[: cut - self.received])
                if self.received == cut:
                    raise _Broken
                await progress(self.received * 100 // max(1, self._apk.size_bytes))
        if self.received < self._apk.size_bytes and self.received < self._announced:
            raise _Broken

    def _begin(self, response: httpx.Response) -> None:
        """206 goes on where we are; 200 starts over, as does a range that is not the one asked for."""
        continued = f"bytes {self.received}-"
        if response.status_code == 206 and not response.headers.get("Content-Range", "").startswith(
            continued
        ):
            raise DownloadFailed("download_http", "the server sent another range than it was asked for")
        if response.status_code == 200:
            self._digest, self.received = hashlib.sha256(), 0
        self._etag = response.headers.get("ETag")
        self._announced = _whole_size(response) or 0

    def _cut(self) -> int | None:
        if self._breaks <= 0:
            return None
        self._breaks -= 1
        return self.received + int((self._apk.size_bytes - self.received) * self._rng.uniform(0.1, 0.9))

    def _take(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.received += len(chunk)
        if self.received > self._apk.size_bytes:
            raise DownloadFailed("size_mismatch", f"more than {self._apk.size_bytes} bytes came")

    def _judge(self) -> None:
        self._check_size(self.received)
        if self._digest.hexdigest() != self._apk.sha256.lower():
            raise DownloadFailed("checksum_mismatch", f"sha256 is {self._digest.hexdigest()}")

    def _check_size(self, size: int | None) -> None:
        if size != self._apk.size_bytes:
            raise DownloadFailed("size_mismatch", f"{size} bytes instead of {self._apk.size_bytes}")


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status in {200, 206}:
        return
    if status in {429, 503}:
        raise _Broken(retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))
    if status in {403, 410}:
        raise DownloadFailed("url_expired", f"HTTP {status}")
    raise DownloadFailed("download_http", f"HTTP {status}")


def _whole_size(response: httpx.Response) -> int | None:
    value = response.headers.get("Content-Range", "").rpartition("/")[2]
    value = value or response.headers.get("Content-Length", "")
    return int(value) if value.isdigit() else None
