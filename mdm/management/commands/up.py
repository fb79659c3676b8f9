import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import run_checks
from django.core.management import get_commands
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mdm.agent_build import sim_command
from mdm.embedded_postgres import AlreadyOwnedError, EmbeddedPostgres
from mdm.environment import in_url
from mdm.first_start import prepare
from mdm.lifeline import die_with_parent
from mdm.part import Part
from mdm.supervisor import Supervisor, local_host, web_answers

PARTS = ("web", "worker", "ticker", "fleet")
READY_WITHIN_SEC = 120.0


class Command(BaseCommand):
    help = "Starts this instance and keeps it running until Ctrl-C or SIGTERM."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
        parser.add_argument(
            "--with-parent", action="store_true", help="stop when the process that called this one is gone"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # SIGINT, too: a shell's background commands begin with it ignored.
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.default_int_handler)
        if options["with_parent"]:
            die_with_parent(signal.SIGTERM, os.getppid())
        self.only: list[str] = options["only"]
        self.supervisor = Supervisor(self.say)
        try:
            self.run()
        except KeyboardInterrupt:
            self.say("Stopping …")
        finally:
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, signal.SIG_IGN)
            self.supervisor.stop()
        self.say("Stopped.")

    def run(self) -> None:
        login = ""
        refuse_what_no_part_would_take()
        if "web" in self.only:
            refuse_taken_port()
        if self.only != ["fleet"]:
            self.start_database()
            login = prepare(self.say)
        self.start_parts()
        self.await_ready()
        self.start_fleet()
        if "web" in self.only:
            self.say(banner(login))
        while True:
            self.supervisor.look()

    def start_database(self) -> None:
        if not settings.EMBEDDED:
            return
        self.say(f"Starting the database in {settings.DATA_DIR} …")
        database = EmbeddedPostgres(settings.DATA_DIR, binaries=settings.POSTGRES_BIN)
        try:
            database.start()
        except AlreadyOwnedError:
            if len(self.only) == len(PARTS):
                msg = f"{settings.DATA_DIR} has a running instance already; another needs its own DATA_DIR."
                raise CommandError(msg) from None
        except OSError as error:
            msg = f"DATA_DIR {settings.DATA_DIR} cannot be used: {error.strerror}."
            raise CommandError(msg) from None
        else:
            self.supervisor.database = database

    def start_parts(self) -> None:
        count = {"web": 1, "worker": settings.WORKERS, "ticker": 1}
        command = {"web": "web", "worker": "qcluster", "ticker": "ticker"}
        for kind in ("worker", "ticker", "web"):
            if kind in self.only:
                for number in range(1, count[kind] + 1):
                    self.start_part(f"{kind}-{number}", [command[kind]])

    def start_fleet(self) -> None:
        wanted = "fleet" in self.only and settings.FLEET > 0
        if not wanted or "fleet" not in get_commands():
            return
        server = f"http://{address()}" if "web" in self.only else settings.PUBLIC_URL
        cores = min(settings.CORE_AGENTS, settings.FLEET // 5) if sim_command() else 0
        for kind, devices in (("fleet", settings.FLEET - cores), ("core_agents", cores)):
            if devices:
                self.start_part(f"{kind}-1", [kind, "--devices", str(devices), "--server", server])

    def start_part(self, name: str, arguments: list[str]) -> None:
        """Names are unique among all hosts, because the beats of all are in one table."""
        self.supervisor.add(Part(f"{name}@{socket.gethostname()}:{os.getpid()}", arguments, log_file(name)))

    def await_ready(self) -> None:
        if "web" not in self.only:
            return
        self.say(
            "Waiting until web and workers are ready …" if "worker" in self.only else "Waiting for web …"
        )
        path = "/readyz" if "worker" in self.only else "/healthz"
        deadline = time.monotonic() + READY_WITHIN_SEC
        while not web_answers(path):
            if time.monotonic() > deadline:
                raise CommandError(f"Not ready after {READY_WITHIN_SEC:.0f} s; see {what_parts_say()}.")
            self.supervisor.look()

    def say(self, text: str) -> None:
        """To whoever still reads; that nobody does is no reason to stop."""
        with suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()


def address() -> str:
    return f"{in_url(local_host())}:{settings.PORT}"


def log_file(name: str) -> Path | None:
    """A file beside the embedded database; in production our own output, for the service manager to keep."""
    if not settings.EMBEDDED:
        return None
    folder: Path = settings.DATA_DIR / "log"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.log"


def what_parts_say() -> str:
    """Where it is found; see `log_file`."""
    return str(settings.DATA_DIR / "log") if settings.EMBEDDED else "above"


def refuse_what_no_part_would_take() -> None:
    """Each part checks this for itself; said here it is one sentence and not a part that starts again and again."""
    wrong = [found.msg for found in run_checks() if found.is_serious()]
    if wrong:
        raise CommandError(" ".join(wrong))


def refuse_taken_port() -> None:
    """Say it now, in a sentence, rather than restart a web server that cannot listen."""
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.HOST, settings.PORT))
        except OSError as error:
            msg = f"Cannot listen on {settings.HOST}:{settings.PORT} ({error.strerror}); set PORT or HOST."
            raise CommandError(msg) from None


def banner(login: str) -> str:
    first = "open APK versions and press Deploy beside a version" if settings.DEMO else "upload an APK"
    return (
        f"\nReady.\n  Open   {settings.PUBLIC_URL}/admin/\n  Login  {login}\n  First  {first}.\n"
        f"  Stop   Ctrl-C   (what the parts say: {what_parts_say()})\n"
    )
