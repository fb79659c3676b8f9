"""The signature algorithms that Android knows (AOSP `SignatureAlgorithm`), on top of `cryptography`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

Content = Literal["sha256", "sha512", "verity"]
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"sha256": hashes.SHA256(), "sha512": hashes.SHA512()}


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`content` is the digest that vouches for the file, `digest` the one inside the signature."""

    scheme: Literal["pss", "rsa", "ecdsa", "dsa"]
    digest: Literal["sha256", "sha512"]
    content: Content


ALGORITHMS: Final[dict[int, Algorithm]] = {
    0x0101: Algorithm("pss", "sha256", "sha256"),
    0x0102: Algorithm("pss", "sha512", "sha512"),
    0x0103: Algorithm("rsa", "sha256", "sha256"),
    0x0104: Algorithm("rsa", "sha512", "sha512"),
    0x0201: Algorithm("ecdsa", "sha256", "sha256"),
    0x0202: Algorithm("ecdsa", "sha512", "sha512"),
    0x0301: Algorithm("dsa", "sha256", "sha256"),
    0x0421: Algorithm("rsa", "sha256", "verity"),
    0x0423: Algorithm("ecdsa", "sha256", "verity"),
    0x0425: Algorithm("dsa", "sha256", "verity"),
}


def is_signed_by(key: object, algorithm: Algorithm, signature: bytes, data: bytes) -> bool:
    """True only if `signature` over `data` was made by `key` with exactly that algorithm."""
    kind, check = _CHECKS[algorithm.scheme]
    if not isinstance(key, kind):
        return False
    try:
        check(key, signature, data, _HASHES[algorithm.digest])
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _check_pss(key: rsa.RSAPublicKey, signature: bytes, data: bytes, digest: hashes.HashAlgorithm) -> None:
    key.verify(signature, data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)


def _check_rsa(key: rsa.RSAPublicKey, signature: bytes, data: bytes, digest: hashes.HashAlgorithm) -> None:
    key.verify(signature, data, padding.PKCS1v15(), digest)


def _check_ecdsa(
    key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes, digest: hashes.HashAlgorithm
) -> None:
    key.verify(signature, data, ec.ECDSA(digest))


def _check_dsa(key: dsa.DSAPublicKey, signature: bytes, data: bytes, digest: hashes.HashAlgorithm) -> None:
    key.verify(signature, data, digest)


_CHECKS: Final[dict[str, tuple[type, Callable[[Any, bytes, bytes, hashes.HashAlgorithm], None]]]] = {
    "pss": (rsa.RSAPublicKey, _check_pss),
    "rsa": (rsa.RSAPublicKey, _check_rsa),
    "ecdsa": (ec.EllipticCurvePublicKey, _check_ecdsa),
    "dsa": (dsa.DSAPublicKey, _check_dsa),
}
