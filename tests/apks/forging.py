"""Builds signed APKs part by part, so that a test can get exactly one part wrong."""

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding
from cryptography.x509.oid import NameOID

from apks.binary_manifest import Element, Scalar, write_manifest
from apks.content_digest import digest_content
from apks.dummy_apk import SigningKey, attribute, prefixed, sequence, with_block, zipped
from apks.examination import examine
from apks.facts import ApkFacts
from apks.refusal import Refused
from apks.signing_block import V2, V3, V31, read_block
from apks.zip_directory import Layout, find_layout

ANY_SDK = 2**31 - 1
V3_EXISTS = 0xBEEFF00D
V31_EXISTS = 0x559F8B02
ROTATION = 0x3BA06F8C
NOT_YET = 0xC2A6B3BA
RSA_SHA256 = 0x0103
CONTENT = {0x0102: "sha512", 0x0104: "sha512", 0x0202: "sha512"}


def _ecdsa(key: Any) -> Any:
    """Asked for an elliptic curve with an RSA key, sign with a curve of our own: a mismatch to be found."""
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else other_key("ec").private


Sign = Callable[[Any, bytes], bytes]
SIGN: dict[int, Sign] = {
    0x0101: lambda key, data: key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    0x0102: lambda key, data: key.sign(data, padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512()),
    0x0103: lambda key, data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()),
    0x0104: lambda key, data: key.sign(data, padding.PKCS1v15(), hashes.SHA512()),
    0x0201: lambda key, data: _ecdsa(key).sign(data, ec.ECDSA(hashes.SHA256())),
    0x0202: lambda key, data: key.sign(data, ec.ECDSA(hashes.SHA512())),
    0x0301: lambda key, data: key.sign(data, hashes.SHA256()),
    0x0421: lambda key, data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()),
}


@cache
def rsa_key(name: str) -> SigningKey:
    return SigningKey.generate(name)


@cache
def other_key(kind: str) -> SigningKey:
    """An EC or DSA key in the same clothes; only its `private` and `certificate` are ever used here."""
    private: Any = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else dsa.generate_private_key(2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kind)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
    certificate = builder.not_valid_after(datetime(2060, 1, 1, tzinfo=UTC)).sign(private, hashes.SHA256())
    return SigningKey(private, certificate.public_bytes(serialization.Encoding.DER))


def spki(key: SigningKey) -> bytes:
    return key.private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def manifest(
    android: dict[str, Scalar] | None = None,
    plain: dict[str, str] | None = None,
    application: dict[str, Scalar] | None = None,
    sdk: dict[str, Scalar] | None = None,
) -> bytes:
    """A valid manifest unless the test says otherwise."""
    return write_manifest(
        Element(
            "manifest",
            {"versionCode": 7, "versionName": "7.0"} if android is None else android,
            {"package": "com.example.app"} if plain is None else plain,
            (
                Element("uses-sdk", {"minSdkVersion": 26, "targetSdkVersion": 34} if sdk is None else sdk),
                Element("application", {"hasCode": False} | (application or {})),
            ),
        )
    )


def unsigned_apk(**files: bytes) -> bytes:
    return zipped({"AndroidManifest.xml": manifest(), "assets/note.txt": b"note"} | files)


@dataclass(frozen=True)
class Digests:
    unsigned: bytes
    layout: Layout
    values: dict[str, bytes]


def digests(unsigned: bytes) -> Digests:
    layout = find_layout(io.BytesIO(unsigned))
    _, values = digest_content(io.BytesIO(unsigned), layout, layout.directory_offset, ["sha256", "sha512"])
    return Digests(unsigned, layout, values)


@dataclass(frozen=True)
class Signer:
    """One signer, right unless a field says otherwise."""

    key: SigningKey
    algorithms: tuple[int, ...] = (RSA_SHA256,)
    attributes: tuple[bytes, ...] = ()
    sdk_range: tuple[int, int] | None = None
    outer_range: tuple[int, int] | None = None
    digest_algorithms: tuple[int, ...] | None = None
    certificates: tuple[bytes, ...] | None = None
    public_key: bytes | None = None
    signed_by: SigningKey | None = None
    wrong_digest_of: tuple[int, ...] = ()

    def but(self, **changes: Any) -> "Signer":
        return replace(self, **changes)

    def encode(self, content: Digests) -> bytes:
        data = (
            sequence(self._digest(number, content) for number in self.digest_algorithms or self.algorithms)
            + sequence((self.key.certificate,) if self.certificates is None else self.certificates)
            + _span(self.sdk_range)
            + sequence(self.attributes)
        )
        private = (self.signed_by or self.key).private
        signatures = sequence(
            struct.pack("<I", number) + prefixed(SIGN.get(number, SIGN[RSA_SHA256])(private, data))
            for number in self.algorithms
        )
        public_key = spki(self.key) if self.public_key is None else self.public_key
        return prefixed(data) + _span(self.outer_range or self.sdk_range) + signatures + prefixed(public_key)

    def _digest(self, number: int, content: Digests) -> bytes:
        digest = content.values[CONTENT.get(number, "sha256")]
        if number in self.wrong_digest_of:
            digest = bytes(len(digest))
        return struct.pack("<I", number) + prefixed(digest)


def _span(span: tuple[int, int] | None) -> bytes:
    return struct.pack("<II", *span) if span else b""


def v2(key: SigningKey, *, announces_v3: bool = False) -> Signer:
    return Signer(key, attributes=(attribute(V3_EXISTS, struct.pack("<I", 3)),) if announces_v3 else ())


def v3(key: SigningKey, low: int = 28, high: int = ANY_SDK, *attributes: bytes) -> Signer:
    return Signer(key, sdk_range=(low, high), attributes=attributes)


def announces_v31(min_sdk: int) -> bytes:
    return attribute(V31_EXISTS, struct.pack("<I", min_sdk))


@dataclass(frozen=True)
class Link:
    """One link of a key history: `signs_next` is the algorithm promised for the next link."""

    key: SigningKey
    flags: int = 31
    signs_next: int = RSA_SHA256
    signed_with: int | None = None
    signed_by: SigningKey | None = None


def history(links: Sequence[Link], version: int = 1) -> bytes:
    """The proof-of-rotation attribute."""
    encoded = []
    for index, link in enumerate(links):
        parent = links[index - 1] if index else None
        promised = parent.signs_next if parent else 0
        signed_with = promised if link.signed_with is None else link.signed_with
        signed = prefixed(link.key.certificate) + struct.pack("<I", signed_with)
        signature = b""
        if parent:
            signature = SIGN[RSA_SHA256]((link.signed_by or parent.key).private, signed)
        numbers = struct.pack("<II", link.flags, link.signs_next)
        encoded.append(prefixed(prefixed(signed) + numbers + prefixed(signature)))
    return attribute(ROTATION, struct.pack("<I", version) + b"".join(encoded))


def apk(
    *,
    v2: Signer | Iterable[Signer] = (),
    v3: Signer | Iterable[Signer] = (),
    v31: Signer | Iterable[Signer] = (),
    unsigned: bytes | None = None,
    extra: dict[int, bytes] | None = None,
) -> bytes:
    content = digests(unsigned_apk() if unsigned is None else unsigned)
    values: dict[int, bytes] = {}
    for number, signers in ((V2, v2), (V3, v3), (V31, v31)):
        group = [signers] if isinstance(signers, Signer) else list(signers)
        if group:
            values[number] = sequence(signer.encode(content) for signer in group)
    return with_block(content.unsigned, content.layout, values | (extra or {}))


def blocks_of(data: bytes) -> dict[int, bytes]:
    file = io.BytesIO(data)
    block = read_block(file, find_layout(file))
    return block.values if block else {}


def without_block(data: bytes) -> bytes:
    """The same ZIP file as if it had never been signed."""
    file = io.BytesIO(data)
    layout = find_layout(file)
    block = read_block(file, layout)
    assert block is not None
    end = data[layout.end_offset :]
    directory = data[layout.directory_offset : layout.end_offset]
    return data[: block.offset] + directory + end[:16] + struct.pack("<I", block.offset) + end[20:]


def with_values(data: bytes, values: dict[int, bytes]) -> bytes:
    """The same ZIP file with other signing block entries."""
    bare = without_block(data)
    return with_block(bare, find_layout(io.BytesIO(bare)), values)


def look(data: bytes) -> ApkFacts:
    return examine(io.BytesIO(data))


def verdict(data: bytes) -> str:
    """`ok` or the slug of the refusal."""
    try:
        look(data)
    except Refused as refused:
        return refused.slug
    return "ok"
