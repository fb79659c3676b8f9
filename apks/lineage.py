"""Proof of rotation: the chain by which each signing key vouched for its successor (v3 attribute 0x3ba06f8c).

Format and rules: AOSP `V3SigningCertificateLineage`. Every link is verified with the key before it.
"""

from dataclasses import dataclass
from typing import Final

from apks.certificates import Certificate, read_certificate
from apks.signature_algorithms import ALGORITHMS, is_signed_by
from apks.signing_block import Record, malformed

_VERSION: Final = 1
_INSTALLED_DATA: Final = 0x1


@dataclass(frozen=True, slots=True)
class Ancestor:
    """`keeps_data`: an app installed with this key may be updated by its successors and keeps its data."""

    certificate: Certificate
    keeps_data: bool


def read_lineage(data: bytes, signer: Certificate) -> tuple[Ancestor, ...]:
    """The verified chain, oldest first, ending with `signer`. Raises Refused if any link does not hold."""
    record = Record(data)
    if record.number() != _VERSION:
        raise malformed("unknown version of the key history")
    chain: list[Ancestor] = []
    promised = 0
    for element in record.elements():
        ancestor, promised = _read_link(Record(element), chain[-1].certificate if chain else None, promised)
        if any(ancestor.certificate.sha256 == past.certificate.sha256 for past in chain):
            raise malformed("a key is in the key history twice")
        chain.append(ancestor)
    if not chain or chain[-1].certificate.sha256 != signer.sha256:
        raise malformed("the key history does not end with the key that signed")
    return tuple(chain)


def _read_link(link: Record, parent: Certificate | None, promised: int) -> tuple[Ancestor, int]:
    """One link and the algorithm with which its key signs the next; `promised` is that of the one before."""
    signed = link.prefixed()
    flags, next_algorithm, signature = link.number(), link.number(), link.prefixed()
    fields = Record(signed)
    certificate, signed_with = read_certificate(fields.prefixed()), fields.number()
    if parent is not None:
        algorithm = ALGORITHMS.get(promised)
        if signed_with != promised or algorithm is None:
            raise malformed("algorithm in the key history")
        if not is_signed_by(parent.key, algorithm, signature, signed):
            raise malformed("a key in the key history was not vouched for by the key before it")
    return Ancestor(certificate, bool(flags & _INSTALLED_DATA)), next_algorithm
