import hashlib
import struct
from pathlib import Path

import pytest

from apks.dummy_apk import SigningKey, attribute, dummy_apk, sequence
from apks.refusal import Refused
from apks.signing_block import V2, V3, V31
from tests.apks.forging import (
    ANY_SDK,
    NOT_YET,
    V3_EXISTS,
    Link,
    Signer,
    announces_v31,
    apk,
    blocks_of,
    digests,
    history,
    look,
    other_key,
    rsa_key,
    unsigned_apk,
    v2,
    v3,
    verdict,
    with_values,
    without_block,
)

GOLDEN = Path(__file__).parent / "golden"
A, B, C, EVE = (rsa_key(name) for name in ("a", "b", "c", "eve"))


def fingerprint(key: SigningKey) -> str:
    return hashlib.sha256(key.certificate).hexdigest()


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.apk").read_bytes()


def rotated(links: list[Link], key: SigningKey = B) -> bytes:
    return apk(v2=v2(A, announces_v3=True), v3=v3(key, 28, ANY_SDK, history(links)))


@pytest.mark.parametrize(
    ("name", "schemes", "signer", "keys", "min_sdk"),
    [
        pytest.param("v1_v2_v3", "v2 v3", "a", 1, 26, id="v1, v2 and v3: v1 is not looked at"),
        pytest.param("v2_only", "v2", "a", 1, 26, id="v2 alone"),
        pytest.param("v3_only", "v3", "a", 1, 28, id="v3 alone needs Android 9, whatever the manifest says"),
        pytest.param("ec256", "v2 v3", "c", 1, 26, id="elliptic curve P-256"),
        pytest.param("ec521", "v2 v3", "e5", 1, 26, id="elliptic curve P-521 with SHA-512"),
        pytest.param("rsa4096", "v2 v3", "r4", 1, 26, id="RSA 4096 with SHA-512"),
        pytest.param("verity", "v2 v3", "a", 1, 26, id="a verity digest beside an ordinary one"),
        pytest.param("rotated_v3", "v2 v3", "b", 2, 26, id="rotated within v3"),
        pytest.param("rotated_v31", "v2 v3 v3.1", "b", 2, 26, id="rotated from Android 13 on by v3.1"),
        pytest.param(
            "rotated_v31_at_34", "v2 v3 v3.1", "b", 2, 26, id="rotated after the release of Android 13"
        ),
        pytest.param("rotated_v31_without_v2", "v3 v3.1", "b", 2, 28, id="v3 and v3.1 without v2"),
        pytest.param("rotated_twice", "v2 v3 v3.1", "c", 3, 26, id="rotated twice"),
    ],
)
def test_a_file_of_apksigner_is_accepted(
    name: str, schemes: str, signer: str, keys: int, min_sdk: int
) -> None:
    facts = look(golden(name))
    assert (" ".join(facts.schemes), facts.signer_subject) == (schemes, f"CN=Golden {signer}")
    assert len(facts.lineage) == keys
    assert facts.lineage[-1] == facts.signer_sha256
    assert facts.replaces == facts.lineage
    assert facts.min_sdk == min_sdk
    assert facts.sha256 == hashlib.sha256(golden(name)).hexdigest()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        pytest.param("unsigned", "signature_missing", id="no signature at all"),
        pytest.param("v1_only", "signature_missing", id="an old v1 signature alone"),
        pytest.param("two_signers", "signature_invalid", id="two signers"),
        pytest.param("rotated_twice_v31", "signature_invalid", id="v3 by a later key without its history"),
        pytest.param("dsa2048", "signature_invalid", id="keytool's DSA certificate, which cannot be read"),
    ],
)
def test_a_file_of_apksigner_is_refused(name: str, slug: str) -> None:
    assert verdict(golden(name)) == slug


def test_a_key_whose_data_may_not_be_kept_is_history_but_not_replaced() -> None:
    facts = look(golden("rotated_v3_nodata"))
    assert len(facts.lineage) == 2
    assert facts.replaces == (facts.signer_sha256,)


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        pytest.param("rsa", (0x0101,), id="RSA-PSS with SHA-256"),
        pytest.param("rsa", (0x0102,), id="RSA-PSS with SHA-512"),
        pytest.param("rsa", (0x0104,), id="RSA with SHA-512"),
        pytest.param("ec", (0x0201,), id="ECDSA with SHA-256"),
        pytest.param("ec", (0x0202,), id="ECDSA with SHA-512"),
        pytest.param("dsa", (0x0301,), id="DSA with SHA-256"),
        pytest.param("rsa", (0x0103, 0x0102), id="two algorithms at once"),
        pytest.param("rsa", (0x0103, 0x0F00), id="one known and one that no Android knows"),
    ],
)
def test_every_algorithm_of_android_is_verified(key: str, algorithms: tuple[int, ...]) -> None:
    signer = Signer(A if key == "rsa" else other_key(key), algorithms=algorithms)
    assert verdict(apk(v2=signer)) == "ok"
    assert verdict(apk(v2=signer.but(wrong_digest_of=algorithms[:1]))) == "signature_invalid"


GOOD = Signer(A)
FORGERIES = {
    "signed with a key that is not the certificate's": GOOD.but(signed_by=EVE),
    "somebody else's certificate in front": GOOD.but(certificates=(B.certificate,)),
    "a certificate of somebody else and his key, but not his signature": GOOD.but(
        certificates=(B.certificate,), public_key=B.public_key()
    ),
    "no certificate": GOOD.but(certificates=()),
    "a certificate that is none": GOOD.but(certificates=(b"no certificate",)),
    "an empty key": GOOD.but(public_key=b""),
    "the digest of other content": GOOD.but(wrong_digest_of=(0x0103,)),
    "no signature": GOOD.but(algorithms=(), digest_algorithms=()),
    "a digest without its signature": GOOD.but(digest_algorithms=(0x0103, 0x0104)),
    "a signature without its digest": GOOD.but(algorithms=(0x0103, 0x0104), digest_algorithms=(0x0103,)),
    "the same algorithm twice": GOOD.but(algorithms=(0x0103, 0x0103)),
    "two algorithms of one digest that disagree": GOOD.but(
        algorithms=(0x0103, 0x0101), wrong_digest_of=(0x0101,)
    ),
    "the second of two signatures made by another key's rules": GOOD.but(algorithms=(0x0103, 0x0201)),
    "an algorithm that no Android knows": GOOD.but(algorithms=(0x0F00,)),
    "a verity digest alone": GOOD.but(algorithms=(0x0421,)),
    "an attribute twice": GOOD.but(attributes=(attribute(9, b""), attribute(9, b""))),
    "65 attributes": GOOD.but(attributes=tuple(attribute(number, b"") for number in range(65))),
    "a mark for v3 that is too short": GOOD.but(attributes=(attribute(V3_EXISTS, b"\3"),)),
    "a mark for a scheme that does not exist": GOOD.but(attributes=(attribute(V3_EXISTS, b"\7\0\0\0"),)),
}


@pytest.mark.parametrize("signer", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_v2_signer_is_refused(signer: Signer) -> None:
    assert verdict(apk(v2=signer)) == "signature_invalid"


GOOD_V3 = v3(A)
FORGERIES_V3 = {
    "the range of Android versions was changed outside": GOOD_V3.but(outer_range=(24, ANY_SDK)),
    "the range ends, so that newer Android finds no signer": v3(A, 28, 33),
    "the range is backwards": v3(A, 33, 28),
    "the range is negative": v3(A, 28, 2**32 - 1),
    "signed with another key": GOOD_V3.but(signed_by=EVE),
    "two signers": (v3(A, 28, 30), v3(B, 31, ANY_SDK)),
}


@pytest.mark.parametrize("signer", FORGERIES_V3.values(), ids=FORGERIES_V3.keys())
def test_a_forged_v3_signer_is_refused(signer: Signer | tuple[Signer, ...]) -> None:
    assert verdict(apk(v3=signer)) == "signature_invalid"


def test_no_signer_at_all_in_the_block_is_refused() -> None:
    assert verdict(apk(extra={V2: sequence([])})) == "signature_invalid"


def test_v3_from_a_later_android_on_leaves_the_earlier_ones_out() -> None:
    assert look(apk(v2=v2(A, announces_v3=True), v3=v3(A, 31))).min_sdk == 31


def test_v2_and_v3_of_different_signers_are_refused() -> None:
    assert verdict(apk(v2=v2(A, announces_v3=True), v3=v3(EVE))) == "signature_invalid"


# --- content ---------------------------------------------------------------------------------------------


def test_the_signature_of_one_file_grafted_on_another_is_refused() -> None:
    good = dummy_apk("com.example.app", 1, "1", key=A)
    evil = dummy_apk("com.example.app", 2, "1", key=EVE)
    assert verdict(with_values(evil, blocks_of(good))) == "signature_invalid"


def test_any_changed_byte_is_refused_or_changes_nothing_that_was_signed() -> None:
    good = dummy_apk("com.example.app", 1, "1", key=A)
    facts = look(good)
    harmless = 0
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 0x01
        try:
            seen = look(bytes(changed))
        except Refused:
            continue
        harmless += 1
        assert (seen.package, seen.version_code, seen.lineage) == ("com.example.app", 1, facts.lineage)
        assert seen.schemes == ("v3",), "only the id of the v2 entry may change: v3 alone still holds"
    assert harmless == 4


def test_a_truncated_file_is_refused_wherever_it_ends() -> None:
    good = dummy_apk("com.example.app", 1, "1", key=A)
    assert {verdict(good[:length]) for length in range(0, len(good), 5)} == {"not_an_apk"}


def test_bytes_added_at_the_end_or_in_front_are_refused() -> None:
    good = dummy_apk("com.example.app", 1, "1", key=A)
    assert verdict(good + b"more") == "not_an_apk"
    assert verdict(b"more" + good) == "not_an_apk"


def test_a_stripped_signature_is_refused() -> None:
    good = dummy_apk("com.example.app", 1, "1", key=A)
    values = blocks_of(good)
    assert verdict(with_values(good, {V2: values[V2]})) == "signature_invalid"
    assert look(with_values(good, {V3: values[V3]})).schemes == ("v3",)
    assert verdict(with_values(good, {0x42726577: b"padding"})) == "signature_missing"
    assert verdict(without_block(good)) == "signature_missing"


# --- key history -----------------------------------------------------------------------------------------


def test_a_proven_history_is_told_oldest_first() -> None:
    facts = look(rotated([Link(A), Link(B), Link(C)], C))
    assert facts.lineage == (fingerprint(A), fingerprint(B), fingerprint(C))
    assert facts.signer_sha256 == fingerprint(C)


HISTORIES = {
    "the new key vouches for itself": [Link(A), Link(B, signed_by=B)],
    "somebody else vouches": [Link(A), Link(B, signed_by=EVE)],
    "the last link is another key": [Link(A), Link(C)],
    "it stops before the key that signed": [Link(A)],
    "it is empty": [],
    "a key comes back": [Link(A), Link(B), Link(A), Link(B)],
    "the algorithm is not the promised one": [Link(A), Link(B, signed_with=0x0101)],
    "an unknown algorithm is promised": [Link(A, signs_next=0x0F00), Link(B)],
    "an algorithm of another kind of key is promised": [Link(A, signs_next=0x0201), Link(B)],
    "it begins with another key than v2's": [Link(C), Link(B)],
    "it has 65 links": [Link(A)] * 65,
}


@pytest.mark.parametrize("links", HISTORIES.values(), ids=HISTORIES.keys())
def test_a_forged_history_is_refused(links: list[Link]) -> None:
    assert verdict(rotated(links)) == "signature_invalid"


def test_a_history_of_an_unknown_version_is_refused() -> None:
    signer = v3(B, 28, ANY_SDK, history([Link(A), Link(B)], version=2))
    assert verdict(apk(v2=v2(A, announces_v3=True), v3=signer)) == "signature_invalid"


def test_a_history_cut_off_at_any_byte_is_refused() -> None:
    whole = history([Link(A), Link(B)])
    for length in range(8, len(whole), 41):
        signer = v3(B, 28, ANY_SDK, whole[:length])
        assert verdict(apk(v3=signer)) == "signature_invalid"


# --- v3.1 ------------------------------------------------------------------------------------------------

V2_A = v2(A, announces_v3=True)
V31_B = v3(B, 33, ANY_SDK, history([Link(A), Link(B)]))


def test_a_rotation_for_newer_androids_is_accepted() -> None:
    data = apk(v2=V2_A, v3=v3(A, 28, 32, announces_v31(33)), v31=V31_B)
    facts = look(data)
    assert facts.schemes == ("v2", "v3", "v3.1")
    assert facts.lineage == (fingerprint(A), fingerprint(B))
    assert facts.min_sdk == 26


ODD_V31 = {
    "v3.1 was taken out": (v3(A, 28, 32, announces_v31(33)), None),
    "v3.1 was taken out and v3 reaches on": (v3(A, 28, ANY_SDK, announces_v31(33)), None),
    "v3.1 was put in by somebody, with his own history": (
        v3(A),
        v3(EVE, 33, ANY_SDK, history([Link(A), Link(EVE, signed_by=EVE)])),
    ),
    "v3.1 was put in without any history": (v3(A, 28, 32, announces_v31(33)), v3(EVE, 33)),
    "v3.1 is not announced by v3": (v3(A, 28, 32), V31_B),
    "v3.1 begins at another version than announced": (v3(A, 28, 32, announces_v31(34)), V31_B),
    "versions between v3 and v3.1 have no signer": (v3(A, 28, 31, announces_v31(33)), V31_B),
    "v3.1 ends, so that newer Android finds no signer": (
        v3(A, 28, 32, announces_v31(33)),
        v3(B, 33, 35, history([Link(A), Link(B)])),
    ),
    "v3.1's history does not hold": (
        v3(A, 28, 32, announces_v31(33)),
        v3(B, 33, ANY_SDK, history([Link(A), Link(B, signed_by=EVE)])),
    ),
    "v3.1's history is not v3's": (
        v3(A, 28, 32, announces_v31(33)),
        v3(B, 33, ANY_SDK, history([Link(C), Link(B)])),
    ),
    "released Android 13 is left to v3, which does not reach it": (
        v3(A, 28, 32, announces_v31(33)),
        v3(B, 33, ANY_SDK, history([Link(A), Link(B)]), attribute(NOT_YET, b"")),
    ),
}


@pytest.mark.parametrize(("older", "newer"), ODD_V31.values(), ids=ODD_V31.keys())
def test_an_odd_v31_signature_is_refused(older: Signer, newer: Signer | None) -> None:
    data = apk(v2=V2_A, v3=older, v31=newer or ())
    assert verdict(data) == "signature_invalid"


def test_v31_without_v3_is_refused() -> None:
    assert verdict(apk(v31=V31_B)) == "signature_invalid"
    assert verdict(apk(v2=v2(A), v31=V31_B)) == "signature_invalid"


def test_v31_stripped_from_a_file_of_apksigner_is_refused() -> None:
    data = golden("rotated_v31")
    values = blocks_of(data)
    del values[V31]
    assert verdict(with_values(data, values)) == "signature_invalid"


# --- the block -------------------------------------------------------------------------------------------


def raw_block(body: bytes, *, first: int | None = None, last: int | None = None) -> bytes:
    """An APK with that block body and those two sizes."""
    content = digests(unsigned_apk())
    size = len(body) + 24
    block = struct.pack("<Q", size if first is None else first) + body
    block += struct.pack("<Q", size if last is None else last) + b"APK Sig Block 42"
    data, at = content.unsigned, content.layout.directory_offset
    end = data[content.layout.end_offset :]
    directory = data[at : content.layout.end_offset]
    return data[:at] + block + directory + end[:16] + struct.pack("<I", at + len(block)) + end[20:]


PAIR = struct.pack("<QI", 5, 0x1234) + b"x"
BLOCKS = {
    "the two sizes differ": raw_block(PAIR, first=40),
    "the size is larger than the file": raw_block(PAIR, last=1 << 62),
    "the size is too small": raw_block(PAIR, last=23),
    "the size is larger than any real block": raw_block(PAIR, last=5 << 20),
    "an entry is there twice": raw_block(PAIR * 2),
    "an entry runs past the end": raw_block(struct.pack("<QI", 99, 7)),
    "an entry is cut off": raw_block(b"\0" * 5),
    "an entry is smaller than its id": raw_block(struct.pack("<QI", 3, 7)),
    "there are 65 entries": raw_block(b"".join(struct.pack("<QI", 4, number) for number in range(65))),
}


@pytest.mark.parametrize("data", BLOCKS.values(), ids=BLOCKS.keys())
def test_a_malformed_block_is_refused(data: bytes) -> None:
    assert verdict(data) == "signature_invalid"


def test_a_v3_entry_cut_off_at_any_byte_is_refused() -> None:
    good = apk(v3=v3(A))
    entry = blocks_of(good)[V3]
    cut = {verdict(with_values(good, {V3: entry[:length]})) for length in range(0, len(entry), 7)}
    assert cut == {"signature_invalid"}
