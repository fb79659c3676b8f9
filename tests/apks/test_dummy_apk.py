import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from apks.dummy_apk import SigningKey, dummy_apk
from apks.signing_block import V2, V3
from tests.apks.forging import (
    ANY_SDK,
    Link,
    Signer,
    apk,
    blocks_of,
    history,
    look,
    other_key,
    rsa_key,
    unsigned_apk,
    v2,
    v3,
    verdict,
    with_values,
    without_block,
)

GOLDEN = Path(__file__).parent / "golden"
A, B, EVE = (rsa_key(name) for name in ("a", "b", "eve"))
DUMMY = dummy_apk("com.example.app", 1, "1", key=A)
V2_A = v2(A, announces_v3=True)


def changed(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def rotated(*links: Link) -> bytes:
    return apk(v2=V2_A, v3=v3(B, 28, ANY_SDK, history(links)))


# apksigner is asked what it thinks of each; where we are stricter, the second part says why. RSA-PSS is not
# among them: a Java without BouncyCastle cannot verify it.
FILES: dict[str, tuple[bytes, str]] = {
    "a dummy": (DUMMY, ""),
    "a debuggable dummy with native code": (
        dummy_apk("com.example.app", 1, "1", key=A, debuggable=True, abis=["x86"], padding_bytes=3 << 20),
        "",
    ),
    **{
        path.stem: (path.read_bytes(), "")
        for path in sorted(GOLDEN.glob("*.apk"))
        if "v31" not in path.stem and path.stem not in ("two_signers", "dsa2048", "rotated_twice")
    },
    "two signers": ((GOLDEN / "two_signers.apk").read_bytes(), "one signer is enough for anybody"),
    "a certificate of keytool for DSA": (
        (GOLDEN / "dsa2048.apk").read_bytes(),
        "cryptography cannot read it",
    ),
    "RSA with SHA-512": (apk(v2=Signer(A, algorithms=(0x0104,))), ""),
    "DSA": (apk(v2=Signer(other_key("dsa"), algorithms=(0x0301,))), ""),
    "ECDSA": (apk(v2=Signer(other_key("ec"), algorithms=(0x0202,))), ""),
    "v3 without v2": (with_values(DUMMY, {V3: blocks_of(DUMMY)[V3]}), ""),
    "v2 with v3 stripped": (with_values(DUMMY, {V2: blocks_of(DUMMY)[V2]}), ""),
    "a stripped block": (without_block(DUMMY), ""),
    "a grafted block": (
        with_values(dummy_apk("com.example.app", 2, "1", key=EVE), blocks_of(DUMMY)),
        "",
    ),
    "a changed byte in the manifest": (changed(DUMMY, 100), ""),
    "a changed byte at the end": (changed(DUMMY, len(DUMMY) - 40), ""),
    "v2 and v3 of different signers": (apk(v2=V2_A, v3=v3(EVE)), ""),
    "a key that is not the certificate's": (apk(v2=Signer(A, signed_by=EVE)), ""),
    "another certificate": (apk(v2=Signer(A, certificates=(B.certificate,))), ""),
    "a digest of other content": (apk(v2=Signer(A, wrong_digest_of=(0x0103,))), ""),
    "a proven rotation": (rotated(Link(A), Link(B)), ""),
    "a rotation vouched for by the new key": (rotated(Link(A), Link(B, signed_by=B)), ""),
    "a rotation of somebody else's key": (rotated(Link(EVE), Link(B)), ""),
    "a rotation to another key": (rotated(Link(A), Link(EVE)), ""),
    "a range of versions changed outside": (apk(v2=V2_A, v3=v3(A).but(outer_range=(24, ANY_SDK))), ""),
    "no versions from 34 on": (apk(v2=V2_A, v3=v3(A, 28, 33)), "Android 14 finds v3 and no signer in it"),
    "an unknown algorithm alone": (apk(v2=Signer(A, algorithms=(0x0F00,))), ""),
    "no certificates": (apk(v2=Signer(A, certificates=())), ""),
    "no signature": (unsigned_apk(), ""),
}


def asked(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bool]]:
    """What Android's own tool says of each file, asked two at a time: it takes a JVM's start each."""
    folder = tmp_path_factory.mktemp("oracle")

    def ask(item: tuple[str, tuple[bytes, str]]) -> tuple[str, bool]:
        path = folder / f"{item[0]}.apk"
        path.write_bytes(item[1][0])
        lowest = "26" if V2 in blocks_of(item[1][0]) else "28"
        done = asked(["apksigner", "verify", "--min-sdk-version", lowest, str(path)])
        return item[0], done.returncode == 0

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        yield dict(pool.map(ask, FILES.items()))


@pytest.mark.parametrize("name", FILES)
def test_our_verdict_is_that_of_apksigner(name: str, oracle: dict[str, bool]) -> None:
    data, stricter = FILES[name]
    ours = verdict(data) == "ok"
    assert (ours, oracle[name]) == ((False, True) if stricter else (oracle[name], oracle[name]))


def test_android_tools_read_a_dummy_as_we_do(tmp_path: Path) -> None:
    path = tmp_path / "a.apk"
    path.write_bytes(dummy_apk("com.nexmdm", 121, "1.0.121-d263d20", key=A, min_sdk=24, abis=["arm64-v8a"]))
    badging = asked(["aapt", "dump", "badging", str(path)])
    assert badging.returncode == 0, badging
    assert "package: name='com.nexmdm' versionCode='121' versionName='1.0.121-d263d20'" in badging.stdout
    assert "sdkVersion:'24'" in badging.stdout
    assert "targetSdkVersion:'34'" in badging.stdout
    assert "native-code: 'arm64-v8a'" in badging.stdout
    printed = asked(["apksigner", "verify", "--print-certs", str(path)]).stdout
    assert f"certificate SHA-256 digest: {look(path.read_bytes()).signer_sha256}" in printed


def test_equal_parameters_give_equal_bytes() -> None:
    assert dummy_apk("com.example.app", 1, "1", key=A) == DUMMY
    assert dummy_apk("com.example.app", 1, "1", key=B) != DUMMY


def test_padding_makes_a_download_take_its_time() -> None:
    assert len(dummy_apk("com.example.app", 1, "1", key=A, padding_bytes=500_000)) > 500_000


def test_the_command_signs_with_one_key_each_time(tmp_path: Path) -> None:
    said = StringIO()
    with override_settings(DATA_DIR=tmp_path / "data"):
        for code in (1, 2):
            call_command("dummy_apk", str(tmp_path / f"{code}.apk"), "--code", str(code), stdout=said)
    first, second = (look((tmp_path / f"{code}.apk").read_bytes()) for code in (1, 2))
    assert first.signer_sha256 == second.signer_sha256
    assert (first.package, first.version_code, second.version_code) == ("com.nexmdm.dummy", 1, 2)
    assert (tmp_path / "data" / "dummy_signer.pem").stat().st_mode & 0o777 == 0o600
    assert "com.nexmdm.dummy 1.0.2 (2)" in said.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [["--package", "nexmdm"], ["--code", "0"], ["--code", str(2**31)]],
    ids=["a bad package", "version code 0", "a version code that is too large"],
)
def test_the_command_refuses_what_no_device_could_install(tmp_path: Path, arguments: list[str]) -> None:
    with override_settings(DATA_DIR=tmp_path), pytest.raises(CommandError):
        call_command("dummy_apk", str(tmp_path / "a.apk"), *arguments)


def test_the_command_says_where_it_cannot_write(tmp_path: Path) -> None:
    with override_settings(DATA_DIR=tmp_path), pytest.raises(CommandError, match="cannot be written"):
        call_command("dummy_apk", str(tmp_path / "no" / "a.apk"))


def test_a_kept_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    path = tmp_path / "key.pem"
    path.write_bytes(
        other_key("ec").private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(TypeError, match="no RSA key"):
        SigningKey.kept_in(path, "x")
