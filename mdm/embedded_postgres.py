"""A PostgreSQL server of our own, for demo, development and tests; production sets `DATABASE_URL`.

One process owns the server by a file lock that the kernel frees; all others only connect to its socket.
The server stops when its owner dies. It listens on a Unix socket in a closed folder, never on TCP.
"""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import psutil
import psycopg
from django.core.exceptions import ImproperlyConfigured

from mdm.lifeline import tied
from mdm.postgres_binaries import Binaries, find_binaries
from mdm.private_folder import make_private_folder, private_folder

DATABASE = USER = "nexmdm"
SOCKET_PATH_MAX = 107
START_WITHIN = 30.0
STOP_WITHIN = 4.0
LOG_BYTES = 20_000_000


class AlreadyOwnedError(Exception):
    """Another process owns the server of this folder."""


def socket_folder(data_dir: Path) -> Path:
    """Where the server of `data_dir` puts its socket: what a client gives as host."""
    inside = data_dir / "postgres" / "run"
    fits = len(os.fsencode(inside / ".s.PGSQL.5432")) <= SOCKET_PATH_MAX
    return inside if fits else private_folder(data_dir, "run")


@dataclass(frozen=True)
class Account:
    """The user that the server runs as; PostgreSQL refuses root."""

    uid: int
    gid: int

    @property
    def switch(self) -> dict[str, Any]:
        """What `subprocess` needs to run something as this user."""
        if os.getuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_account(data: Path) -> Account:
    """Whoever owns the database already, else ourselves, else (as root) `postgres` or `nobody`."""
    if data.exists():
        return Account(data.stat().st_uid, data.stat().st_gid)
    if os.getuid() != 0:
        return Account(os.getuid(), os.getgid())
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = users.get("postgres") or users["nobody"]
    return Account(entry.pw_uid, entry.pw_gid)


class EmbeddedPostgres:
    """The server of one `data_dir`: `start`, `tend` now and then, `stop`."""

    def __init__(self, data_dir: Path, *, binaries: str = "", options: tuple[str, ...] = ()) -> None:
        self.data_dir = data_dir
        self.home = data_dir / "postgres"
        self.binaries_folder = binaries
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: BinaryIO | None = None

    def start(self) -> None:
        """Own the folder, make the database where there is none, start the server, wait until it answers.

        Raises AlreadyOwnedError where another process has it, ImproperlyConfigured where it cannot start.
        """
        self._own()
        try:
            self._start_owned()
        except BaseException:
            self.stop()
            raise

    def tend(self) -> bool:
        """Restart the server if it has died. True if it had."""
        if self.process is None or self.process.poll() is None:
            return False
        self._launch()
        return True

    def stop(self) -> None:
        """Fast shutdown; after four seconds immediate. Gives up the folder."""
        if self.process is not None:
            end(self.process)
            self.process = None
        if self._lock is not None:
            for purpose in ("run", "bin"):
                shutil.rmtree(private_folder(self.data_dir, purpose), ignore_errors=True)
            self._lock.close()
            self._lock = None

    def _own(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        lock = (self.home / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise AlreadyOwnedError from None
        self._lock = lock

    def _start_owned(self) -> None:
        found = self._find_binaries()
        self.data = self.home / f"pg{found.major}"
        self.account = server_account(self.data)
        self.binaries = self._reachable(found.folder)
        self._make_folder(socket_folder(self.data_dir), self.home)
        if not self.data.exists():
            self._initialise()
        self._launch()
        self._create_database()

    def _find_binaries(self) -> Binaries:
        made = [int(entry.name[2:]) for entry in self.home.glob("pg[0-9][0-9]")]
        found = find_binaries(self.binaries_folder, max(made, default=None))
        if found is not None:
            return found
        version = f"{max(made)} (which made the database in {self.home})" if made else "15 or newer"
        msg = (
            f"PostgreSQL {version} was not found: install it, or `pip install -r requirements-embedded.txt`,"
            " or set DATABASE_URL."
        )
        raise ImproperlyConfigured(msg)

    def _reachable(self, folder: Path) -> Path:
        """The programs, copied to a folder open to the server's user where it cannot look into their own."""
        try:
            self._run([folder / "postgres", "--version"])
        except PermissionError:
            return self._copied(folder)
        return folder

    def _copied(self, folder: Path) -> Path:
        """The whole installation, 75 MB: programs find their libraries from where they lie."""
        target = private_folder(self.data_dir, "bin")
        make_private_folder(target, 0o755, {os.getuid()})
        package = folder.parent.parent
        parts = [folder.parent, package.with_name(f"{package.name}.libs")]
        for part in filter(Path.is_dir, parts):
            copy = target / part.relative_to(package.parent)
            shutil.copytree(part, copy, symlinks=True, dirs_exist_ok=True)
        return target / folder.relative_to(package.parent)

    def _make_folder(self, folder: Path, inside: Path) -> None:
        if folder.is_relative_to(inside):
            folder.mkdir(mode=0o700, exist_ok=True)
        else:
            make_private_folder(folder, 0o700, {os.getuid(), self.account.uid})
        if os.getuid() == 0:
            os.chown(folder, self.account.uid, self.account.gid)

    def _initialise(self) -> None:
        """Made aside and moved into place: a first start that was killed half-way leaves nothing half-made."""
        draft = self.data.with_suffix(".making")
        shutil.rmtree(draft, ignore_errors=True)
        self._make_folder(draft, self.home)
        options = ["--username", USER, "--auth", "trust", "--encoding", "UTF8"]
        if "fsync=off" in self.options:
            options.append("--no-sync")
        locale = ["--lc-collate", "C", "--lc-ctype", "C.UTF-8"]
        with Opened(draft) as opened:
            done = self._run([self.binaries / "initdb", "-D", opened.path, *options, *locale], opened)
        if done.returncode != 0:
            shutil.rmtree(draft)
            msg = f"PostgreSQL could not make its database in {self.home}: {done.stderr.decode().strip()}"
            raise ImproperlyConfigured(msg)
        draft.rename(self.data)

    def _launch(self) -> None:
        self._clear_remains()
        with Opened(self.data) as data, Opened(socket_folder(self.data_dir)) as run:
            settings = [
                "listen_addresses=",
                f"unix_socket_directories={run.path}",
                "unix_socket_permissions=0700",
                "jit=off",
                *self.options,
            ]
            flags = [part for setting in settings for part in ("-c", setting)]
            with self._log() as log:
                self.process = subprocess.Popen(
                    [self.binaries / "postgres", "-D", data.path, *flags],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                    pass_fds=(data.fd, run.fd),
                    preexec_fn=tied(signal.SIGINT),  # noqa: PLW1509 - its owner has one thread
                    **self.account.switch,
                )
        self._await_answer()

    def _log(self) -> BinaryIO:
        path = self.home / "server.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _clear_remains(self) -> None:
        """End what an owner before us left in the folder, then the pid file.

        PostgreSQL refuses to start where the pid in that file belongs to any process of its user, as it
        does after most restarts of a container. Nobody lives in the folder now, so the file is stale.
        """
        for process in living_in(self.data):
            end(process)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _await_answer(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.answers():
                return
            time.sleep(0.04)
        msg = f"PostgreSQL did not start; {self.home / 'server.log'} says why."
        raise ImproperlyConfigured(msg)

    def answers(self) -> bool:
        """Whether the server takes connections now."""
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        """A connection of the server's superuser, in autocommit."""
        host = str(socket_folder(self.data_dir))
        return psycopg.connect(host=host, dbname=database, user=USER, autocommit=True)

    def _create_database(self) -> None:
        with self.connect("postgres") as connection:
            known = "SELECT FROM pg_database WHERE datname = %s"
            if connection.execute(known, [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _run(
        self, command: list[Path | str], opened: "Opened | None" = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command,
            capture_output=True,
            check=False,
            cwd="/",
            pass_fds=(opened.fd,) if opened else (),
            preexec_fn=tied(signal.SIGKILL),
            **self.account.switch,
        )


class Opened:
    """A folder held open, so that a server without rights on the folders above it still gets there.

    `path` goes through the open descriptor: as root the checkout may lie in a closed home folder, and we
    change nobody's permissions.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        self.fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        by_descriptor = sys.platform == "linux" and os.getuid() == 0
        self.path = f"/proc/self/fd/{self.fd}" if by_descriptor else str(self.folder)
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self.fd)


def living_in(folder: Path) -> list[psutil.Process]:
    """The processes whose working folder this is: a server changes into its data folder and stays there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder.resolve()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def end(process: "subprocess.Popen[bytes] | psutil.Process") -> None:
    """Fast shutdown, after four seconds an immediate one, then by force."""
    for signum, patience in ((signal.SIGINT, STOP_WITHIN), (signal.SIGQUIT, 1.0), (signal.SIGKILL, 5.0)):
        try:
            process.send_signal(signum)
            process.wait(patience)
        except psutil.NoSuchProcess:
            return
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            continue
        else:
            return
