import hashlib
import io
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apks.agent_apk import demo_key
from apks.dummy_apk import signed
from apks.refusal import Refused
from apks.signing_block import read_block
from apks.zip_directory import find_layout


class Command(BaseCommand):
    help = (
        "Signs an unsigned APK (v2 and v3) with this instance's demo key, kept in DATA_DIR. For a lab only."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("unsigned", metavar="UNSIGNED", type=Path)
        parser.add_argument("signed", metavar="SIGNED", type=Path)

    def handle(self, *_args: Any, **options: Any) -> None:
        key = demo_key()
        try:
            options["signed"].write_bytes(signed(_unsigned(options["unsigned"]), key))
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from None
        certificate = hashlib.sha256(key.certificate).hexdigest()
        self.stdout.write(f"{options['signed']}: signed by {certificate}")


def _unsigned(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        file = io.BytesIO(data)
        if read_block(file, find_layout(file)) is None:
            return data
    except Refused as refused:
        raise CommandError(f"{path}: {refused.detail}") from None
    raise CommandError(f"{path} is signed already.")
