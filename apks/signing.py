"""Verifies APK Signature Schemes v2, v3 and v3.1, all that are there and against each other; fails closed.

Rules: AOSP `ApkSignatureSchemeV2Verifier`, `ApkSignatureSchemeV3Verifier` and apksig's `ApkVerifier`.
Stricter than these: one signer only, a v3.1 signature needs the mark in v3 that announces it, and the
histories in v3 and v3.1 must agree. v1 alone is refused.
"""

from dataclasses import dataclass
from typing import BinaryIO, Final

from apks.content_digest import digest_content
from apks.lineage import Ancestor, read_lineage
from apks.refusal import Refused
from apks.signer_record import ANY_SDK, Signer, read_signer
from apks.signing_block import V2, V3, V31, SigningBlock, malformed, read_block
from apks.zip_directory import Layout

_SCHEMES: Final = (("v2", V2), ("v3", V3), ("v3.1", V31))
_V3_EXISTS: Final = 0xBEEFF00D  # in v2: there must be a newer scheme, this one
_V31_EXISTS: Final = 0x559F8B02  # in v3: there must be a v3.1 signer from this API level on
_ROTATION: Final = 0x3BA06F8C
_NOT_YET_AT_MIN_SDK: Final = 0xC2A6B3BA  # in v3.1: a released Android of its min_sdk still looks at v3
_FIRST_V3_SDK: Final = 28


@dataclass(frozen=True, slots=True)
class Signature:
    """What the verified signatures say.

    `signer_sha256` is the newest key's certificate; `lineage` its proven ancestors and itself, oldest first;
    `replaces` those of the lineage whose installed app Android lets this file update (itself included);
    `min_sdk` the lowest API level at which Android finds a signature among these (0: no limit of its own);
    `content_sha256` the SHA-256 of the whole file; `content_end` the offset where the signing block begins.
    Digests are lower-case hex.
    """

    schemes: tuple[str, ...]
    signer_sha256: str
    signer_subject: str
    lineage: tuple[str, ...]
    replaces: tuple[str, ...]
    min_sdk: int
    content_sha256: str
    content_end: int


def verify(file: BinaryIO, layout: Layout) -> Signature | None:
    """None where neither v2 nor v3 nor v3.1 is there (unsigned, or v1 only). Raises Refused for any flaw."""
    block = read_block(file, layout)
    signers = _read_signers(block) if block else {}
    if block is None or not signers:
        return None
    chains = {scheme: _chain(signer) for scheme, signer in signers.items()}
    _check_none_stripped(signers)
    _check_one_history(chains)
    min_sdk = _check_sdk_ranges(signers)
    content_sha256 = _check_content(file, layout, block, signers)
    newest = chains[list(signers)[-1]]
    certificate = newest[-1].certificate
    return Signature(
        schemes=tuple(signers),
        signer_sha256=certificate.sha256,
        signer_subject=certificate.subject,
        lineage=tuple(link.certificate.sha256 for link in newest),
        replaces=tuple(
            link.certificate.sha256 for link in newest if link.keeps_data or link.certificate is certificate
        ),
        min_sdk=min_sdk,
        content_sha256=content_sha256,
        content_end=block.offset,
    )


def _read_signers(block: SigningBlock) -> dict[str, Signer]:
    return {scheme: read_signer(block.values[key], scheme) for scheme, key in _SCHEMES if key in block.values}


def _chain(signer: Signer) -> tuple[Ancestor, ...]:
    proof = signer.attributes.get(_ROTATION)
    if proof is None:
        return (Ancestor(signer.certificate, keeps_data=True),)
    return read_lineage(proof, signer.certificate)


def _check_none_stripped(signers: dict[str, Signer]) -> None:
    """A newer signature that an older one announces must be there, or somebody has taken it away."""
    v2, v3, v31 = signers.get("v2"), signers.get("v3"), signers.get("v3.1")
    if v2 and _V3_EXISTS in v2.attributes and not (v3 and _number(v2.attributes[_V3_EXISTS]) == 3):
        raise Refused("signature_invalid", "The v3 signature was taken out of the file.")
    announced = _number(v3.attributes[_V31_EXISTS]) if v3 and _V31_EXISTS in v3.attributes else None
    if announced != (v31.min_sdk if v31 else None):
        raise Refused(
            "signature_invalid", "The v3.1 signature was taken out of the file, put in, or changed."
        )


def _number(value: bytes) -> int:
    if len(value) != 4:
        raise malformed("attribute")
    return int.from_bytes(value, "little")


def _check_one_history(chains: dict[str, tuple[Ancestor, ...]]) -> None:
    """v2 is signed with the oldest key of v3's history, and v3's history is the beginning of v3.1's."""
    names = {scheme: [link.certificate.sha256 for link in chain] for scheme, chain in chains.items()}
    newest = names.get("v3.1") or names.get("v3") or names["v2"]
    if "v2" in names and names["v2"] != newest[:1]:
        raise Refused("signature_invalid", "The v2 and v3 signatures are of different signers.")
    if "v3" in names and names["v3"] != newest[: len(names["v3"])]:
        raise Refused(
            "signature_invalid",
            "v3 is signed by a key that the history in v3.1 lacks. Sign with the oldest and newest key only.",
        )


def _check_sdk_ranges(signers: dict[str, Signer]) -> int:
    """Every Android version from the lowest on must find a signer. Returns the lowest, 0 for no limit."""
    v3, v31 = signers.get("v3"), signers.get("v3.1")
    if v3 is None:
        return 0
    if v31 is not None and v31.min_sdk + (_NOT_YET_AT_MIN_SDK in v31.attributes) > v3.max_sdk + 1:
        raise malformed("Android versions between v3 and v3.1 have no signer")
    if (v31 or v3).max_sdk != ANY_SDK:
        raise malformed("newer Android versions have no signer")
    reaches_v2 = "v2" in signers and v3.min_sdk <= _FIRST_V3_SDK
    return 0 if reaches_v2 else max(v3.min_sdk, _FIRST_V3_SDK)


def _check_content(file: BinaryIO, layout: Layout, block: SigningBlock, signers: dict[str, Signer]) -> str:
    names = {name for signer in signers.values() for name in signer.digests}
    whole, actual = digest_content(file, layout, block.offset, names)
    for scheme, signer in signers.items():
        if any(actual[name] != digest for name, digest in signer.digests.items()):
            raise Refused(
                "signature_invalid",
                f"The file was changed after signing: its content is not what the {scheme} signature covers.",
            )
    return whole
