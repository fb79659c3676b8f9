import signal
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from mdm.embedded_postgres import EmbeddedPostgres, socket_folder
from tests.mdm.instance import Instance, environ, eventually, free_port, kill, manage


def test_it_starts_from_nothing_stops_at_sigterm_and_finds_everything_again(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "var", ADMIN_PASSWORD="")
    with instance:
        assert instance.is_ready()
        assert "admin / " in instance.output
        for words in (["web"], ["qcluster"], ["ticker"], ["postgres", "-D"]):
            assert instance.processes(*words), words
        secret = (instance.data_dir / "secret_key").read_text()
        assert stat.S_IMODE((instance.data_dir / "secret_key").stat().st_mode) == 0o600
        instance.stop()
        assert instance.processes() == []
    again = Instance(tmp_path / "var")
    with again:
        assert "shown at the first start" in again.output
        assert (again.data_dir / "secret_key").read_text() == secret


def test_it_stops_at_sigint_although_a_script_has_started_it_in_the_background(tmp_path: Path) -> None:
    """A shell without job control starts background commands with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        instance = Instance(tmp_path / "var", "web")
        with instance:
            instance.process.send_signal(signal.SIGINT)
            instance.process.wait(10)
            assert instance.processes() == []
    finally:
        signal.signal(signal.SIGINT, before)


def test_killing_it_leaves_no_process_behind(tmp_path: Path) -> None:
    with Instance(tmp_path / "var") as instance:
        instance.process.send_signal(signal.SIGKILL)
        instance.process.wait()
        eventually(lambda: not instance.processes(), "some process outlived its supervisor", within=10)


def test_two_folders_are_two_independent_instances(tmp_path: Path) -> None:
    with (
        Instance(tmp_path / "a", "web", "worker") as first,
        Instance(tmp_path / "b", "web", "worker") as second,
    ):
        assert first.is_ready()
        assert second.is_ready()
        made = first.manage("shell", "-v0", "-c", CREATE_USER)
        assert made.returncode == 0, made.stderr
        assert first.manage("shell", "-v0", "-c", COUNT_USERS).stdout.strip() == "2"
        assert second.manage("shell", "-v0", "-c", COUNT_USERS).stdout.strip() == "1"
        first.stop()
        assert second.is_ready()


CREATE_USER = "from django.contrib.auth.models import User; User.objects.create_user('ann')"
COUNT_USERS = "from django.contrib.auth.models import User; print(User.objects.count())"


def test_with_a_database_url_it_starts_no_database_and_says_everything_itself(
    tmp_path: Path, private_postgres: EmbeddedPostgres
) -> None:
    with private_postgres.connect() as connection:
        connection.execute("CREATE DATABASE production")
    host = quote(str(socket_folder(private_postgres.data_dir)), safe="")
    url = f"postgres://nexmdm@{host}/production"
    port = str(free_port())
    given = {
        "DATABASE_URL": url,
        "SECRET_KEY": "k" * 50,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PORT": port,
    }
    with Instance(tmp_path / "var", **given) as instance:
        assert not instance.processes("postgres")
        assert "what the parts say: above" in instance.output
        assert not (tmp_path / "var").exists()
        instance.stop()
    with private_postgres.connect() as connection:
        connection.execute("DROP DATABASE production")


def test_whatever_is_killed_comes_back(tmp_path: Path) -> None:
    with Instance(tmp_path / "var") as instance:
        for words in (["qcluster"], ["ticker"], ["manage.py web"], ["postgres", "-D"]):
            before = instance.processes(*words)
            for process in before:
                kill(process)
            eventually(
                lambda words=words, before=before: set(instance.processes(*words)) - set(before),
                f"{words} did not come back",
            )
        eventually(instance.is_ready, "it did not become ready again")


def test_a_worker_killed_while_it_waits_does_not_silence_its_cluster(tmp_path: Path) -> None:
    with Instance(tmp_path / "var", "web", "worker", WORKERS="1") as instance:
        before = instance.processes("qcluster")
        main = next(one for one in before if one.ppid() == instance.process.pid)
        sentinel = main.children()[0]
        kill(sentinel.children()[0])
        eventually(
            lambda: not set(instance.processes("qcluster")) & set(before), "the damaged cluster lives on"
        )
        queued = instance.manage("shell", "-v0", "-c", RUN_A_TASK)
        assert queued.stdout.strip() == "True", queued.stderr


RUN_A_TASK = """
from django_q.tasks import async_task, result
from django_q.models import Success
task = async_task("math.isqrt", 49, save=True)
print(result(task, wait=20000) == 7)
"""


REAL = {"PUBLIC_URL": "http://127.0.0.1:8000", "SECRET_KEY": "k" * 50}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"DATABASE_URL": "postgres://x/y"}, "PUBLIC_URL is required"),
        (
            {"DATABASE_URL": "postgres://x/y", "PUBLIC_URL": "https://mdm.example.com"},
            "SECRET_KEY is required",
        ),
        (
            {"DATABASE_URL": "postgres://x/y", "PUBLIC_URL": "http://mdm.example.com", "SECRET_KEY": "k"},
            "PUBLIC_URL must be https",
        ),
        ({"FCM_ENDPOINT": "https://fcm.example.com"}, "may only be a loopback address"),
        ({"PORT": "http"}, "PORT must be a whole number from 1 to 65535"),
        ({"PORT": "65536"}, "PORT must be a whole number from 1 to 65535"),
        ({"FLEET": "9999999999"}, "FLEET must be a whole number of at least 0"),
        ({"DEMO": "maybe"}, "DEMO must be 1 or 0"),
        ({"DATA_DIR": "/etc/passwd/var"}, "DATA_DIR /etc/passwd/var cannot be used: Not a directory."),
        ({"EMAIL_URL": "mail.example.com"}, "EMAIL_URL must look like smtp+tls://"),
        ({"EMAIL_URL": "smtp://mail.example.com:none"}, "EMAIL_URL must look like smtp+tls://"),
        (REAL | {"DATABASE_URL": "nowhere"}, "DATABASE_URL must look like postgres://"),
        (REAL | {"DATABASE_URL": "mysql://host/name"}, "DATABASE_URL must look like postgres://"),
        (REAL | {"DATABASE_URL": "postgres://host"}, "DATABASE_URL must look like postgres://"),
        (REAL | {"DATABASE_URL": "postgres://host:none/name"}, "DATABASE_URL must look like postgres://"),
        ({"ENV_FILE": "/nonexistent/env"}, "ENV_FILE names /nonexistent/env, and there is no such file."),
        ({"PUSH_TRANSPORT": "fcm"}, "GOOGLE_APPLICATION_CREDENTIALS"),
        ({"HOST": "host.invalid"}, "Cannot listen on host.invalid"),
        ({"ONLINE_WITHIN_MIN": "soon"}, "ONLINE_WITHIN_MIN must be a positive number"),
        ({"POSTGRES_BIN": "/nonexistent"}, "PostgreSQL 15 or newer was not found"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_refuses_in_one_sentence(given: dict[str, str], sentence: str, tmp_path: Path) -> None:
    refused = manage("up", environment=environ(tmp_path, free_port()) | given)
    assert refused.returncode != 0
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_second_instance_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Instance(tmp_path / "var", "web", "worker") as instance:
        refused = instance.manage("up", PORT=str(free_port()))
        assert "has a running instance already" in refused.stderr
        taken = instance.manage("up")
        assert "Cannot listen on" in taken.stderr
        assert instance.is_ready()


def test_a_command_beside_a_stopped_instance_says_so_in_one_sentence(tmp_path: Path) -> None:
    refused = manage("showmigrations", environment=environ(tmp_path, free_port()))
    assert refused.returncode != 0
    assert "is the instance running?" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_folder_that_the_database_cannot_have_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("in the way")
    refused = manage("up", environment=environ(tmp_path, free_port()))
    assert refused.returncode != 0
    assert f"DATA_DIR {tmp_path} cannot be used" in refused.stderr
    assert "Traceback" not in refused.stderr
