import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.test import override_settings

from apks.allowlist import manage_package, unmanage_package, withdraw
from apks.dummy_apk import SigningKey, dummy_apk
from apks.facts import ApkFacts
from apks.models import Apk, ApkArtifact, ApkVersion
from apks.publishing import Taken, admit, publish
from apks.refusal import Refused
from apks.signals import package_unmanaged, version_withdrawn
from mdm.models import AuditEvent
from mdm.people import SYSTEM, Actor
from mdm.problems import Forbidden, Invalid, NotFound, Problem
from tests.apks.conftest import PACKAGE
from tests.apks.forging import ANY_SDK, Link, apk, history, manifest, rsa_key, unsigned_apk, v2, v3

A, B, EVE = (rsa_key(name) for name in ("a", "b", "eve"))


def upload(data: bytes) -> ContentFile:
    return ContentFile(data, "upload.apk")


def build(code: int = 7, key: SigningKey = A, package: str = PACKAGE, name: str = "") -> bytes:
    return dummy_apk(package, code, name or f"1.0.{code}", key=key)


def rotated(code: int, links: list[Link], key: SigningKey) -> bytes:
    unsigned = unsigned_apk(**{"AndroidManifest.xml": manifest({"versionCode": code, "versionName": "r"})})
    return apk(
        v2=v2(A, announces_v3=True), v3=v3(key, 28, ANY_SDK, history(links)), unsigned=unsigned
    )  # fmt: skip


def refusal(call: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as caught:
        call()
    return caught.value


# --- the decision ----------------------------------------------------------------------------------------

OLD, NEW, CONTENT = "a" * 64, "b" * 64, "f" * 64
FACTS = ApkFacts(
    package=PACKAGE,
    version_code=7,
    version_name="7",
    min_sdk=26,
    target_sdk=34,
    debuggable=False,
    abis=(),
    size_bytes=9,
    sha256=CONTENT,
    schemes=("v3",),
    signer_sha256=NEW,
    signer_subject="CN=b",
    lineage=(OLD, NEW),
    replaces=(OLD, NEW),
)
NO_DATA = replace(FACTS, replaces=(NEW,))


@pytest.mark.parametrize(
    ("managed", "pinned", "taken", "facts", "slug"),
    [
        pytest.param(True, "", None, FACTS, None, id="the first version pins whoever signed it"),
        pytest.param(True, NEW, None, FACTS, None, id="the pinned signer again"),
        pytest.param(True, OLD, None, FACTS, None, id="a proven successor of the pinned signer"),
        pytest.param(True, OLD, None, NO_DATA, "signer_mismatch", id="a successor that may not keep data"),
        pytest.param(True, "e" * 64, None, FACTS, "signer_mismatch", id="somebody else is pinned"),
        pytest.param(False, "", None, FACTS, "not_managed", id="the package is not managed"),
        pytest.param(False, "e" * 64, Taken(1, "0"), FACTS, "not_managed", id="not managed is said first"),
        pytest.param(True, NEW, Taken(1, CONTENT), FACTS, None, id="the same content again"),
        pytest.param(True, NEW, Taken(1, "0" * 64), FACTS, "version_code_taken", id="other content"),
    ],
)
def test_admission(
    managed: bool, pinned: str, taken: Taken | None, facts: ApkFacts, slug: str | None
) -> None:
    try:
        admit(managed=managed, pinned=pinned, taken=taken, facts=facts)
        said = None
    except Refused as refused:
        said = refused.slug
    assert said == slug


# --- the deed --------------------------------------------------------------------------------------------


def test_an_upload_becomes_a_version_with_its_artifact_and_one_audit_row(
    publisher: Actor, managed: Apk
) -> None:
    data = build(121)
    version, created = publish(publisher, upload(data), notes="  first  ")
    assert created
    assert (version.apk_id, version.version_code, version.version_name) == (managed.pk, 121, "1.0.121")
    assert (version.size_bytes, version.notes, version.uploaded_by) == (len(data), "first", publisher.user)
    assert version.download_url == f"/v1/artifacts/{version.sha256}.apk"
    assert version.signature_info["schemes"] == ["v2", "v3"]
    assert version.created_at is not None
    artifact = ApkArtifact.objects.get(apk_version=version)
    with default_storage.open(artifact.storage_name) as file:
        assert file.read() == data
    managed.refresh_from_db()
    assert managed.signer_sha256 == version.signer_sha256
    event = AuditEvent.objects.get(action="upload_apkversion")
    assert (event.actor, event.subject_id) == ("user:pat", str(version.pk))
    assert "pinned its signer" in event.message
    assert event.meta["request_id"] == "r-1"


def test_the_same_content_again_is_the_existing_version(publisher: Actor, managed: Apk) -> None:
    data = build()
    first, _ = publish(publisher, upload(data))
    again, created = publish(publisher, upload(data), notes="other")
    assert (again.pk, created, again.notes) == (first.pk, False, "")
    assert AuditEvent.objects.filter(action="upload_apkversion").count() == 1


def test_the_same_content_again_brings_a_lost_file_back(publisher: Actor, managed: Apk) -> None:
    data = build()
    version, _ = publish(publisher, upload(data))
    name = version.artifacts.get().storage_name
    default_storage.delete(name)
    publish(publisher, upload(data))
    assert default_storage.size(name) == len(data)


def test_a_debuggable_build_is_accepted_and_marked(publisher: Actor, managed: Apk) -> None:
    version, _ = publish(publisher, upload(dummy_apk(PACKAGE, 1, "1", key=A, debuggable=True, abis=["x86"])))
    assert version.debuggable
    assert version.abis == ["x86"]


UPLOADS = {
    "a package that is not managed": (build(package="com.example.other"), "not_managed"),
    "other content under the same code": (build(name="other"), "version_code_taken"),
    "another signer": (build(8, EVE), "signer_mismatch"),
    "another signer for the same code": (build(7, EVE), "signer_mismatch"),
    "a successor that vouches for himself": (
        rotated(8, [Link(A), Link(EVE, signed_by=EVE)], EVE),
        "signature_invalid",
    ),
    "a successor that may not keep the data": (rotated(8, [Link(A, flags=0), Link(B)], B), "signer_mismatch"),
    "a test build": (dummy_apk(PACKAGE, 8, "8", key=A, test_only=True), "test_only"),
    "text": (b"I am an APK", "not_an_apk"),
    "nothing": (b"", "not_an_apk"),
    "an unsigned file": (unsigned_apk(), "signature_missing"),
}


@pytest.mark.parametrize(("data", "slug"), UPLOADS.values(), ids=UPLOADS.keys())
def test_a_refused_upload_leaves_nothing_behind(
    publisher: Actor, managed: Apk, data: bytes, slug: str
) -> None:
    version, _ = publish(publisher, upload(build(7)))
    problem = refusal(lambda: publish(publisher, upload(data)))
    assert (problem.status, problem.slug) == (422, slug)
    assert problem.detail.endswith((".", "?"))
    assert list(ApkVersion.objects.values_list("pk", flat=True)) == [version.pk]
    assert default_storage.listdir("")[1] == [version.artifacts.get().storage_name]
    assert AuditEvent.objects.filter(action="upload_apkversion").count() == 1


@override_settings(APK_MAX_MB=1)
def test_a_file_over_the_limit_is_refused_while_it_is_read(publisher: Actor, managed: Apk) -> None:
    problem = refusal(lambda: publish(publisher, upload(bytes((1 << 20) + 1))))
    assert problem.slug == "too_large"
    fits = dummy_apk(PACKAGE, 1, "1", key=A, padding_bytes=(1 << 20) - 10_000)
    assert publish(publisher, upload(fits))[1]


def test_a_proven_rotation_moves_the_pin_on_for_good(publisher: Actor, managed: Apk) -> None:
    first, _ = publish(publisher, upload(build(7)))
    second, _ = publish(publisher, upload(rotated(8, [Link(A), Link(B)], B)))
    managed.refresh_from_db()
    assert managed.signer_sha256 == second.signer_sha256 != first.signer_sha256
    assert second.signature_info["lineage"] == [first.signer_sha256, second.signer_sha256]
    event = AuditEvent.objects.filter(action="upload_apkversion").latest("id")
    assert "proven key rotation" in event.message
    assert (event.meta["signer_before"], event.meta["signer_after"]) == (
        first.signer_sha256,
        second.signer_sha256,
    )
    assert refusal(lambda: publish(publisher, upload(build(9, A)))).slug == "signer_mismatch"
    assert publish(publisher, upload(build(9, B)))[1]


def test_a_rebuild_names_an_older_version_of_its_package(publisher: Actor, managed: Apk) -> None:
    good, _ = publish(publisher, upload(build(7)))
    bad, _ = publish(publisher, upload(build(8)))
    rebuild, _ = publish(publisher, upload(build(9)), rebuild_of=good.pk)
    assert rebuild.rebuild_of == good
    for wrong in (rebuild.pk + 1, 0, -1, 2**63 - 1):
        problem = refusal(lambda wrong=wrong: publish(publisher, upload(build(10)), rebuild_of=wrong))
        assert (problem.status, list(problem.errors)) == (422, ["rebuild_of"])
    newer = refusal(lambda: publish(publisher, upload(build(6)), rebuild_of=bad.pk))
    assert list(newer.errors) == ["rebuild_of"]
    manage_package(SYSTEM, "com.example.other")
    other = build(99, package="com.example.other")
    assert refusal(lambda: publish(publisher, upload(other), rebuild_of=good.pk)).errors
    assert ApkVersion.objects.count() == 3
    assert len(default_storage.listdir("")[1]) == 3


@pytest.mark.parametrize(
    "notes", ["x" * 10_001, "a\0b", "\ud800"], ids=["too long", "NUL", "half a character"]
)
def test_notes_that_are_no_text_are_refused(publisher: Actor, managed: Apk, notes: str) -> None:
    assert refusal(lambda: publish(publisher, upload(build()), notes=notes)).errors.keys() == {"notes"}


def test_a_viewer_may_do_none_of_it(managed: Apk) -> None:
    viewer = Actor.person(User.objects.create_user("vera"))
    for call in (
        lambda: publish(viewer, upload(build())),
        lambda: manage_package(viewer, "com.example.other"),
        lambda: unmanage_package(viewer, PACKAGE),
        lambda: withdraw(viewer, 1, "bad"),
    ):
        assert isinstance(refusal(call), Forbidden)


@pytest.mark.django_db(transaction=True)
def test_of_two_first_uploads_at_the_same_moment_one_pins_its_signer() -> None:
    manage_package(SYSTEM, PACKAGE)
    start = threading.Barrier(2)

    def attempt(key: SigningKey, code: int) -> str:
        start.wait()
        try:
            publish(SYSTEM, upload(build(code, key)))
        except Invalid as problem:
            return problem.slug
        finally:
            connection.close()
        return "published"

    for number in range(3):
        Apk.objects.update(signer_sha256="")
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(attempt, (A, EVE), (number * 2 + 1, number * 2 + 2)))
        assert sorted(answers) == ["published", "signer_mismatch"]


# --- the allowlist ---------------------------------------------------------------------------------------


def test_a_package_goes_on_and_off_the_allowlist_once(publisher: Actor) -> None:
    heard: list[object] = []

    def listen(**kwargs: object) -> None:
        heard.append((kwargs["apk"], kwargs["actor"], connection.in_atomic_block))

    package_unmanaged.connect(listen)
    try:
        apk = manage_package(publisher, PACKAGE)
        assert (apk.managed, apk.display_name) == (True, PACKAGE)
        manage_package(publisher, PACKAGE)
        assert manage_package(publisher, PACKAGE, "Shop").display_name == "Shop"
        unmanage_package(publisher, PACKAGE)
        assert not unmanage_package(publisher, PACKAGE).managed
    finally:
        package_unmanaged.disconnect(listen)
    assert heard == [(apk, publisher, True)]
    assert list(AuditEvent.objects.order_by("id").values_list("action", flat=True)) == [
        "manage_apk",
        "manage_apk",
        "unmanage_apk",
    ]


@pytest.mark.parametrize("name", ["nexmdm", "", "com.nexmdm\0", "com/../nexmdm", "a." + "b" * 222])
def test_a_bad_package_name_is_refused(publisher: Actor, name: str) -> None:
    assert refusal(lambda: manage_package(publisher, name)).errors.keys() == {"package_name"}


def test_a_bad_display_name_is_refused(publisher: Actor) -> None:
    for name in ("x" * 101, "a\0"):
        problem = refusal(lambda name=name: manage_package(publisher, PACKAGE, name))
        assert problem.errors.keys() == {"display_name"}


def test_an_unknown_package_cannot_be_taken_off(publisher: Actor) -> None:
    assert isinstance(refusal(lambda: unmanage_package(publisher, "com.unknown\0")), NotFound)


def test_a_version_is_withdrawn_once_and_for_good(publisher: Actor, managed: Apk) -> None:
    version, _ = publish(publisher, upload(build()))
    heard: list[object] = []

    def listen(**kwargs: object) -> None:
        heard.append((kwargs["version"], kwargs["reason"], connection.in_atomic_block))

    version_withdrawn.connect(listen)
    try:
        withdrawn = withdraw(publisher, version.pk, " crashes ")
        again = withdraw(publisher, version.pk, "another reason")
    finally:
        version_withdrawn.disconnect(listen)
    assert (withdrawn.withdrawn_reason, withdrawn.withdrawn_by) == ("crashes", publisher.user)
    assert (again.withdrawn_reason, again.withdrawn_at) == ("crashes", withdrawn.withdrawn_at)
    assert heard == [(version, "crashes", True)]
    assert AuditEvent.objects.filter(action="withdraw_apkversion").count() == 1


def test_a_withdrawal_needs_a_reason_and_a_version(publisher: Actor, managed: Apk) -> None:
    version, _ = publish(publisher, upload(build()))
    assert refusal(lambda: withdraw(publisher, version.pk, " ")).errors.keys() == {"reason"}
    assert refusal(lambda: withdraw(publisher, version.pk, "x" * 501)).errors.keys() == {"reason"}
    for unknown in (version.pk + 1, 0, -1, 2**70):
        assert isinstance(refusal(lambda unknown=unknown: withdraw(publisher, unknown, "bad")), NotFound)
