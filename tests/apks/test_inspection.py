import hashlib
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apks import inspection
from apks.dummy_apk import dummy_apk
from apks.inspection import inspect
from apks.refusal import Refused
from tests.apks.forging import look, rsa_key, verdict

ROOT = Path(__file__).resolve().parents[2]
GOOD = dummy_apk("com.example.app", 7, "7.0", key=rsa_key("a"), abis=["arm64-v8a"])


def written(folder: Path, data: bytes) -> Path:
    path = folder / "upload.apk"
    path.write_bytes(data)
    return path


def test_the_facts_come_out_of_the_other_process_unchanged(tmp_path: Path) -> None:
    facts = inspect(written(tmp_path, GOOD))
    assert facts == look(GOOD)
    assert facts.sha256 == hashlib.sha256(GOOD).hexdigest()


def test_a_refusal_comes_out_of_the_other_process_unchanged(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        inspect(written(tmp_path, b"no APK"))
    assert refusal.value.slug == "not_an_apk"
    assert refusal.value.detail.endswith("Was the upload cut off?")


def in_the_process(code: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> object:
    """What `inspect` makes of a process that does `code` instead of reading the file."""
    monkeypatch.setattr(inspection, "_START", f"import os, sys, signal\n{code}")
    try:
        return inspect(written(folder, GOOD))
    except Refused as refused:
        return refused.slug


def test_a_process_that_is_killed_by_a_limit_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number in ("SIGKILL", "SIGXCPU", "SIGALRM", "SIGSEGV"):
        kill = (
            f"import resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), signal.{number})"
        )
        assert in_the_process(kill, monkeypatch, tmp_path) == "not_an_apk"


def test_a_process_that_hangs_is_a_refusal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inspection, "WAIT_SECONDS", 0.2)
    assert in_the_process("signal.pause()", monkeypatch, tmp_path) == "not_an_apk"


def test_a_broken_installation_is_an_error_and_not_blamed_on_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="no_such_module"):
        in_the_process("import no_such_module", monkeypatch, tmp_path)


def test_the_process_knows_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush")
    leak = "assert 'SECRET_KEY' not in os.environ; assert 'django' not in sys.modules; sys.stdout.write('{}')"
    with pytest.raises(KeyError, match="facts"):
        in_the_process(leak, monkeypatch, tmp_path)


LIMITED = "import sys; sys.path.insert(0, sys.argv[1]); from apks import examination as e; e._limit_this_process()\n"


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        pytest.param("bytearray(600 << 20)", lambda code: code == 1, id="600 MB of memory"),
        pytest.param(
            "import os; os.write(os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY), b'x')",
            lambda code: code == 1,
            id="a file to write",
        ),
        pytest.param(
            "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass",
            lambda code: code in (-signal.SIGXCPU, -signal.SIGKILL),
            id="processor time, here after one second",
        ),
        pytest.param(
            "import signal; assert signal.alarm(0) > 50; signal.setitimer(signal.ITIMER_REAL, 0.1); signal.pause()",
            lambda code: code == -signal.SIGALRM,
            id="waiting, here after a tenth of a second",
        ),
    ],
)
def test_the_process_is_denied(code: str, ended: Callable[[int], bool], tmp_path: Path) -> None:
    target = tmp_path / "written"
    command = [sys.executable, "-I", "-c", LIMITED + code, str(ROOT), str(target)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert ended(done.returncode), done
    assert not target.exists() or target.stat().st_size == 0


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    path = written(tmp_path, dummy_apk("com.example.app", 7, "7", key=rsa_key("a"), padding_bytes=150 << 20))
    tell = "\nsys.stderr.write(open('/proc/self/status').read())"
    command = [sys.executable, "-I", "-c", inspection._START + tell, str(ROOT), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = next(line for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) < 90_000, "kilobytes"


def test_the_examination_opens_no_more_than_it_closes(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    path = written(tmp_path, GOOD)
    inspect(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


# --- any bytes -------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 60), st.binary(max_size=60)), max_size=3
    )
)
def test_a_mutated_file_is_refused_or_still_says_what_was_signed(cuts: list[tuple[int, int, bytes]]) -> None:
    data = GOOD
    for start, length, replacement in cuts:
        data = data[:start] + replacement + data[start + length :]
    try:
        facts = look(data)
    except Refused:
        return
    good = look(GOOD)
    assert (facts.package, facts.version_code, facts.lineage) == (
        good.package,
        good.version_code,
        good.lineage,
    )


@settings(max_examples=200)
@given(
    position=st.integers(0, len(GOOD) - 4),
    value=st.sampled_from([0, 1, 2, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
)
def test_a_file_with_a_number_changed_is_read_or_refused(position: int, value: int) -> None:
    verdict(GOOD[:position] + value.to_bytes(4, "little") + GOOD[position + 4 :])


@given(st.binary(max_size=400))
def test_random_bytes_are_no_apk(data: bytes) -> None:
    assert verdict(data) == "not_an_apk"


@given(st.binary(max_size=200))
def test_random_bytes_with_a_sound_end_are_no_apk(data: bytes) -> None:
    end = b"PK\5\6" + b"\0" * 4 + b"\1\0\1\0" + len(data).to_bytes(4, "little") + b"\0" * 6
    assert verdict(data + end) == "not_an_apk"
