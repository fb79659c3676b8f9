"""Writes a tiny, really signed APK (v2 and v3, RSA) that Android, apksigner and aapt accept.

For the demo, a first trial on staging, and the tests. It has no code: it installs, and shows its version.
"""

import io
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from apks.binary_manifest import Element, Scalar, write_manifest
from apks.content_digest import digest_content
from apks.signing_block import V2, V3
from apks.zip_directory import Layout, find_layout

_RSA_SHA256: Final = 0x0103
_V3_EXISTS: Final = 0xBEEFF00D
_FIRST_V3_SDK: Final = 28
_ANY_SDK: Final = 2**31 - 1
_TIMESTAMP: Final = (2020, 1, 1, 0, 0, 0)  # fixed, so that equal parameters give equal bytes


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key and the DER of its self-signed certificate."""

    private: rsa.RSAPrivateKey
    certificate: bytes

    @classmethod
    def generate(cls, common_name: str) -> "SigningKey":
        private = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2060, 1, 1, tzinfo=UTC))
            .sign(private, hashes.SHA256())
        )
        return cls(private, certificate.public_bytes(serialization.Encoding.DER))

    @classmethod
    def kept_in(cls, path: Path, common_name: str) -> "SigningKey":
        """The key in that PEM file, which is made at the first call and readable by its owner only."""
        if not path.exists():
            cls.generate(common_name)._write(path)
        pem = path.read_bytes()
        private = serialization.load_pem_private_key(pem, None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise TypeError(f"{path} holds no RSA key")
        certificate = x509.load_pem_x509_certificate(pem)
        return cls(private, certificate.public_bytes(serialization.Encoding.DER))

    def _write(self, path: Path) -> None:
        key = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = x509.load_der_x509_certificate(self.certificate).public_bytes(
            serialization.Encoding.PEM
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(key + certificate)
        fresh.replace(path)

    def public_key(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def dummy_apk(
    package: str,
    version_code: int,
    version_name: str,
    *,
    key: SigningKey,
    min_sdk: int = 26,
    target_sdk: int = 34,
    abis: Iterable[str] = (),
    debuggable: bool = False,
    test_only: bool = False,
    padding_bytes: int = 0,
) -> bytes:
    """The bytes of the APK. `padding_bytes` are added as an asset, so that a download takes a moment."""
    application: dict[str, Scalar] = {"label": f"{package} {version_name}", "hasCode": False}
    application |= {"debuggable": True} if debuggable else {}
    application |= {"testOnly": True} if test_only else {}
    manifest = Element(
        "manifest",
        {"versionCode": version_code, "versionName": version_name},
        {"package": package},
        (
            Element("uses-sdk", {"minSdkVersion": min_sdk, "targetSdkVersion": target_sdk}),
            Element("application", application),
        ),
    )
    files = {"AndroidManifest.xml": write_manifest(manifest)}
    files |= {f"lib/{abi}/libdummy.so": b"\x7fELF dummy" for abi in abis}
    files |= {"assets/padding.bin": bytes(padding_bytes)} if padding_bytes else {}
    return signed(zipped(files), key)


def zipped(files: dict[str, bytes]) -> bytes:
    """An unsigned ZIP file; equal contents give equal bytes. Assets are stored, the rest is deflated."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, _TIMESTAMP)
            info.compress_type = zipfile.ZIP_STORED if name.startswith("assets/") else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return target.getvalue()


def signed(unsigned: bytes, key: SigningKey) -> bytes:
    """The same ZIP file with a v2 and a v3 signature by `key`."""
    layout = find_layout(io.BytesIO(unsigned))
    digest = content_digest(unsigned, layout)
    announces_v3 = attribute(_V3_EXISTS, struct.pack("<I", 3))
    blocks = {
        V2: sequence([signer(key, digest, attributes=[announces_v3])]),
        V3: sequence([signer(key, digest, sdk_range=(_FIRST_V3_SDK, _ANY_SDK))]),
    }
    return with_block(unsigned, layout, blocks)


def content_digest(unsigned: bytes, layout: Layout) -> bytes:
    """The chunked SHA-256 that v2 and v3 sign."""
    _, digests = digest_content(io.BytesIO(unsigned), layout, layout.directory_offset, ["sha256"])
    return digests["sha256"]


def signer(
    key: SigningKey,
    digest: bytes,
    *,
    sdk_range: tuple[int, int] | None = None,
    attributes: Iterable[bytes] = (),
) -> bytes:
    """One signer of a v2 block, or of a v3 / v3.1 block where `sdk_range` is given."""
    span = struct.pack("<II", *sdk_range) if sdk_range else b""
    algorithm = struct.pack("<I", _RSA_SHA256)
    data = (
        sequence([algorithm + prefixed(digest)]) + sequence([key.certificate]) + span + sequence(attributes)
    )
    signatures = sequence([algorithm + prefixed(key.sign(data))])
    return prefixed(data) + span + signatures + prefixed(key.public_key())


def attribute(number: int, value: bytes) -> bytes:
    """A numbered attribute of a signer."""
    return struct.pack("<I", number) + value


def prefixed(data: bytes) -> bytes:
    """With its length before it, as the signing block wants it."""
    return struct.pack("<I", len(data)) + data


def sequence(items: Iterable[bytes]) -> bytes:
    """Each with its length, and all with theirs."""
    return prefixed(b"".join(prefixed(item) for item in items))


def with_block(unsigned: bytes, layout: Layout, values: dict[int, bytes]) -> bytes:
    """The ZIP file with a signing block before its directory; the end record points behind the block."""
    pairs = b"".join(struct.pack("<QI", 4 + len(value), key) + value for key, value in values.items())
    size = struct.pack("<Q", len(pairs) + 24)
    block = size + pairs + size + b"APK Sig Block 42"
    end = unsigned[layout.end_offset :]
    moved = struct.pack("<I", layout.directory_offset + len(block))
    return b"".join(
        (
            unsigned[: layout.directory_offset],
            block,
            unsigned[layout.directory_offset : layout.end_offset],
            end[:16] + moved + end[20:],
        )
    )
