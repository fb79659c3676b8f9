"""The agent's APK: what Android's own tools and this server say of it, and that it is the same bytes each time."""

import hashlib
import re
import shutil
import zipfile
from io import BytesIO, StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from apks.agent_apk import agent_apk
from apks.examination import examine
from mdm import settings as product
from tests.agent.conftest import CODES, ROOT, ran
from tests.apks.forging import rsa_key


def badging(path: Path) -> str:
    return ran("aapt", "dump", "badging", path)


def test_apksigner_verifies_both_schemes(apks: dict[int, Path]) -> None:
    for path in apks.values():
        said = ran("apksigner", "verify", "--verbose", path)
        assert "v2 scheme (APK Signature Scheme v2): true" in said
        assert "v3 scheme (APK Signature Scheme v3): true" in said


def test_this_server_accepts_it(apks: dict[int, Path]) -> None:
    for code, path in apks.items():
        facts = examine(BytesIO(path.read_bytes()))
        assert (facts.package, facts.version_code, facts.version_name) == ("com.nexmdm", code, f"1.0.{code}")
        assert (facts.min_sdk, facts.target_sdk, facts.debuggable, facts.abis) == (26, 34, False, ())
        assert facts.schemes == ("v2", "v3")
        assert facts.signer_sha256 == hashlib.sha256(rsa_key("fleet").certificate).hexdigest()


def test_android_tools_read_what_the_manifest_means(apks: dict[int, Path]) -> None:
    said = badging(apks[121])
    assert "package: name='com.nexmdm' versionCode='121' versionName='1.0.121'" in said
    assert "sdkVersion:'26'" in said
    assert "targetSdkVersion:'34'" in said
    assert "application-label:'NexMDM'" in said
    assert "provides-component:'device-admin'" in said
    assert "launchable-activity: name='com.nexmdm.agent.app.StatusActivity'" in said


def test_it_is_small_and_its_files_lie_as_android_wants_them(unsigned: dict[int, Path]) -> None:
    for path in unsigned.values():
        assert path.stat().st_size <= 300_000
        ran("zipalign", "-c", "-p", "4", path)
        with zipfile.ZipFile(path) as archive:
            assert archive.getinfo("resources.arsc").compress_type == zipfile.ZIP_STORED
            assert [name for name in archive.namelist() if name.startswith("META-INF")] == []


def test_every_component_of_the_manifest_is_in_the_code(unsigned: dict[int, Path]) -> None:
    tree = ran("aapt", "dump", "xmltree", unsigned[121], "AndroidManifest.xml")
    named = set(re.findall(r'android:name\(\w+\)="(com\.nexmdm\.agent\.[\w.]+)"', tree))
    with zipfile.ZipFile(unsigned[121]) as archive:
        code = archive.read("classes.dex")
    assert len(named) == 8
    assert [name for name in named if f"L{name.replace('.', '/')};".encode() not in code] == []


def test_the_agent_works_before_the_first_unlock_after_a_boot(unsigned: dict[int, Path]) -> None:
    """Android starts only what says so itself; the application cannot say it for its components."""
    tree = ran("aapt", "dump", "xmltree", unsigned[121], "AndroidManifest.xml")
    parts = re.findall(
        r"E: ((?:receiver|service).*?)(?=E: (?:receiver|service|activity)|\Z)", tree, re.DOTALL
    )
    assert len(parts) == 4
    assert [
        part for part in parts if not re.search(r"directBootAware\(0x\w+\)=\(type 0x12\)0xffffffff", part)
    ] == []


def test_the_code_for_a_provisioning_names_the_admin_that_is_in_it(unsigned: dict[int, Path]) -> None:
    package, admin = product.AGENT_ADMIN_COMPONENT.split("/")
    tree = ran("aapt", "dump", "xmltree", unsigned[121], "AndroidManifest.xml")
    receivers = re.findall(r"E: receiver.*?(?=E: (?:receiver|service|activity)|\Z)", tree, re.DOTALL)
    (found,) = [part for part in receivers if "android.app.device_admin" in part]
    assert package == "com.nexmdm"
    assert f'android:name(0x01010003)="{admin}"' in found


def test_another_build_in_another_folder_gives_the_same_bytes(
    unsigned: dict[int, Path], tmp_path: Path
) -> None:
    for name in ran("git", "ls-files", "--cached", "--others", "--exclude-standard", "android-agent").split():
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    ran(
        *("mvn", "-B", "-q", "-f", tmp_path / "android-agent/pom.xml", "--projects", "app", "--also-make"),
        *("-Dmaven.test.skip=true", "-Danimal.sniffer.skip=true", "package"),
        cwd=tmp_path,
    )
    for path in unsigned.values():
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_one_key_gives_one_file_and_another_key_another(apks: dict[int, Path], tmp_path: Path) -> None:
    assert agent_apk(121, rsa_key("fleet")) == apks[121].read_bytes()
    assert agent_apk(121, rsa_key("eve")) != apks[121].read_bytes()


def test_apksigner_signs_it_the_same_each_time(unsigned: dict[int, Path], tmp_path: Path) -> None:
    """As the owner of a real fleet's key does."""
    store = tmp_path / "key.p12"
    ran(
        *(
            "keytool",
            "-genkeypair",
            "-keystore",
            store,
            "-storepass",
            "secret",
            "-alias",
            "k",
            "-keyalg",
            "RSA",
        ),
        *("-keysize", "2048", "-validity", "10000", "-dname", "CN=Test"),
    )
    for name in ("one.apk", "two.apk"):
        ran(
            *(
                "apksigner",
                "sign",
                "--ks",
                store,
                "--ks-pass",
                "pass:secret",
                "--v1-signing-enabled",
                "false",
            ),
            *("--v4-signing-enabled", "false", "--out", tmp_path / name, unsigned[121]),
        )
    assert (tmp_path / "one.apk").read_bytes() == (tmp_path / "two.apk").read_bytes()
    assert examine(BytesIO((tmp_path / "one.apk").read_bytes())).schemes == ("v2", "v3")


def test_sign_apk_signs_with_the_key_of_the_demo(unsigned: dict[int, Path], tmp_path: Path) -> None:
    said, made = StringIO(), tmp_path / "nexmdm.apk"
    with override_settings(DATA_DIR=tmp_path / "data"):
        call_command("sign_apk", str(unsigned[121]), str(made), stdout=said)
        facts = examine(BytesIO(made.read_bytes()))
        assert facts.signer_sha256 in said.getvalue()
        call_command("dummy_apk", str(tmp_path / "dummy.apk"), stdout=said)
        assert examine(BytesIO((tmp_path / "dummy.apk").read_bytes())).signer_sha256 == facts.signer_sha256
        with pytest.raises(CommandError, match="is signed already"):
            call_command("sign_apk", str(made), str(tmp_path / "again.apk"))
        with pytest.raises(CommandError, match="No such file"):
            call_command("sign_apk", str(tmp_path / "none.apk"), str(tmp_path / "again.apk"))
        (tmp_path / "text.apk").write_text("no ZIP at all")
        with pytest.raises(CommandError):
            call_command("sign_apk", str(tmp_path / "text.apk"), str(tmp_path / "again.apk"))
    assert not (tmp_path / "again.apk").exists()


def test_where_it_was_not_built_there_is_none(tmp_path: Path) -> None:
    with override_settings(BASE_DIR=tmp_path):
        assert [agent_apk(code, rsa_key("fleet")) for code in CODES] == [None, None]


def test_no_key_is_in_the_repository() -> None:
    assert ran("git", "ls-files", "*.p12", "*.jks", "*.pem", "*.keystore") == ""


@pytest.fixture(scope="module")
def manifest(unsigned: dict[int, Path]) -> str:
    return ran("aapt", "dump", "xmltree", unsigned[121], "AndroidManifest.xml")


def test_nobody_but_a_person_and_the_system_can_start_a_part_of_it(manifest: str) -> None:
    parts = re.split(r"(?=E: (?:activity|receiver|service|provider) )", manifest)[1:]
    open_to_all = []
    for part in parts:
        named = re.search(r'android:name\(\w+\)="([\w.]+)"', part)
        exported = re.search(r"android:exported\(\w+\)=\(type 0x12\)(0x\w+)", part)
        assert named, part
        assert exported, part
        guard = re.search(r'android:permission\(\w+\)="([\w.]+)"', part)
        if int(exported[1], 16):
            if guard:
                assert guard[1] == "android.permission.BIND_DEVICE_ADMIN"
            else:
                open_to_all.append(named[1])
    assert len(parts) == 7
    assert open_to_all == ["com.nexmdm.agent.app.StatusActivity"]


def test_it_is_neither_backed_up_nor_moved_nor_debugged_nor_talks_in_the_clear(
    manifest: str, unsigned: dict[int, Path]
) -> None:
    assert re.search(r"allowBackup\(\w+\)=\(type 0x12\)0x0\b", manifest)
    assert "android:debuggable" not in manifest
    assert "android:testOnly" not in manifest
    assert "android:usesCleartextTraffic" not in manifest
    kept = xml_resource("nothing_leaves", unsigned)
    assert kept.count("E: exclude") == 2 * 9
    assert re.search(r"dataExtractionRules\(\w+\)=@0x", manifest)
    network = xml_resource("network_security", unsigned)
    base, loopback = network.split("E: domain-config")
    assert re.search(r'cleartextTrafficPermitted="false"|cleartextTrafficPermitted=\(type 0x12\)0x0\b', base)
    assert re.findall(r'C: "([\w.]+)"', loopback) == ["127.0.0.1", "localhost"]


def xml_resource(name: str, unsigned: dict[int, Path]) -> str:
    return ran("aapt", "dump", "xmltree", unsigned[121], f"res/xml/{name}.xml")


def test_every_word_is_there_in_both_languages_with_the_same_places_to_fill() -> None:
    resources = ROOT / "android-agent/app/src/main/res"
    english, german = (strings(resources / folder) for folder in ("values", "values-de"))
    assert german == english - {("app_name", ())}
    layouts = (resources / "layout/status.xml").read_text()
    assert re.findall(r'android:text="(?!@string/)[^"]+"', layouts) == []


def strings(folder: Path) -> set[tuple[str, tuple[str, ...]]]:
    tree = ET.parse(folder / "strings.xml")
    return {
        (one.attrib["name"], tuple(re.findall(r"%\d\$\w", one.text or ""))) for one in tree.iter("string")
    }
