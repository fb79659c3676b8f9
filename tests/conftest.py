import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings
from pytest_django.plugin import DjangoDbBlocker

from mdm.embedded_postgres import EmbeddedPostgres
from tests.fakes import LoopbackFcm

# A busy machine is no failure. One commit is always judged by the same examples; `make soak` tries new ones.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("same", hypothesis_settings.get_profile("patient"), derandomize=True)
hypothesis_settings.register_profile("new", hypothesis_settings.get_profile("patient"), max_examples=1_000)
hypothesis_settings.load_profile("same")

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@pytest.fixture(scope="session")
def private_postgres() -> Iterator[EmbeddedPostgres]:
    """A server of this session's own, so that several runs on one machine never meet."""
    server = EmbeddedPostgres(settings.DATA_DIR, binaries=settings.POSTGRES_BIN, options=FAST)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(private_postgres: EmbeddedPostgres) -> None:
    """Where pytest-django waits before it makes the test database."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Tests that need real transactions empty all tables afterwards, which the audit log refuses elsewhere."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for table in ("deployment_event", "audit_event", "audit_seal", "audit_cut"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_no_truncate")


@pytest.fixture
def fcm(settings: Settings) -> Iterator[LoopbackFcm]:
    """Commands are pushed, and this is where they arrive."""
    with LoopbackFcm() as far_end:
        settings.PUSH_TRANSPORT = "fcm"
        settings.FCM_ENDPOINT = far_end.url
        yield far_end


def pytest_unconfigure() -> None:
    shutil.rmtree(Path(settings.DATA_DIR), ignore_errors=True)
