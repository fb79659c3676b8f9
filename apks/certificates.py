"""X.509 certificates inside a signing block: only their key, their fingerprint and a name to show."""

import hashlib
import warnings
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apks.signing_block import malformed

_MAX_SUBJECT: Final = 300


@dataclass(frozen=True, slots=True)
class Certificate:
    """`sha256` is the fingerprint of its DER bytes, `public_key` the DER SubjectPublicKeyInfo."""

    sha256: str
    subject: str
    public_key: bytes = field(repr=False)
    key: object = field(repr=False, compare=False)


def read_certificate(der: bytes) -> Certificate:
    """Dates, issuer and usage mean nothing to Android and are not looked at.

    Raises Refused for a certificate that `cryptography` does not read; among them are those that Java's
    keytool makes for DSA keys.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about oddities that Android accepts, such as a serial number of 0
            certificate = x509.load_der_x509_certificate(der)
            key = certificate.public_key()
            public_key = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            subject = certificate.subject.rfc4514_string()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise malformed("its certificate cannot be read") from None
    shown = "".join(character if character.isprintable() else "?" for character in subject[:_MAX_SUBJECT])
    return Certificate(hashlib.sha256(der).hexdigest(), shown, public_key, key)
