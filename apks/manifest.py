"""The few facts of a binary AndroidManifest.xml that matter here, read as Android reads them.

pyaxmlparser decodes; what it is lenient about is checked before, so that no file means one thing here and
another on a device. Android finds attributes here by resource id, there by name: both must agree.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, Final

from pyaxmlparser import constants
from pyaxmlparser.axmlparser import AXMLParser

from apks.package_name import is_package_name
from apks.refusal import Refused

MAX_NAME: Final = 255
_ANDROID: Final = "http://schemas.android.com/apk/res/android"
_IDS: Final = {
    "versionCode": 0x0101021B,
    "versionName": 0x0101021C,
    "versionCodeMajor": 0x01010576,
    "minSdkVersion": 0x0101020C,
    "targetSdkVersion": 0x01010270,
    "testOnly": 0x01010272,
    "debuggable": 0x0101000F,
    "isSplitRequired": 0x01010591,
    "requiredSplitTypes": 0x0101064E,
}
_NAMES: Final = {number: name for name, number in _IDS.items()}
_NONE: Final = 0xFFFFFFFF
_STRING_POOL: Final = 0x0001
_RESOURCE_MAP: Final = 0x0180
_FIRST_NODE: Final = 0x0100
_START_ELEMENT: Final = 0x0102
_LAST_NODE: Final = 0x0104
_INTEGER: Final = (constants.TYPE_INT_DEC, constants.TYPE_INT_HEX)


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """`min_sdk` is 1 and `target_sdk` None where the manifest names none; `version_name` may be empty."""

    package: str
    version_code: int
    version_name: str
    min_sdk: int
    target_sdk: int | None
    debuggable: bool


@dataclass(frozen=True, slots=True)
class Value:
    """A typed value: `kind` as in `Res_value`; `text` is set for strings only."""

    kind: int
    data: int
    text: str


@dataclass(slots=True)
class _Elements:
    """Attributes of the elements that matter: Android's by their name, plain ones with `:` before it."""

    manifest: dict[str, Value] = field(default_factory=dict)
    uses_sdk: list[dict[str, Value]] = field(default_factory=list)
    application: list[dict[str, Value]] = field(default_factory=list)


def invalid(detail: str) -> Refused:
    """The refusal of a manifest that Android would not read either."""
    return Refused("manifest_invalid", f"AndroidManifest.xml: {detail}")


def read_manifest(data: bytes) -> ManifestFacts:
    """Raises Refused (`manifest_invalid`, `test_only`, `split_apk`) and nothing else for whatever bytes."""
    try:
        _check_plain_form(data)
        elements = _read_elements(data)
    except (struct.error, AssertionError, IndexError, KeyError, ValueError, TypeError):
        raise invalid("it cannot be read. Build the file with the standard Android tools.") from None
    if len(elements.application) != 1 or len(elements.uses_sdk) > 1:
        raise invalid("exactly one <application> and at most one <uses-sdk> are needed.")
    _refuse_uninstallable(elements)
    return _facts(elements)


def _check_plain_form(data: bytes) -> None:
    """Strings, resource ids and nodes, without gap or rest, in the one layout that the tools write."""
    if struct.unpack_from("<HHI", data) != (constants.RES_XML_TYPE, 8, len(data)):
        raise ValueError
    kinds: list[int] = []
    position = 8
    while position < len(data):
        kind, header, length = struct.unpack_from("<HHI", data, position)
        if length < max(header, 8) or length % 4 or position + length > len(data):
            raise ValueError
        if kind == _START_ELEMENT:
            _check_element(data, position, length)
        kinds.append(kind)
        position += length
    nodes = kinds[2:] if kinds[1:2] == [_RESOURCE_MAP] else kinds[1:]
    if kinds[:1] != [_STRING_POOL] or not all(_FIRST_NODE <= kind <= _LAST_NODE for kind in nodes):
        raise ValueError


def _check_element(data: bytes, position: int, length: int) -> None:
    start, width, count = struct.unpack_from("<3H", data, position + 24)
    if (start, width, length) != (20, 20, 36 + 20 * count):
        raise ValueError


def _read_elements(data: bytes) -> _Elements:
    parser = AXMLParser(data)
    found, depth = _Elements(), 0
    while parser.is_valid():
        event = next(parser)
        if event == constants.END_DOCUMENT:
            break
        if event == constants.START_TAG:
            depth += 1
            _keep(found, depth, parser)
        elif event == constants.END_TAG:
            depth -= 1
    if depth or not parser.is_valid() or not found.manifest:
        raise ValueError
    return found


def _keep(found: _Elements, depth: int, parser: Any) -> None:
    name = parser.name if not parser.namespace else ""
    if depth == 1:
        if found.manifest or name != "manifest":
            raise ValueError
        found.manifest = _attributes(parser)
    elif depth == 2 and name == "uses-sdk":
        found.uses_sdk.append(_attributes(parser))
    elif depth == 2 and name == "application":
        found.application.append(_attributes(parser))


def _attributes(parser: Any) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for index in range(parser.getAttributeCount()):
        key = _attribute_key(parser, index)
        if key is None:
            continue
        if key in values:
            raise invalid(f"{key.lstrip(':')} is there twice.")
        values[key] = Value(
            parser.getAttributeValueType(index),
            parser.getAttributeValueData(index),
            parser.getAttributeValue(index),
        )
    return values


def _attribute_key(parser: Any, index: int) -> str | None:
    name_index = parser.m_attributes[index * constants.ATTRIBUTE_LENGHT + constants.ATTRIBUTE_IX_NAME]
    name = parser.sb[name_index]
    number = parser.m_resourceIDs[name_index] if name_index < len(parser.m_resourceIDs) else 0
    if parser.getAttributeUri(index) == _NONE and number == 0:
        return f":{name}"
    known = _NAMES.get(number)
    is_android = parser.getAttributeNamespace(index) == _ANDROID
    if known is None and not (is_android and name in _IDS):
        return None
    if known is None or not is_android or name not in ("", known):
        raise invalid(
            "an attribute has one name and another meaning. Build it with the standard Android tools."
        )
    return known


def _refuse_uninstallable(elements: _Elements) -> None:
    manifest, application = elements.manifest, elements.application[0]
    if _flag(application, "testOnly"):
        raise Refused(
            "test_only",
            "This build is marked testOnly, which no device installs. Build a release, not a test run.",
        )
    needs_splits = _flag(application, "isSplitRequired") or _flag(manifest, "isSplitRequired")
    if ":split" in manifest or needs_splits or "requiredSplitTypes" in manifest:
        raise Refused(
            "split_apk",
            "This is one part of an app in several files. Build one universal APK that holds everything.",
        )
    if "versionCodeMajor" in manifest:
        raise invalid("versionCodeMajor is not supported. Use a versionCode up to 2147483647.")


def _facts(elements: _Elements) -> ManifestFacts:
    manifest = elements.manifest
    uses_sdk = elements.uses_sdk[0] if elements.uses_sdk else {}
    package = manifest.get(":package")
    if package is None or package.kind != constants.TYPE_STRING or not is_package_name(package.text):
        raise invalid("the package name is missing or not one that Android accepts.")
    version_code = _integer(manifest, "versionCode")
    if version_code is None or not 1 <= version_code < 2**31:
        raise invalid("versionCode is missing or not between 1 and 2147483647.")
    min_sdk, target_sdk = _integer(uses_sdk, "minSdkVersion"), _integer(uses_sdk, "targetSdkVersion")
    if any(sdk is not None and not 0 <= sdk <= 10_000 for sdk in (min_sdk, target_sdk)):
        raise invalid("minSdkVersion or targetSdkVersion is no Android API level.")
    return ManifestFacts(
        package=package.text,
        version_code=version_code,
        version_name=_version_name(manifest),
        min_sdk=max(min_sdk or 1, 1),
        target_sdk=target_sdk,
        debuggable=_flag(elements.application[0], "debuggable"),
    )


def _integer(attributes: dict[str, Value], name: str) -> int | None:
    value = attributes.get(name)
    if value is None:
        return None
    if value.kind not in _INTEGER:
        raise invalid(f"{name} must be a plain number (not a resource, not the name of a preview release).")
    return value.data


def _flag(attributes: dict[str, Value], name: str) -> bool:
    value = attributes.get(name)
    if value is None:
        return False
    if value.kind != constants.TYPE_INT_BOOLEAN:
        raise invalid(f"{name} must be plainly true or false (not a resource).")
    return value.data != 0


def _version_name(manifest: dict[str, Value]) -> str:
    value = manifest.get("versionName")
    if value is None:
        return ""
    if value.kind != constants.TYPE_STRING:
        raise invalid("versionName must be a plain text (not a resource).")
    if len(value.text) > MAX_NAME or not value.text.isprintable():
        raise invalid("versionName is longer than 255 characters or has characters that cannot be shown.")
    return value.text
