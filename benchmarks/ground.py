"""What every topic stands on: an instance of its own, on whose database Django in this process works, too."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from benchmarks import DATA_DIR
from tests.mdm.instance import Instance


@contextmanager
def running(*parts: str, **environment: str) -> Iterator[Instance]:
    """`manage.py up` with PostgreSQL's default durability; all its parts unless some are named."""
    with Instance(DATA_DIR, *parts, **environment) as instance:
        yield instance
        connection.close()
        instance.stop()
