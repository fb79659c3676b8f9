"""The baseline: the very statements of the product, with the very parameters, replayed by plain psycopg.

They are recorded from the product's own code in a transaction that is rolled back, so the replay meets the
rows as they were. Savepoints of the recording were transactions in earnest and are replayed as such.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
from django.db import connection, transaction

Statement = tuple[str, Any]
PATIENCE_SEC = 60.0


@dataclass(frozen=True)
class Replayed:
    """`cpu`: seconds of all processes that replayed."""

    seconds: float
    cpu: float


class _RolledBack(Exception):
    pass


def record(act: Callable[[], object]) -> list[Statement]:
    """The statements of one act; nothing of it stays."""
    seen: list[Statement] = []
    with rolled_back(), connection.execute_wrapper(_recorder(seen)):
        act()
    return [(_in_earnest(sql), params or None) for sql, params in seen]


@contextmanager
def rolled_back() -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
            raise _RolledBack
    except _RolledBack:
        pass


def _recorder(seen: list[Statement]) -> Callable[..., Any]:
    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append((sql, params))
        return execute(sql, params, many, context)

    return wrapper


def retold(act: Sequence[Statement], values: Mapping[object, object]) -> list[Statement]:
    """The same act with other values: numbers that are equal, and texts that hold the old ones."""
    return [(sql, _exchanged(params, values)) for sql, params in act]


def _exchanged(value: Any, values: Mapping[object, object]) -> Any:
    if isinstance(value, dict):
        return {name: _exchanged(part, values) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_exchanged(part, values) for part in value]
    if isinstance(value, str):
        for old, new in values.items():
            value = value.replace(str(old), str(new))
        return value
    return values.get(value, value) if isinstance(value, int) else value


def _in_earnest(sql: str) -> str:
    if sql.startswith("SAVEPOINT"):
        return "BEGIN"
    if sql.startswith("RELEASE SAVEPOINT"):
        return "COMMIT"
    return sql


def replay(acts: Sequence[list[Statement]], connections: int = 4) -> Replayed:
    """All acts, dealt out over so many processes with one connection each, as fast as they go."""
    context = multiprocessing.get_context("fork")
    connection.close()
    ready = context.Barrier(connections + 1, timeout=PATIENCE_SEC)
    done = context.Barrier(connections + 1, timeout=PATIENCE_SEC)
    workers = [
        context.Process(target=_work, args=(acts[number::connections], ready, done), daemon=True)
        for number in range(connections)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    cpu, begun = _cpu(workers), time.perf_counter()
    done.wait()
    answer = Replayed(time.perf_counter() - begun, _cpu(workers) - cpu)
    done.wait()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0, "the replay failed"
    return answer


def _work(acts: Sequence[list[Statement]], ready: Any, done: Any) -> None:
    database = connection.settings_dict
    address = {"host": database["HOST"], "user": database["USER"], "dbname": database["NAME"]}
    with psycopg.connect(autocommit=True, **address) as plain:
        ready.wait()
        for act in acts:
            for sql, params in act:
                cursor = plain.execute(sql, params)
                if cursor.description:
                    cursor.fetchall()
        done.wait()
        done.wait()


def _cpu(workers: Sequence[Any]) -> float:
    return sum(sum(psutil.Process(worker.pid).cpu_times()[:2]) for worker in workers)
