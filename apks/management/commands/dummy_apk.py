from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apks.agent_apk import demo_key
from apks.dummy_apk import dummy_apk
from apks.package_name import is_package_name


class Command(BaseCommand):
    help = "Writes a tiny signed APK for a first trial. Each call signs with the same key, kept in DATA_DIR."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--package", default="com.nexmdm.dummy", help="default: com.nexmdm.dummy")
        parser.add_argument("--code", type=int, default=1, help="version code, default: 1")

    def handle(self, *_args: Any, **options: Any) -> None:
        file, package, code = options["file"], options["package"], options["code"]
        if not is_package_name(package):
            raise CommandError(f"{package} is no package name that Android accepts, such as com.example.app.")
        if not 1 <= code < 2**31:
            raise CommandError("The version code must be between 1 and 2147483647.")
        try:
            file.write_bytes(dummy_apk(package, code, f"1.0.{code}", key=demo_key()))
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
        self.stdout.write(f"{file}: {package} 1.0.{code} ({code})")
