"""`manage.py drill NAME`: a rehearsal against the running product, green (exit 0) or red (exit 1)."""

import argparse
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from agent_api.drills.ground import Drill, ready
from agent_api.drills.operator import Operator, Red
from agent_api.drills.rollouts import canary_failure, failure_limit_rollback
from agent_api.drills.stops import kill_switch, lost_workers
from mdm import api_tokens
from mdm.people import SYSTEM

DRILLS: Final[Mapping[str, Drill]] = {
    "canary-failure": canary_failure,
    "failure-limit-rollback": failure_limit_rollback,
    "kill-switch": kill_switch,
    "lost-workers": lost_workers,
}
MOST_SECONDS: Final = 3_600


class Command(BaseCommand):
    help = "Rehearses a bad day against the running product, with simulated devices and a package of its own."
    requires_system_checks: list[str] = []  # what is wrong shows in the drill

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", choices=DRILLS, help="; ".join(f"{n}: {d.__doc__}" for n, d in DRILLS.items())
        )
        parser.add_argument("--server", default=f"http://{settings.HOST}:{settings.PORT}", metavar="URL")
        parser.add_argument("--user", default="", help="who drills; default: the first active superuser")
        parser.add_argument("--seconds", type=_seconds, default=300, metavar="N", help="then it is red (300)")

    def handle(self, *_: Any, name: str, server: str, user: str, seconds: int, **options: Any) -> None:
        token, text = api_tokens.issue(
            SYSTEM,
            _person(user),
            name=f"drill {name}",
            expires_at=timezone.now() + timedelta(seconds=2 * MOST_SECONDS),
        )
        operator = Operator(server, text, seconds, self._say)
        try:
            self._say(f"drill {name} against {server}")
            with ready(operator, server) as ground:
                DRILLS[name](ground)
        except Red as red:
            self._say(f"RED: {red}")
            raise CommandError(f"The drill {name} is red: {red}") from None
        finally:
            operator.close()
            api_tokens.revoke(SYSTEM, token.pk)
        self._say(f"GREEN: {name}")

    def _say(self, line: str) -> None:
        self.stdout.write(f"{timezone.localtime():%H:%M:%S} {line}")
        self.stdout.flush()


def _person(username: str) -> User:
    users = User.objects.filter(is_active=True).order_by("pk")
    found = users.filter(username=username).first() if username else users.filter(is_superuser=True).first()
    if found is None:
        raise CommandError(f"There is no active user {username!r}." if username else "There is no superuser.")
    return found


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 1 to {MOST_SECONDS}")
    return int(text)
