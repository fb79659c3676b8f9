import multiprocessing
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from django.core.exceptions import ImproperlyConfigured

from mdm.embedded_postgres import AlreadyOwnedError, EmbeddedPostgres, living_in, socket_folder
from mdm.postgres_binaries import Binaries, find_binaries, wheel_folder
from tests.mdm.instance import eventually

FAST = ("fsync=off",)
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Closed to every other user, as a home folder is."""
    with tempfile.TemporaryDirectory(prefix="nexmdm-") as path:
        yield Path(path)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder / "var", options=FAST)
    yield server
    server.stop()


SYSTEM = find_binaries() or Binaries(Path(), 0)


def wheel() -> str:
    found = wheel_folder()
    assert found is not None, "pip install --no-deps -r requirements-embedded.txt"
    return str(found)


def remember(server: EmbeddedPostgres, text: str) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memory (text text)")
        connection.execute("INSERT INTO memory VALUES (%s)", [text])


def remembered(server: EmbeddedPostgres) -> list[str]:
    with server.connect() as connection:
        return [row[0] for row in connection.execute("SELECT text FROM memory ORDER BY text")]


def pid_of(server: EmbeddedPostgres) -> int:
    assert server.process is not None
    return server.process.pid


@pytest.mark.parametrize("binaries", ["", wheel], ids=["the system's programs", "a wheel's programs"])
def test_it_keeps_data_from_start_to_start(folder: Path, binaries: str | Callable[[], str]) -> None:
    server = EmbeddedPostgres(
        folder / "var", binaries=binaries if isinstance(binaries, str) else binaries(), options=FAST
    )
    for word in ("first", "second"):
        server.start()
        remember(server, word)
        server.stop()
    server.start()
    assert remembered(server) == ["first", "second"]
    server.stop()


def test_a_first_start_that_was_killed_half_way_is_done_again(server: EmbeddedPostgres) -> None:
    half = server.home / f"pg{SYSTEM.major}.making"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("half")
    server.start()
    assert server.answers()
    assert not half.exists()


def test_programs_that_the_servers_user_cannot_reach_are_copied(folder: Path) -> None:
    """As root, from a checkout in root's home. As anybody else the programs are run where they are."""
    original = Path(wheel()).parent
    installation = folder / original.parent.name / original.name
    shutil.copytree(original, installation, symlinks=True)
    libraries = f"{original.parent.name}.libs"
    shutil.copytree(original.parent.with_name(libraries), folder / libraries)
    before = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.parents)]
    server = EmbeddedPostgres(folder / "var", binaries=str(installation / "bin"), options=FAST)
    server.start()
    assert server.answers()
    server.stop()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.parents)] == before


def test_it_listens_for_its_owner_alone_and_never_on_tcp(server: EmbeddedPostgres) -> None:
    server.start()
    for path in (server.data, socket_folder(server.data_dir)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert psutil.Process(pid_of(server)).net_connections("inet") == []


def test_a_long_path_gets_a_short_socket(folder: Path) -> None:
    server = EmbeddedPostgres(folder / ("long" * 20) / "var", options=FAST)
    server.start()
    assert server.answers()
    server.stop()


def test_a_folder_planted_where_the_socket_goes_is_refused(folder: Path) -> None:
    data_dir = folder / ("long" * 20) / "var"
    planted = socket_folder(data_dir)
    planted.symlink_to(folder)
    with pytest.raises(ImproperlyConfigured, match="belongs to somebody else"):
        EmbeddedPostgres(data_dir, options=FAST).start()
    planted.unlink()


def test_a_killed_server_is_started_again_and_has_lost_nothing(server: EmbeddedPostgres) -> None:
    server.start()
    remember(server, "kept")
    os.kill(pid_of(server), signal.SIGKILL)
    eventually(server.tend, "nobody noticed")
    assert remembered(server) == ["kept"]
    assert not server.tend()


def test_one_folder_has_one_owner(server: EmbeddedPostgres) -> None:
    server.start()
    with pytest.raises(AlreadyOwnedError):
        EmbeddedPostgres(server.data_dir).start()
    assert server.answers()


def test_when_its_owner_is_killed_it_shuts_down_and_the_next_owner_starts_it(
    server: EmbeddedPostgres,
) -> None:
    ready = FORK.Event()
    owner = FORK.Process(target=own, args=(server, ready))
    owner.start()
    assert ready.wait(30)
    owner.kill()
    owner.join()
    server.start()
    assert remembered(server) == ["from the first owner"]
    ours = {child.pid for child in psutil.Process().children()}  # its helpers come and go
    assert len(ours & {one.pid for one in living_in(server.data)}) == 1


def own(server: EmbeddedPostgres, ready: object) -> None:
    server.start()
    remember(server, "from the first owner")
    ready.set()  # type: ignore[attr-defined]
    signal.pause()


def test_a_stale_pid_file_that_names_somebody_elses_process_harms_nobody(server: EmbeddedPostgres) -> None:
    server.start()
    pid_file = server.data / "postmaster.pid"
    content = pid_file.read_text().splitlines()
    server.stop()
    stranger = subprocess.Popen(["cat"], stdin=subprocess.PIPE, **server.account.switch)
    pid_file.write_text("\n".join([str(stranger.pid), *content[1:]]) + "\n")
    os.chown(pid_file, server.account.uid, server.account.gid)
    server.start()
    assert server.answers()
    assert stranger.poll() is None
    stranger.communicate()


def test_a_database_of_another_major_version_is_not_silently_replaced(folder: Path) -> None:
    old = folder / "var" / "postgres" / "pg14"
    old.mkdir(parents=True)
    (old / "PG_VERSION").write_text("14\n")
    with pytest.raises(ImproperlyConfigured, match=r"PostgreSQL 14 \(which made the database"):
        EmbeddedPostgres(folder / "var").start()


def test_a_plain_user_can_run_it() -> None:
    """Root's tests try it as `nobody`; anybody else is a plain user already."""
    folder = Path(tempfile.mkdtemp(prefix="nexmdm-"))
    nobody = pwd.getpwnam("nobody")
    if os.getuid() == 0:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    child = FORK.Process(target=run_as_plain_user, args=(folder, nobody.pw_uid, nobody.pw_gid))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert (folder / "postgres" / "lock").stat().st_uid != 0
    shutil.rmtree(folder)


def run_as_plain_user(folder: Path, uid: int, gid: int) -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.chdir("/")
    server = EmbeddedPostgres(folder, options=FAST)
    server.start()
    remember(server, "plain")
    assert remembered(server) == ["plain"]
    server.stop()


def test_the_system_is_asked_before_the_wheel() -> None:
    found = find_binaries()
    assert found is not None
    assert str(found.folder) != wheel() or not shutil.which("postgres")
    assert find_binaries(wanted=14) is None
