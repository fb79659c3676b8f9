"""The outer shape of a ZIP file, read as Android reads it, and stricter where Android is lenient.

Only the central directory is trusted for what the file holds; only one entry is ever unpacked, up to a limit.
Layout as in PKWARE's APPNOTE 6.3.9; the rules on the end record are those of AOSP's `ZipUtils`.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Final

from apks.refusal import Refused

MAX_ENTRIES: Final = 65_535
MAX_DIRECTORY_BYTES: Final = 32 << 20
_END: Final = struct.Struct("<4s4H2IH")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_ENCRYPTED: Final = 0x1
_STORED, _DEFLATED = 0, 8
_ZIP64: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Layout:
    """Byte offsets of a ZIP file whose directory is followed at once by its end record."""

    size: int
    directory_offset: int
    end_offset: int
    entries: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A file by the directory: `packed` and `size` in bytes, `offset` of its local header."""

    name: str
    method: int
    encrypted: bool
    crc: int
    packed: int
    size: int
    offset: int


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Refused where the file is shorter."""
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        raise Refused("not_an_apk", "The file ends in the middle of a record. Upload it again.")
    return data


def find_layout(file: BinaryIO) -> Layout:
    """Finds the end record and checks that it, the directory and the file's size agree. Raises Refused."""
    size = file.seek(0, 2)
    end = _find_end(file, size)
    _, disk, directory_disk, here, total, directory_size, directory_offset, _ = _END.unpack(
        read_at(file, end, _END.size)
    )
    if end >= 20 and read_at(file, end - 20, 4) == b"PK\x06\x07":
        raise Refused("not_an_apk", "This is a ZIP64 file, which Android does not install.")
    if disk or directory_disk or here != total:
        raise Refused("not_an_apk", "This is one part of a ZIP file in several parts.")
    if directory_offset + directory_size != end:
        raise Refused(
            "not_an_apk", "The ZIP directory is not where its end record says. Build the file again."
        )
    if directory_size > MAX_DIRECTORY_BYTES:
        raise Refused("not_an_apk", "The ZIP directory is larger than any real app needs.")
    return Layout(size, directory_offset, end, total)


def _find_end(file: BinaryIO, size: int) -> int:
    tail_size = min(size, _END.size + 0xFFFF)
    tail = read_at(file, size - tail_size, tail_size)
    found = tail.rfind(b"PK\x05\x06", 0, tail_size - _END.size + 4)
    while found >= 0:
        (comment,) = struct.unpack_from("<H", tail, found + 20)
        if found + _END.size + comment == tail_size:
            return size - tail_size + found
        found = tail.rfind(b"PK\x05\x06", 0, found + 3)
    raise Refused("not_an_apk", "This is no APK: it is not a complete ZIP file. Was the upload cut off?")


def read_directory(file: BinaryIO, layout: Layout, *, end: int) -> dict[str, Entry]:
    """All entries by name; each must begin before offset `end`, where the entries' data ends.

    Raises Refused for names that repeat, are absolute or climb, and for a wrong count.
    """
    data = read_at(file, layout.directory_offset, layout.end_offset - layout.directory_offset)
    entries: dict[str, Entry] = {}
    position = 0
    while position < len(data):
        entry, position = _read_central(data, position)
        if entry.name in entries:
            raise Refused("not_an_apk", f"The entry {entry.name[:80]!r} is there twice.")
        if entry.offset >= end or _ZIP64 in (entry.packed, entry.size):
            raise Refused("not_an_apk", f"The entry {entry.name[:80]!r} lies outside the file.")
        entries[entry.name] = entry
        if len(entries) > MAX_ENTRIES:
            raise Refused("not_an_apk", "There are more than 65,535 entries, which Android does not install.")
    if len(entries) != layout.entries:
        raise Refused("not_an_apk", "The ZIP directory does not hold as many entries as it says.")
    return entries


def _read_central(data: bytes, position: int) -> tuple[Entry, int]:
    if position + _CENTRAL.size > len(data):
        raise Refused("not_an_apk", "The ZIP directory is cut off.")
    (magic, _, _, flags, method, _, _, crc, packed, size, name_size, extra, comment, disk, _, _, offset) = (
        _CENTRAL.unpack_from(data, position)
    )
    name_end = position + _CENTRAL.size + name_size
    after = name_end + extra + comment
    if magic != b"PK\x01\x02" or disk or after > len(data):
        raise Refused("not_an_apk", "The ZIP directory is damaged.")
    name = _safe_name(data[position + _CENTRAL.size : name_end])
    return Entry(name, method, bool(flags & _ENCRYPTED), crc, packed, size, offset), after


def _safe_name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("not_an_apk", "The name of an entry is not UTF-8.") from None
    if not name or "\0" in name:
        raise Refused("not_an_apk", "An entry has an empty name or a NUL in its name.")
    path = name.replace("\\", "/")
    if path.startswith("/") or ".." in path.split("/"):
        raise Refused("not_an_apk", f"The entry {name[:80]!r} points outside the package.")
    return name


def read_entry(file: BinaryIO, entry: Entry, *, limit: int, end: int) -> bytes:
    """The unpacked bytes of one entry, at most `limit` of them; its data must end before offset `end`.

    Raises Refused as `manifest_invalid`, since the manifest is the only entry that is ever unpacked.
    """
    if entry.size > limit or entry.packed > limit:
        raise Refused("manifest_invalid", f"{entry.name} is larger than {limit >> 20} MB.")
    if entry.encrypted or entry.method not in (_STORED, _DEFLATED):
        raise Refused(
            "manifest_invalid", f"{entry.name} is encrypted or packed in a way Android cannot read."
        )
    start = _data_start(file, entry)
    if start + entry.packed > end:
        raise Refused("manifest_invalid", f"{entry.name} runs into the signature.")
    data = _unpack(read_at(file, start, entry.packed), entry)
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise Refused("manifest_invalid", f"{entry.name} is damaged.")
    return data


def _data_start(file: BinaryIO, entry: Entry) -> int:
    magic, _, _, method, _, _, _, _, _, name_size, extra = _LOCAL.unpack(
        read_at(file, entry.offset, _LOCAL.size)
    )
    name = read_at(file, entry.offset + _LOCAL.size, name_size)
    if magic != b"PK\x03\x04" or method != entry.method or name != entry.name.encode():
        raise Refused(
            "manifest_invalid", f"{entry.name} is described in two ways that contradict each other."
        )
    return entry.offset + _LOCAL.size + len(name) + int(extra)


def _unpack(packed: bytes, entry: Entry) -> bytes:
    if entry.method == _STORED:
        return packed
    inflater = zlib.decompressobj(-15)
    try:
        data = inflater.decompress(packed, entry.size + 1)
    except zlib.error:
        raise Refused("manifest_invalid", f"{entry.name} cannot be unpacked.") from None
    return data
