"""The APK Signing Block: where it lies, what it holds, and the records inside, all bounded.

Format: source.android.com/docs/security/features/apksigning/v2 and /v3.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from apks.refusal import Refused
from apks.zip_directory import Layout, read_at

V2: Final = 0x7109871A
V3: Final = 0xF05368C0
V31: Final = 0x1B93AD61
MAX_BLOCK_BYTES: Final = 4 << 20
MAX_ITEMS: Final = 64  # of any list inside: signers, digests, certificates, attributes, lineage
_MAGIC: Final = b"APK Sig Block 42"


def malformed(what: str) -> Refused:
    """The refusal of a signing block that cannot be read; `what` stands in brackets."""
    return Refused("signature_invalid", f"The signature is damaged ({what}). Build and sign the file again.")


@dataclass(frozen=True, slots=True)
class SigningBlock:
    """`offset` is the block's first byte; `values` maps block ids to their bytes."""

    offset: int
    values: dict[int, bytes]


def read_block(file: BinaryIO, layout: Layout) -> SigningBlock | None:
    """The block right before the ZIP directory, None where there is none. Raises Refused if it is damaged."""
    end = layout.directory_offset
    if end < 32:
        return None
    footer = read_at(file, end - 24, 24)
    if footer[8:] != _MAGIC:
        return None
    (size,) = struct.unpack_from("<Q", footer)
    if not 24 <= size <= min(MAX_BLOCK_BYTES, end - 8):
        raise malformed("size of the signing block")
    offset = end - size - 8
    block = read_at(file, offset, size + 8)
    if struct.unpack_from("<Q", block)[0] != size:
        raise malformed("the two sizes of the signing block differ")
    return SigningBlock(offset, _read_values(block[8:-24]))


def _read_values(data: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if len(values) == MAX_ITEMS or position + 12 > len(data):
            raise malformed("entries of the signing block")
        size, key = struct.unpack_from("<QI", data, position)
        after = position + 8 + size
        if size < 4 or after > len(data):
            raise malformed("size of an entry of the signing block")
        if key in values:
            raise malformed("an entry of the signing block is there twice")
        values[key] = data[position + 12 : after]
        position = after
    return values


class Record:
    """Reads little-endian fields off bytes; raises Refused instead of running past the end."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._data)

    def take(self, size: int) -> bytes:
        start, self._position = self._position, self._position + size
        if self._position > len(self._data):
            raise malformed("a field runs past its end")
        return self._data[start : self._position]

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._position)

    def number(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def prefixed(self) -> bytes:
        return self.take(self.number())

    def items(self) -> list[bytes]:
        """A length-prefixed sequence of length-prefixed elements."""
        return Record(self.prefixed()).elements()

    def elements(self) -> list[bytes]:
        """What is left, as length-prefixed elements."""
        found: list[bytes] = []
        while self:
            if len(found) == MAX_ITEMS:
                raise malformed("too many elements in a list")
            found.append(self.prefixed())
        return found
