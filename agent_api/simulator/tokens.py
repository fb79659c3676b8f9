"""Enrolment tokens, asked for only when a device needs one."""

import asyncio
from collections.abc import Callable, Mapping

ANY_PROFILE = ""
REFETCH_AFTER_SEC = 10.0

Fetch = Callable[[], Mapping[str, str]]


class NoToken(Exception):
    """No enrolment token is to be had now; the text says why."""


class TokenBook:
    """One token per profile (a key of shops.PROFILES), or one under ANY_PROFILE for all.

    `fetch` may block (it runs in a thread) and may raise NoToken. A refused token is asked for anew,
    at most every ten seconds.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._tokens: Mapping[str, str] = {}
        self._stale = True
        self._next_fetch = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def token_for(self, profile: str) -> str:
        async with self._one_at_a_time:
            now = asyncio.get_running_loop().time()
            if self._stale and now >= self._next_fetch:
                self._next_fetch = now + REFETCH_AFTER_SEC
                self._tokens = await asyncio.to_thread(self._fetch)
                self._stale = False
        token = self._tokens.get(profile) or self._tokens.get(ANY_PROFILE)
        if token is None:
            raise NoToken(f"there is no enrolment token for the profile {profile!r}")
        return token

    def refused(self, token: str) -> None:
        """The server did not take this token."""
        if token in self._tokens.values():
            self._stale = True


def fixed(token: str) -> TokenBook:
    """The same token for every device."""
    return TokenBook(lambda: {ANY_PROFILE: token})
