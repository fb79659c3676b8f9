"""One pass over a file: its SHA-256 and the chunked digests that its signatures vouch for.

Chunked digest: source.android.com/docs/security/features/apksigning/v2#integrity-protected-contents.
Chunks of 1 MiB over three sections: all before the signing block, the ZIP directory, and the end record with
the directory's offset set to the start of the signing block, as if the block were not there.
"""

import hashlib
import struct
from collections.abc import Collection, Iterator
from typing import BinaryIO, Final

from apks.zip_directory import Layout, read_at

_CHUNK: Final = 1 << 20


class ChunkedDigest:
    """The digest of APK signatures v2 and v3 under one algorithm, over chunks of 1 MiB in their order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._chunks: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        digest = hashlib.new(self._name, b"\xa5" + struct.pack("<I", len(chunk)))
        digest.update(chunk)
        self._chunks.append(digest.digest())

    def value(self) -> bytes:
        top = hashlib.new(self._name, b"\x5a" + struct.pack("<I", len(self._chunks)))
        top.update(b"".join(self._chunks))
        return top.digest()


def digest_content(
    file: BinaryIO, layout: Layout, block_offset: int, names: Collection[str]
) -> tuple[str, dict[str, bytes]]:
    """The hex SHA-256 of the whole file, and the chunked digest for each of `names` (`sha256`, `sha512`)."""
    whole = hashlib.sha256()
    chunked = {name: ChunkedDigest(name) for name in names}
    for start, end in ((0, block_offset), (layout.directory_offset, layout.end_offset)):
        for chunk in _chunks(file, start, end):
            whole.update(chunk)
            for digest in chunked.values():
                digest.add(chunk)
        if start == 0:
            whole.update(read_at(file, block_offset, layout.directory_offset - block_offset))
    end_record = read_at(file, layout.end_offset, layout.size - layout.end_offset)
    whole.update(end_record)
    for digest in chunked.values():
        digest.add(end_record[:16] + struct.pack("<I", block_offset) + end_record[20:])
    return whole.hexdigest(), {name: digest.value() for name, digest in chunked.items()}


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        size = min(_CHUNK, end - start)
        yield read_at(file, start, size)
        start += size
