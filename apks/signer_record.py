"""One signer of scheme v2, v3 or v3.1: what it says, and whether its own signatures hold.

That the file is what the signer signed is checked later, once for all schemes (`signing`).
"""

from dataclasses import dataclass
from typing import Final

from apks.certificates import Certificate, read_certificate
from apks.refusal import Refused
from apks.signature_algorithms import ALGORITHMS, is_signed_by
from apks.signing_block import Record, malformed

ANY_SDK: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Signer:
    """A signer whose signatures hold. `digests` maps `sha256` / `sha512` to what the file must amount to."""

    certificate: Certificate
    digests: dict[str, bytes]
    attributes: dict[int, bytes]
    min_sdk: int = 0
    max_sdk: int = ANY_SDK


def read_signer(value: bytes, scheme: str) -> Signer:
    """The one signer of a v2 / v3 / v3.1 block. Raises Refused for none, for several, and for any flaw."""
    signers = Record(value).items()
    if len(signers) != 1:
        raise Refused(
            "signature_invalid",
            f"The {scheme} signature has {len(signers)} signers; exactly one is accepted. Sign with one key.",
        )
    outer = Record(signers[0])
    signed = outer.prefixed()
    sdk_range = _sdk_range(outer) if scheme != "v2" else None
    signatures = dict(_algorithm_pairs(outer.items()))
    public_key = outer.prefixed()
    signer = _read_signed(Record(signed), list(signatures), sdk_range)
    if signer.certificate.public_key != public_key:
        raise malformed("the key is not that of the certificate")
    _check_signatures(signer.certificate.key, signatures, signed, scheme)
    return signer


def _sdk_range(record: Record) -> tuple[int, int]:
    low, high = record.number(), record.number()
    if not low <= high <= ANY_SDK:
        raise malformed("range of Android versions")
    return low, high


def _algorithm_pairs(items: list[bytes]) -> list[tuple[int, bytes]]:
    pairs: list[tuple[int, bytes]] = []
    for item in items:
        record = Record(item)
        pairs.append((record.number(), record.prefixed()))
    if len({algorithm for algorithm, _ in pairs}) != len(pairs):
        raise malformed("an algorithm is there twice")
    return pairs


def _read_signed(record: Record, algorithms: list[int], sdk_range: tuple[int, int] | None) -> Signer:
    digests = _algorithm_pairs(record.items())
    certificates = record.items()
    if [algorithm for algorithm, _ in digests] != algorithms:
        raise malformed("digests and signatures differ in their algorithms")
    if not certificates:
        raise malformed("no certificate")
    if sdk_range is not None and _sdk_range(record) != sdk_range:
        raise malformed("range of Android versions was changed")
    attributes = _read_attributes(record.items())
    low, high = sdk_range or (0, ANY_SDK)
    return Signer(read_certificate(certificates[0]), _content_digests(digests), attributes, low, high)


def _read_attributes(items: list[bytes]) -> dict[int, bytes]:
    attributes: dict[int, bytes] = {}
    for item in items:
        record = Record(item)
        key = record.number()
        if key in attributes:
            raise malformed("an attribute is there twice")
        attributes[key] = record.rest()
    return attributes


def _content_digests(pairs: list[tuple[int, bytes]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for algorithm_id, digest in pairs:
        algorithm = ALGORITHMS.get(algorithm_id)
        if algorithm is None or algorithm.content == "verity":
            continue  # unknown to Android too, or a tree over the file that only the device builds
        if found.setdefault(algorithm.content, digest) != digest:
            raise malformed("two digests of one kind differ")
    if not found:
        raise Refused(
            "signature_invalid",
            "The signature uses no digest that can be checked here. Sign with SHA-256 or SHA-512.",
        )
    return found


def _check_signatures(key: object, signatures: dict[int, bytes], signed: bytes, scheme: str) -> None:
    for algorithm_id, signature in signatures.items():
        algorithm = ALGORITHMS.get(algorithm_id)
        if algorithm is not None and not is_signed_by(key, algorithm, signature, signed):
            raise Refused(
                "signature_invalid", f"The {scheme} signature does not hold: it was forged or damaged."
            )
