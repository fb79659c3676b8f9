"""What must be there before the parts of an instance can work. Every step may be repeated."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command, get_commands
from django.db import Error, connection
from django_q.models import Schedule

from mdm.health import unapplied_migrations
from mdm.postgres_binaries import OLDEST
from mdm.worker_beat import forget_the_dead_of_this_host, forget_the_gone

Say = Callable[[str], None]

PREPARING_LOCK = 0x6E65786E
DATABASE_WITHIN_SEC = 60.0
ADMIN = "admin"


def prepare(say: Say) -> str:
    """Migrate, make the first superuser, the sweep and the demo. Returns how to log in, as a sentence part.

    Several hosts may start at once: one prepares, the others wait for it.
    """
    await_database(say)
    with prepared_by_one():
        if unapplied_migrations():
            say("Migrating the database …")
            call_command("migrate", interactive=False, verbosity=0)
        forget_the_gone()
        forget_the_dead_of_this_host()
        schedule_jobs()
        login = ensure_admin()
        seed_demo(say)
    connection.close()
    return login


def await_database(say: Say) -> None:
    """Return once it answers; refuse after a minute, or where it is too old."""
    deadline = time.monotonic() + DATABASE_WITHIN_SEC
    said = False
    while True:
        try:
            connection.ensure_connection()
        except Error as error:
            if time.monotonic() > deadline:
                msg = f"The database cannot be reached: {str(error).strip()}"
                raise ImproperlyConfigured(msg) from None
            if not said:
                say("Waiting for the database …")
                said = True
            time.sleep(0.5)
        else:
            break
    if connection.pg_version < OLDEST * 10_000:  # type: ignore[attr-defined]
        msg = f"PostgreSQL {OLDEST} or newer is needed; DATABASE_URL leads to an older one."
        raise ImproperlyConfigured(msg)


@contextmanager
def prepared_by_one() -> Iterator[None]:
    """One process at a time in the whole installation."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [PREPARING_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [PREPARING_LOCK])


def ensure_admin() -> str:
    """The superuser `admin`, made once. Its password is kept as a hash only, so it is shown only now."""
    if User.objects.filter(username=ADMIN).exists():
        return (
            f"{ADMIN}, with the password given or shown at the first start"
            f" (forgotten? manage.py changepassword {ADMIN})"
        )
    password = settings.ADMIN_PASSWORD or secrets.token_urlsafe(12)
    User.objects.create_superuser(ADMIN, password=password)
    if settings.ADMIN_PASSWORD:
        return f"{ADMIN}, with the password in ADMIN_PASSWORD"
    return f"{ADMIN} / {password}   (shown only now, not stored)"


def schedule_jobs() -> None:
    """Once a minute, what the ticker and the bells may have missed; once an hour, what may go."""
    for name, act in (("sweep", "deployments.tasks.sweep"), ("watch", "mdm.watch.rounds.keep")):
        defaults = {"func": act, "schedule_type": Schedule.MINUTES, "minutes": 1}
        Schedule.objects.get_or_create(name=name, defaults=defaults)
    for name, act in (("tidy", "deployments.tasks.tidy"), ("cut", "mdm.watch.cutting.keep")):
        every_hour = {"func": act, "schedule_type": Schedule.HOURLY}
        Schedule.objects.get_or_create(name=name, defaults=every_hour)


def seed_demo(say: Say) -> None:
    """Demo packages, APKs, tags and the flag, if this instance is a demo."""
    if settings.DEMO and "seed_demo" in get_commands():
        say("Preparing the demo …")
        call_command("seed_demo")
