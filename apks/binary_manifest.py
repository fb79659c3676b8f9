"""Writes a binary AndroidManifest.xml, for the dummy APKs of the demo, a first trial and the tests.

Format: AOSP `ResourceTypes.h` (`ResXMLTree`), the plain form that aapt writes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

ANDROID: Final = "http://schemas.android.com/apk/res/android"
RESOURCE_IDS: Final = {
    "label": 0x01010001,
    "hasCode": 0x0101000C,
    "debuggable": 0x0101000F,
    "minSdkVersion": 0x0101020C,
    "versionCode": 0x0101021B,
    "versionName": 0x0101021C,
    "targetSdkVersion": 0x01010270,
    "testOnly": 0x01010272,
    "versionCodeMajor": 0x01010576,
    "isSplitRequired": 0x01010591,
    "requiredSplitTypes": 0x0101064E,
}
_NONE: Final = 0xFFFFFFFF
_STRING, _DECIMAL, _BOOLEAN = 0x03, 0x10, 0x12
Scalar = str | int | bool


@dataclass(frozen=True, slots=True)
class Element:
    """`android` are attributes of Android's namespace, `plain` those without one."""

    name: str
    android: dict[str, Scalar] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)
    children: tuple["Element", ...] = ()


def write_manifest(root: Element) -> bytes:
    """The element with all below it as Android's binary XML."""
    strings = _Strings(root)
    namespace = struct.pack("<II", strings["android"], strings[ANDROID])
    ids = b"".join(struct.pack("<I", RESOURCE_IDS[name]) for name in strings.with_id)
    body = (
        strings.pool()
        + _chunk(0x0180, b"", ids)
        + _node(0x0100, namespace)
        + b"".join(_element(root, strings))
        + _node(0x0101, namespace)
    )
    return _chunk(0x0003, b"", body)


class _Strings:
    """All strings by index; names that have a resource id come first, in the order of the resource map."""

    def __init__(self, root: Element) -> None:
        elements = list(_walk(root))
        self.with_id = sorted(
            {name for element in elements for name in element.android}, key=RESOURCE_IDS.__getitem__
        )
        others = ["android", ANDROID]
        for element in elements:
            texts = [value for value in element.android.values() if isinstance(value, str)]
            others += [element.name, *element.plain, *element.plain.values(), *texts]
        self._all = [*self.with_id, *dict.fromkeys(others)]
        self._index = {text: index for index, text in reversed(list(enumerate(self._all)))}

    def __getitem__(self, text: str) -> int:
        return self._index[text]

    def pool(self) -> bytes:
        encoded = [text.encode("utf-16-le") for text in self._all]
        offsets, data = b"", b""
        for text in encoded:
            offsets += struct.pack("<I", len(data))
            data += struct.pack("<H", len(text) // 2) + text + b"\0\0"
        data += b"\0" * (-len(data) % 4)
        head = struct.pack("<5I", len(encoded), 0, 0, 28 + len(offsets), 0)
        return _chunk(0x0001, head, offsets + data)


def _walk(element: Element) -> Iterator[Element]:
    yield element
    for child in element.children:
        yield from _walk(child)


def _chunk(kind: int, head: bytes, body: bytes) -> bytes:
    return struct.pack("<HHI", kind, 8 + len(head), 8 + len(head) + len(body)) + head + body


def _node(kind: int, body: bytes) -> bytes:
    return _chunk(kind, struct.pack("<II", 1, _NONE), body)


def _element(element: Element, strings: _Strings) -> Iterator[bytes]:
    attributes = [
        _attribute(strings[ANDROID], strings[name], value, strings)
        for name, value in sorted(element.android.items(), key=lambda item: RESOURCE_IDS[item[0]])
    ]
    attributes += [_attribute(_NONE, strings[name], value, strings) for name, value in element.plain.items()]
    name = struct.pack("<II", _NONE, strings[element.name])
    yield _node(0x0102, name + struct.pack("<6H", 20, 20, len(attributes), 0, 0, 0) + b"".join(attributes))
    for child in element.children:
        yield from _element(child, strings)
    yield _node(0x0103, name)


def _attribute(namespace: int, name: int, value: Scalar, strings: _Strings) -> bytes:
    raw = _NONE
    if isinstance(value, str):
        raw = data = strings[value]
        kind = _STRING
    elif isinstance(value, bool):
        kind, data = _BOOLEAN, _NONE if value else 0
    else:
        kind, data = _DECIMAL, value
    return struct.pack("<IIIHBBI", namespace, name, raw, 8, 0, kind, data)
