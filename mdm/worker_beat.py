"""Proof of life of what works in the background. Silence tells more than a process list: a django-q2
cluster with a broken queue looks healthy and does nothing.
"""

import os
import socket
from collections.abc import Iterable

import psutil
from django.db import connection

EVERY_SEC = 2.0
SILENT_SEC = 40.0  # a worker may be busy with one task for Q_CLUSTER's timeout, 30 s
NAME_VARIABLE = "NEXMDM_PART"

BEAT = """
    INSERT INTO worker_beat (name, part, beat_at) VALUES (%s, %s, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET beat_at = clock_timestamp()
"""
FORGET = "DELETE FROM worker_beat WHERE beat_at < clock_timestamp() - interval '1 hour'"
AGES = "SELECT name, EXTRACT(EPOCH FROM clock_timestamp() - beat_at)::float FROM worker_beat WHERE part = %s"


def beat(part: str) -> None:
    """Say that this part is alive. `part`: worker or ticker."""
    with connection.cursor() as cursor:
        cursor.execute(BEAT, [own_name(part), part])


def own_name(part: str) -> str:
    """The name the supervisor gave to this process, else one of its own."""
    return os.environ.get(NAME_VARIABLE) or f"{part}@{socket.gethostname()}:{os.getpid()}"


def forget(names: Iterable[str]) -> None:
    """Drop the rows of parts that were stopped on purpose: their silence means nothing."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM worker_beat WHERE name = ANY(%s)", [list(names)])


def forget_the_gone() -> None:
    """Drop the rows of parts that were stopped long ago."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)


def forget_the_dead_of_this_host() -> None:
    """Drop the rows of parts whose supervisor was killed: it could not do so itself."""
    here = f"@{socket.gethostname()}:"
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM worker_beat")
        names = [name for (name,) in cursor.fetchall() if here in name]
    forget(name for name in names if not psutil.pid_exists(int(name.rpartition(":")[2])))


def ages(part: str) -> dict[str, float]:
    """Seconds since the last beat of each worker or ticker, by name."""
    with connection.cursor() as cursor:
        cursor.execute(AGES, [part])
        return dict(cursor.fetchall())


def pulse() -> None:
    """What a beating worker runs; the proof is that its result comes back through the whole cluster."""
