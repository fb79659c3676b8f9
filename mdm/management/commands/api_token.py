from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from mdm import api_tokens
from mdm.people import SYSTEM


class Command(BaseCommand):
    help = "Prints a new API token of a user as the only line on standard output. It is shown only now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="command line", help="What the token is for.")
        parser.add_argument("--read-only", action="store_true", help="It may look, but change nothing.")

    def handle(self, *_args: Any, username: str, name: str, read_only: bool, **_options: Any) -> None:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {username!r}.")
        _, text = api_tokens.issue(SYSTEM, user, name=name, read_only=read_only)
        self.stdout.write(text)
