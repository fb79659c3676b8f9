"""Slows guessing of passwords and tokens. Counted in rows, so that it holds over any number of web processes.

Each limit is a leaking bucket of attempts: `burst` at once, then one every `every_sec` seconds. One row keeps when
the bucket of an account or an address will be empty again; what is older than now counts for nothing.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from django.db import connection, transaction

from mdm import audit, secret_tokens
from mdm.people import SYSTEM
from mdm.problems import TooManyAttempts

# One guess after the other, and its lock until the end of the transaction: no two count the same place.
_TAKE: Final = """
    INSERT INTO throttle AS t (scope, key, empty_at)
    VALUES (%(scope)s, %(key)s, clock_timestamp() + %(every)s * interval '1 second')
    ON CONFLICT (scope, key) DO UPDATE
    SET empty_at = greatest(t.empty_at, clock_timestamp()) + %(every)s * interval '1 second'
    WHERE t.empty_at <= clock_timestamp() + %(every)s * (%(burst)s - 1) * interval '1 second'
    RETURNING 1"""
_WAIT: Final = """
    SELECT extract(epoch FROM empty_at - clock_timestamp()) - %(every)s * (%(burst)s - 1)
    FROM throttle WHERE scope = %(scope)s AND key = %(key)s"""
_GIVE_BACK: Final = """
    UPDATE throttle SET empty_at = empty_at - %(every)s * interval '1 second'
    WHERE scope = %(scope)s AND key = %(key)s"""
_FORGET: Final = "DELETE FROM throttle WHERE scope = %(scope)s AND key = %(key)s"
# Once an hour, or the log, which nothing can be taken from, would be the attacker's to fill.
_NOTE: Final = """
    UPDATE throttle SET noted_at = clock_timestamp()
    WHERE scope = %(scope)s AND key = %(key)s
    AND (noted_at IS NULL OR noted_at < clock_timestamp() - interval '1 hour') RETURNING 1"""


@dataclass(frozen=True, slots=True)
class Limit:
    scope: str
    burst: int
    every_sec: float

    def params(self, key: str) -> dict[str, str | float]:
        return {"scope": self.scope, "key": key, "burst": self.burst, "every": self.every_sec}


# A person at one place mistypes a few times. Others at that address (a shop behind one NAT) go on.
SIGN_IN_HERE: Final = Limit("account at an address", 10, 60)
SIGN_IN_ADDRESS: Final = Limit("address", 50, 5)
# Guesses spread over many addresses. High, or strangers could keep the account's owner out.
SIGN_IN_ACCOUNT: Final = Limit("account", 100, 6)
BAD_TOKENS: Final = Limit("bad tokens from an address", 60, 1)
# Who guesses sends another one each time; a device or a script with a void one sends the same for days.
SAME_TOKEN: Final = Limit("a bad token", 1, 3600)

Key: TypeAlias = tuple[Limit, str]


@contextmanager
def guess(keys: Sequence[Key]) -> Iterator[None]:
    """A guess is counted before it is looked at, and given back where the block ends well. TooManyAttempts."""
    take(keys)
    yield
    for limit, key in keys:
        _execute(_GIVE_BACK, limit, key)


def wrong_token(network: str, given: str) -> None:
    """Counts a token that was refused; none, or the same once more within the hour, is no guess. TooManyAttempts."""
    same = f"{network} {secret_tokens.digest(given)[:32]}"
    if not given or _execute(_TAKE, SAME_TOKEN, same) is None:
        return
    try:
        take([(BAD_TOKENS, network)])
    except TooManyAttempts:
        _execute(_FORGET, SAME_TOKEN, same)  # a row for each guess would be the attacker's to fill
        raise


def take(keys: Sequence[Key]) -> None:
    """One place of each, or of none. TooManyAttempts, which says when to come back."""
    try:
        with transaction.atomic():
            for limit, key in keys:
                if _execute(_TAKE, limit, key) is None:
                    raise _refusal(limit, key)
    except _Full as full:
        _note(full)
        raise TooManyAttempts(retry_after=full.retry_after) from None


class _Full(Exception):
    def __init__(self, limit: Limit, key: str, retry_after: int) -> None:
        super().__init__(limit.scope)
        self.limit = limit
        self.key = key
        self.retry_after = retry_after


def _refusal(limit: Limit, key: str) -> _Full:
    wait = _execute(_WAIT, limit, key) or 0
    return _Full(limit, key, max(1, math.ceil(wait)))


def _note(full: _Full) -> None:
    with transaction.atomic():
        if _execute(_NOTE, full.limit, full.key) is not None:
            message = f"Too many failed attempts, slowed down: {full.limit.scope} {full.key}"
            audit.record(SYSTEM, "throttle", "throttle", message, {"key": full.key}, level="warn")


def _execute(statement: str, limit: Limit, key: str) -> float | None:
    """The one value it returns, if any."""
    with connection.cursor() as cursor:
        cursor.execute(statement, limit.params(key))
        row = cursor.fetchone() if cursor.description else None
    return float(row[0]) if row else None
