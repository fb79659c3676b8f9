import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apks.binary_manifest import ANDROID, RESOURCE_IDS, Element, write_manifest
from apks.dummy_apk import dummy_apk
from apks.manifest import ManifestFacts, read_manifest
from apks.package_name import is_package_name
from apks.refusal import Refused
from tests.apks.forging import look, manifest, rsa_key


def slug(data: bytes) -> str:
    with pytest.raises(Refused) as refusal:
        read_manifest(data)
    return refusal.value.slug


def test_the_facts_are_read() -> None:
    data = manifest(
        {"versionCode": 121, "versionName": "1.0.121-d263d20"},
        {"package": "com.nexmdm"},
        {"debuggable": True},
        {"minSdkVersion": 24, "targetSdkVersion": 34},
    )
    assert read_manifest(data) == ManifestFacts("com.nexmdm", 121, "1.0.121-d263d20", 24, 34, debuggable=True)


def test_what_is_left_out_has_androids_defaults() -> None:
    data = manifest({"versionCode": 1}, None, None, {})
    assert read_manifest(data) == ManifestFacts("com.example.app", 1, "", 1, None, debuggable=False)


BAD = "manifest_invalid"
REFUSALS: dict[str, tuple[str, dict[str, Any]]] = {
    "no versionCode": (BAD, {"android": {"versionName": "1"}}),
    "versionCode 0": (BAD, {"android": {"versionCode": 0}}),
    "a versionCode beyond 31 bits": (BAD, {"android": {"versionCode": 2**31}}),
    "a versionCode that is a text": (BAD, {"android": {"versionCode": "7"}}),
    "a versionCodeMajor": (BAD, {"android": {"versionCode": 7, "versionCodeMajor": 1}}),
    "a versionName that is a number": (BAD, {"android": {"versionCode": 7, "versionName": 7}}),
    "a versionName of 256 characters": (BAD, {"android": {"versionCode": 7, "versionName": "x" * 256}}),
    "a versionName with NUL": (BAD, {"android": {"versionCode": 7, "versionName": "1\0 2"}}),
    "a versionName in two lines": (BAD, {"android": {"versionCode": 7, "versionName": "1\n2"}}),
    "no package": (BAD, {"plain": {}}),
    "a package without a dot": (BAD, {"plain": {"package": "android"}}),
    "a package with NUL": (BAD, {"plain": {"package": "com.example\0.app"}}),
    "a package that is a path": (BAD, {"plain": {"package": "../../etc.passwd"}}),
    "a minSdkVersion that is a name": (BAD, {"sdk": {"minSdkVersion": "Baklava"}}),
    "a minSdkVersion that is negative": (BAD, {"sdk": {"minSdkVersion": 2**32 - 1}}),
    "debuggable as a text": (BAD, {"application": {"debuggable": "true"}}),
    "testOnly": ("test_only", {"application": {"testOnly": True}}),
    "a split": ("split_apk", {"plain": {"package": "com.example.app", "split": "config.arm64_v8a"}}),
    "a base that needs its splits": ("split_apk", {"application": {"isSplitRequired": True}}),
    "a base whose manifest says so": ("split_apk", {"android": {"versionCode": 1, "isSplitRequired": True}}),
    "a base that names the splits it needs": (
        "split_apk",
        {"android": {"versionCode": 1, "requiredSplitTypes": "base__abi"}},
    ),
}


@pytest.mark.parametrize(("expected", "parts"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_no_device_could_install_is_refused(expected: str, parts: dict[str, Any]) -> None:
    assert slug(manifest(**parts)) == expected


TREES = {
    "another root": Element("application", {"versionCode": 1}, {"package": "com.example.app"}),
    "no application": Element("manifest", {"versionCode": 1}, {"package": "com.example.app"}),
    "two applications": Element(
        "manifest",
        {"versionCode": 1},
        {"package": "com.example.app"},
        (Element("application"), Element("application", {"testOnly": True})),
    ),
    "two uses-sdk": Element(
        "manifest",
        {"versionCode": 1},
        {"package": "com.example.app"},
        (Element("uses-sdk"), Element("uses-sdk"), Element("application")),
    ),
    "an application that is not where it should be": Element(
        "manifest",
        {"versionCode": 1},
        {"package": "com.example.app"},
        (Element("queries", children=(Element("application"),)),),
    ),
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES.keys())
def test_an_odd_tree_is_refused(tree: Element) -> None:
    assert slug(write_manifest(tree)) == "manifest_invalid"


# --- one file, two meanings ------------------------------------------------------------------------------


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


GOOD = manifest()
DOUBLE = {
    "an attribute named as another": GOOD.replace(utf16("versionCode"), utf16("versionCosy")),
    "an attribute without its resource id": GOOD.replace(
        struct.pack("<I", RESOURCE_IDS["versionCode"]), struct.pack("<I", 0)
    ),
    "an attribute with another resource id": GOOD.replace(
        struct.pack("<I", RESOURCE_IDS["versionCode"]), struct.pack("<I", 0x01010003)
    ),
    "two attributes with one resource id": GOOD.replace(
        struct.pack("<I", RESOURCE_IDS["versionName"]), struct.pack("<I", RESOURCE_IDS["versionCode"])
    ),
    "a namespace that is not Android's": GOOD.replace(utf16(ANDROID), utf16(ANDROID[:-1] + "x")),
    "attributes of another width": GOOD.replace(struct.pack("<2H", 20, 20), struct.pack("<2H", 20, 24)),
    "attributes that begin later": GOOD.replace(struct.pack("<2H", 20, 20), struct.pack("<2H", 24, 20)),
    "bytes behind the document": GOOD + b"\0" * 8,
    "a chunk of no length": GOOD[:-24] + struct.pack("<HHI", 0x0101, 16, 0) + GOOD[-16:],
    "an unknown chunk": GOOD[:-24] + struct.pack("<HHI", 0x0200, 16, 24) + GOOD[-16:],
}


@pytest.mark.parametrize("data", DOUBLE.values(), ids=DOUBLE.keys())
def test_a_manifest_that_could_mean_two_things_is_refused(data: bytes) -> None:
    assert data != GOOD
    assert slug(data) == "manifest_invalid"


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("com.nexmdm", True),
        ("com.example.App_2", True),
        ("a.b", True),
        ("nexmdm", False),
        ("", False),
        ("com..nexmdm", False),
        ("com.nexmdm.", False),
        (".com.nexmdm", False),
        ("com.2nexmdm", False),
        ("com._nexmdm", False),
        ("com.nex-mdm", False),
        ("com.nexmdm\n", False),
        ("com.nexm\u0501m", False),
        ("a." + "b" * 221, True),
        ("a." + "b" * 222, False),
    ],
)
def test_a_package_name_follows_androids_rule(name: str, valid: bool) -> None:
    assert is_package_name(name) is valid


@settings(max_examples=300, deadline=None)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 40), st.binary(max_size=40)), max_size=4
    )
)
def test_a_mutated_manifest_is_read_or_refused(cuts: list[tuple[int, int, bytes]]) -> None:
    data = GOOD
    for start, length, replacement in cuts:
        data = data[:start] + replacement + data[start + length :]
    try:
        facts = read_manifest(data)
    except Refused:
        return
    assert is_package_name(facts.package)
    assert 1 <= facts.version_code < 2**31
    assert facts.version_name.isprintable()


@settings(max_examples=100, deadline=None)
@given(
    position=st.integers(0, len(GOOD) // 4 - 1),
    value=st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x00100102, 28, 8]),
)
def test_a_manifest_with_a_number_changed_is_read_or_refused(position: int, value: int) -> None:
    data = bytearray(GOOD)
    struct.pack_into("<I", data, position * 4, value)
    try:
        read_manifest(bytes(data))
    except Refused:
        return


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert slug(data) == "manifest_invalid"


def test_native_code_says_on_which_processors_it_runs() -> None:
    key = rsa_key("a")
    data = dummy_apk("com.example.app", 1, "1", key=key, abis=["x86_64", "arm64-v8a"])
    assert look(data).abis == ("arm64-v8a", "x86_64")
    assert look(dummy_apk("com.example.app", 1, "1", key=key)).abis == ()
