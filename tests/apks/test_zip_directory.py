import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import pytest

from apks.dummy_apk import signed
from apks.refusal import Refused
from apks.zip_directory import find_layout, read_directory
from tests.apks.forging import manifest, rsa_key, unsigned_apk, verdict

KEY = rsa_key("a")


def zip_of(entries: Iterable[tuple[str | zipfile.ZipInfo, bytes]], **options: Any) -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w", **options) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of a repeated name, which is what is wanted here
        for name, data in entries:
            archive.writestr(name, data)
    return target.getvalue()


def with_name(name: str) -> bytes:
    return zip_of([("AndroidManifest.xml", manifest()), (name, b"")])


HOSTILE = {
    "two manifests": zip_of([("AndroidManifest.xml", manifest()), ("AndroidManifest.xml", manifest())]),
    "an absolute name": with_name("/etc/passwd"),
    "an absolute name the other way round": with_name("\\windows"),
    "a name that climbs": with_name("assets/../../evil"),
    "a name that climbs the other way round": with_name("assets\\..\\evil"),
    "no manifest": zip_of([("classes.dex", b"dex")]),
}


@pytest.mark.parametrize("unsigned", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_directory_is_refused_though_it_is_signed(unsigned: bytes) -> None:
    assert verdict(signed(unsigned, KEY)) == "not_an_apk"


def test_dots_within_a_name_are_fine() -> None:
    assert verdict(signed(with_name("res/a..b/..c.txt"), KEY)) == "ok"


def changed(data: bytes, find: bytes, offset: int, value: bytes) -> bytes:
    """`value` written `offset` bytes behind the last place where `find` stands."""
    at = data.rindex(find) + offset
    return data[:at] + value + data[at + len(value) :]


PLAIN = unsigned_apk()
DAMAGED = {
    "an empty name": changed(PLAIN, b"PK\1\2", 28, b"\0\0\x0f\0"),
    "a NUL in a name": changed(PLAIN, b"assets/note.txt", 3, b"\0"),
    "a name that is not UTF-8": changed(PLAIN, b"assets/note.txt", 3, b"\xff"),
    "an entry that lies in the signing block": changed(
        PLAIN, b"PK\1\2", 42, struct.pack("<I", len(PLAIN) + 100)
    ),
    "an entry that lies behind the file": changed(PLAIN, b"PK\1\2", 42, b"\xff\xff\xff\0"),
    "an entry with the sizes of ZIP64": changed(PLAIN, b"PK\1\2", 20, b"\xff" * 4),
    "an entry on another disk": changed(PLAIN, b"PK\1\2", 34, b"\1"),
    "a longer name than there is room": changed(PLAIN, b"PK\1\2", 28, b"\xff\xff"),
    "an entry without its magic": changed(PLAIN, b"PK\1\2", 0, b"XX"),
    "a comment that hides what follows": changed(PLAIN, b"PK\1\2", 32, b"\1\0"),
    "more entries promised than there are": changed(PLAIN, b"PK\5\6", 8, b"\3\0\3\0"),
    "fewer entries promised than there are": changed(PLAIN, b"PK\5\6", 8, b"\1\0\1\0"),
}


@pytest.mark.parametrize("unsigned", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_directory_is_refused_though_it_is_signed(unsigned: bytes) -> None:
    assert verdict(signed(unsigned, KEY)) == "not_an_apk"


ENDS = {
    "several disks": changed(PLAIN, b"PK\5\6", 4, b"\1"),
    "another count on this disk": changed(PLAIN, b"PK\5\6", 8, b"\7"),
    "a directory elsewhere": changed(PLAIN, b"PK\5\6", 16, b"\0"),
    "a comment that is not there": changed(PLAIN, b"PK\5\6", 20, b"\5"),
    "nothing": b"",
    "text": b"hello, I am an APK. " * 50,
    "only end records without an end": b"PK\5\6" * 5000,
    "a directory larger than any app's": b"\0" * (33 << 20)
    + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 33 << 20, 0, 0),
}


@pytest.mark.parametrize("data", ENDS.values(), ids=ENDS.keys())
def test_a_file_without_a_sound_end_is_no_apk(data: bytes) -> None:
    assert verdict(data) == "not_an_apk"


def test_a_comment_behind_the_end_record_is_read_as_android_does() -> None:
    with_comment = PLAIN[:-2] + struct.pack("<H", 30) + b"PK\5\6" + b"x" * 26
    assert verdict(signed(with_comment, KEY)) == "ok"


def test_zip64_is_refused() -> None:
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1)
    end = find_layout(io.BytesIO(PLAIN)).end_offset
    assert verdict(PLAIN[:end] + locator + PLAIN[end:]) == "not_an_apk"


def file_of_empty_entries(count: int) -> io.BytesIO:
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + b"%05d" % number for number in range(count))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count % 65536, count % 65536, len(directory), 30, 0)
    return io.BytesIO(b"\0" * 30 + directory + end)


def test_65_535_entries_are_the_most() -> None:
    file = file_of_empty_entries(65_535)
    assert len(read_directory(file, find_layout(file), end=30)) == 65_535


def test_70_000_entries_are_refused() -> None:
    file = file_of_empty_entries(70_000)
    with pytest.raises(Refused, match="65,535"):
        read_directory(file, find_layout(file), end=30)


# --- the manifest as an entry ----------------------------------------------------------------------------

MANIFEST = b"AndroidManifest.xml"
ALONE = zip_of([("AndroidManifest.xml", manifest())], compression=zipfile.ZIP_DEFLATED)
ENTRIES = {
    "encrypted": changed(ALONE, b"PK\1\2", 8, b"\1"),
    "packed by another method in the directory": changed(ALONE, b"PK\1\2", 10, b"\x0e"),
    "packed by another method in front of it": changed(ALONE, b"PK\3\4", 8, b"\0"),
    "another name in front of it": changed(ALONE, b"PK\3\4", 30, b"B"),
    "another sum": changed(ALONE, b"PK\1\2", 16, b"\0\0\0\0"),
    "another size": changed(ALONE, b"PK\1\2", 24, b"\1\0\0\0"),
    "a packed size that runs into the directory": changed(ALONE, b"PK\1\2", 20, b"\xff\xff\0\0"),
    "no entry where it should be": changed(ALONE, b"PK\1\2", 42, b"\1\0\0\0"),
    "nothing that can be unpacked": ALONE[: 30 + len(MANIFEST)] + b"\xff" * 30 + ALONE[60 + len(MANIFEST) :],
}


@pytest.mark.parametrize("unsigned", ENTRIES.values(), ids=ENTRIES.keys())
def test_a_manifest_entry_that_android_could_read_otherwise_is_refused(unsigned: bytes) -> None:
    assert verdict(signed(unsigned, KEY)) == "manifest_invalid"


def test_a_manifest_of_300_mb_in_a_small_file_is_refused_before_it_is_unpacked() -> None:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(300)) + squeezer.flush()
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), 300 << 20, len(MANIFEST), 0)
    central = struct.pack(
        "<4s6H3I5H2I",
        b"PK\1\2",
        20,
        20,
        0,
        8,
        0,
        0,
        0,
        len(packed),
        300 << 20,
        len(MANIFEST),
        0,
        0,
        0,
        0,
        0,
        0,
    )
    start = local + MANIFEST + packed
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central) + len(MANIFEST), len(start), 0)
    bomb = start + central + MANIFEST + end
    assert len(bomb) < 400_000
    assert verdict(signed(bomb, KEY)) == "manifest_invalid"


def test_a_manifest_that_lies_about_its_size_is_unpacked_no_further_than_it_says() -> None:
    lie = changed(ALONE, b"PK\1\2", 24, struct.pack("<I", 20))
    assert verdict(signed(lie, KEY)) == "manifest_invalid"
