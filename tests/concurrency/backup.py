"""A backup and its restore, by the programs and in the order that the manual names."""

import shutil
import subprocess
from pathlib import Path

from mdm.embedded_postgres import DATABASE, USER, EmbeddedPostgres, socket_folder
from mdm.postgres_binaries import find_binaries

LEFT_OUT = ("postgres", "log", "audit_head")  # the dump holds it, nobody needs it, it is of a later moment


def dump(data_dir: Path, file: Path) -> None:
    """The database as it is now, while everything runs."""
    _pg("pg_dump", "--format=custom", f"--file={file}", data_dir)


def restore(here: Path, elsewhere: Path, file: Path) -> None:
    """Files first: artifacts, keys. Then the dump, into a new database."""
    shutil.copytree(here, elsewhere, ignore=shutil.ignore_patterns(*LEFT_OUT))
    server = EmbeddedPostgres(elsewhere)
    server.start()
    try:
        _pg("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={DATABASE}", elsewhere, str(file))
    finally:
        server.stop()


def _pg(program: str, *options: str | Path) -> None:
    """The program against the database of the one folder among the options."""
    binaries = find_binaries()
    assert binaries is not None
    words = [str(option) for option in options if isinstance(option, str)]
    (folder,) = (option for option in options if isinstance(option, Path))
    where = ["-h", str(socket_folder(folder)), "-U", USER]
    database = [DATABASE] if program == "pg_dump" else []
    subprocess.run([binaries.folder / program, *where, *words, *database], check=True, timeout=120)
