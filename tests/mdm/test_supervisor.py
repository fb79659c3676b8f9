import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.db import connection

from mdm.models import WorkerBeat
from mdm.part import LONGEST_PAUSE_SEC, Part, pause_sec
from mdm.supervisor import Supervisor
from tests.mdm.instance import eventually, free_port

LONG_AGO = -3600.0
SLEEPER = ["shell", "-v0", "-c", "import signal; print('up', flush=True); signal.pause()"]
DEAF = [
    "shell",
    "-v0",
    "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()",
]


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    yield supervisor
    supervisor.stop()


def pid_of(part: Part) -> int:
    assert part.process is not None
    return part.process.pid


def fall_silent(part: Part) -> int:
    part.last_sign = time.monotonic() + LONG_AGO
    return pid_of(part)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["worker-1@test", "ticker-1@test"])
def test_a_part_that_fell_silent_is_ended_and_started_again(supervisor: Supervisor, name: str) -> None:
    part = Part(name, SLEEPER)
    supervisor.add(part)
    before = fall_silent(part)
    supervisor.look()
    assert not psutil.pid_exists(before)
    eventually(lambda: supervisor.look() or (part.process and pid_of(part) != before), "it did not come back")


@pytest.mark.django_db(transaction=True)
def test_a_part_that_beats_is_left_alone(supervisor: Supervisor) -> None:
    part = Part("worker-1@test", SLEEPER)
    supervisor.add(part)
    WorkerBeat.objects.create(name=part.name, part="worker")
    before = fall_silent(part)
    supervisor.look()
    assert pid_of(part) == before


@pytest.mark.django_db(transaction=True)
def test_silence_does_not_count_while_the_database_cannot_be_asked(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part("worker-1@test", SLEEPER)
    supervisor.add(part)
    before = fall_silent(part)
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "HOST", "/nonexistent")
        supervisor.look()
    assert pid_of(part) == before


@pytest.mark.django_db(transaction=True)
def test_a_web_server_that_answers_nobody_is_ended(supervisor: Supervisor, settings: object) -> None:
    settings.PORT = free_port()  # type: ignore[attr-defined]
    part = Part("web-1@test", SLEEPER)
    supervisor.add(part)
    before = fall_silent(part)
    supervisor.look()
    assert not psutil.pid_exists(before)


def test_what_ends_at_once_is_started_again_after_longer_and_longer_pauses() -> None:
    part = Part("fleet-1@test", ["no-such-command"])
    part.start()
    pids = set()
    while len(pids) < 3:
        assert part.process is not None
        pids.add(part.process.pid)
        part.process.wait()
        eventually(part.tend, "it was given up")
    part.make_sure_it_stopped(0.0)
    assert [pause_sec(deaths) for deaths in range(5)] == [0.0, 0.0, 1.0, 2.0, 4.0]
    assert pause_sec(100_000) == LONGEST_PAUSE_SEC


def test_what_does_not_listen_to_sigterm_is_ended_by_force(tmp_path: Path) -> None:
    part = Part("fleet-1@test", DEAF, tmp_path / "log")
    part.start()
    eventually(lambda: "up" in (tmp_path / "log").read_text(), "it did not start")
    before = pid_of(part)
    part.ask_to_stop()
    part.make_sure_it_stopped(time.monotonic() + 0.2)
    assert not psutil.pid_exists(before)


def test_what_it_started_itself_goes_with_it(tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); input()"
    part = Part("fleet-1@test", ["shell", "-v0", "-c", code], tmp_path / "log")
    part.start()
    eventually(lambda: (tmp_path / "log").read_text().split(), "it did not start")
    helper = psutil.Process(int((tmp_path / "log").read_text().split()[0]))
    part.make_sure_it_stopped(0.0)
    eventually(lambda: gone(helper), "its helper lives on")


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_log_that_has_grown_too_long_is_emptied_once_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mdm.part.LOG_BYTES", 10)
    log = tmp_path / "web.log"
    log.write_text("more than ten bytes")
    Part("web-1@test", [], log).tame_log()
    assert log.read_text() == ""
    assert (tmp_path / "web.log.1").read_text() == "more than ten bytes"
