"""The admin pages of packages and versions: allowlist, upload with its refusals, withdrawal."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings

from apks.allowlist import manage_package, withdraw
from apks.dummy_apk import dummy_apk
from apks.models import Apk, ApkVersion
from apks.publishing import publish
from mdm.people import SYSTEM
from tests.apks.conftest import PACKAGE
from tests.apks.forging import rsa_key
from tests.deployments.pages import signed_in

pytestmark = pytest.mark.django_db

UPLOAD = "/admin/apks/apkversion/add/"
A, EVE = rsa_key("a"), rsa_key("eve")


def send(client: Client, data: bytes, **more: Any) -> Any:
    return client.post(UPLOAD, {"file": SimpleUploadedFile("some.apk", data), **more})


def said(answer: Any) -> str:
    return str(answer.content.decode())


def published(code: int = 7) -> ApkVersion:
    return publish(SYSTEM, SimpleUploadedFile("x.apk", dummy_apk(PACKAGE, code, f"1.0.{code}", key=A)))[0]


def test_a_fleet_admin_uploads_a_version(managed: Apk) -> None:
    client = signed_in("fleet admin")
    answer = send(client, dummy_apk(PACKAGE, 7, "1.0.7", key=A), notes="first")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/apks/apkversion/")
    version = ApkVersion.objects.get()
    assert (version.version_code, version.notes, version.uploaded_by) == (7, "first", User.objects.get())
    assert "Example 1.0.7 (7) was uploaded" in said(client.get("/admin/apks/apkversion/"))


def test_the_same_file_again_is_the_version_that_is_there(managed: Apk) -> None:
    client = signed_in("fleet admin")
    for words in ("was uploaded", "was there already"):
        send(client, dummy_apk(PACKAGE, 7, "1.0.7", key=A))
        assert words in said(client.get("/admin/apks/apkversion/"))
    assert ApkVersion.objects.count() == 1


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"no APK at all", ""),
        (dummy_apk("com.unmanaged", 1, "1", key=A), "is not on the list of managed packages"),
        (dummy_apk(PACKAGE, 8, "1.0.8", key=EVE), "without proof of a key rotation"),
        (dummy_apk(PACKAGE, 7, "another", key=A), "is another file. Raise the versionCode."),
        (b"", "The submitted file is empty."),
    ],
    ids=["no APK", "not managed", "another signer", "code taken", "empty"],
)
def test_every_refusal_is_said_in_words_and_keeps_nothing(managed: Apk, data: bytes, sentence: str) -> None:
    published()
    answer = send(signed_in("fleet admin"), data)
    assert answer.status_code == (422 if data else 200)
    assert 'role="alert"' in said(answer)
    assert sentence in said(answer)
    assert ApkVersion.objects.count() == 1


def test_a_rebuild_names_the_good_version_it_repeats(managed: Apk) -> None:
    good = published()
    client = signed_in("fleet admin")
    send(client, dummy_apk(PACKAGE, 9, "1.0.7", key=A), rebuild_of=good.pk)
    assert ApkVersion.objects.get(version_code=9).rebuild_of == good
    refused = send(client, dummy_apk(PACKAGE, 3, "1.0.3", key=A), rebuild_of=good.pk)
    assert "must be an older version" in said(refused)


def test_a_file_that_is_announced_as_too_large_is_not_read(managed: Apk) -> None:
    client = signed_in("fleet admin")
    with override_settings(APK_MAX_MB=0):
        answer = send(client, b"x" * (2 << 20))
    assert answer.status_code == 400
    assert "the file is larger than may be uploaded" in said(answer)


@pytest.mark.parametrize("group", ["", "viewer", "operator"])
def test_nobody_else_uploads_withdraws_or_touches_the_allowlist(managed: Apk, group: str) -> None:
    version, client = published(), signed_in(group)
    acts = (
        UPLOAD,
        f"/admin/apks/apkversion/{version.pk}/withdraw/",
        "/admin/apks/apk/add/",
        f"/admin/apks/apk/{managed.pk}/manage/",
        f"/admin/apks/apk/{managed.pk}/unmanage/",
    )
    for act in acts:
        assert client.get(act).status_code in (403, 404), act
        assert client.post(act, {"reason": "no", "package_name": "com.mine"}).status_code in (403, 404), act
    assert ApkVersion.objects.get().withdrawn_at is None
    assert list(Apk.objects.filter(managed=True)) == [managed]
    if group:
        assert "Withdraw" not in said(client.get("/admin/apks/apkversion/"))
        assert "Take off" not in said(client.get("/admin/apks/apk/"))


def test_a_version_is_withdrawn_with_a_reason_that_everybody_sees(managed: Apk) -> None:
    version, client = published(), signed_in("fleet admin")
    act = f"/admin/apks/apkversion/{version.pk}/withdraw/"
    assert "This field is required." in said(client.post(act, {"reason": " "}))
    assert client.post(act, {"reason": "crashes <b>"}).status_code == 302
    page = said(client.get("/admin/apks/apkversion/"))
    assert "withdrawn</td>" in page
    assert "withdrawn <time" in said(client.get(f"/admin/apks/apkversion/{version.pk}/change/"))
    assert "crashes &lt;b&gt;" in page
    assert "Withdraw…" not in page


def test_a_package_is_put_on_the_allowlist_and_taken_off(db: None) -> None:
    client = signed_in("fleet admin")
    assert (
        client.post("/admin/apks/apk/add/", {"package_name": "com.mine", "display_name": "Mine"}).status_code
        == 302
    )
    apk = Apk.objects.get()
    for act, managed in (("unmanage", False), ("manage", True)):
        assert f"/{act}/" in said(client.get("/admin/apks/apk/"))
        assert client.get(f"/admin/apks/apk/{apk.pk}/{act}/").status_code == 200
        assert Apk.objects.get().managed is not managed
        assert client.post(f"/admin/apks/apk/{apk.pk}/{act}/").status_code == 302
        assert Apk.objects.get().managed is managed


def test_what_is_no_package_name_is_refused_beside_its_input(db: None) -> None:
    answer = signed_in("fleet admin").post("/admin/apks/apk/add/", {"package_name": "no name"})
    assert answer.status_code == 422
    assert "This is no package name that Android accepts" in said(answer)


def test_a_debuggable_build_is_marked_wherever_the_version_is_shown(managed: Apk) -> None:
    version = published()
    ApkVersion.objects.update(debuggable=True)
    client = signed_in("viewer")
    assert "debuggable build" in said(client.get("/admin/apks/apkversion/"))
    assert "debuggable: anybody" in said(client.get(f"/admin/apks/apkversion/{version.pk}/change/"))
    withdraw(SYSTEM, version.pk, "crashes")
    page = said(client.get("/admin/apks/apkversion/"))
    assert "debuggable build" in page
    assert "crashes" in page


def test_an_older_signer_after_a_rotation_is_named(managed: Apk) -> None:
    published()
    Apk.objects.update(signer_sha256="b" * 64)
    assert "older key" in said(signed_in("viewer").get("/admin/apks/apkversion/"))
    assert manage_package(SYSTEM, PACKAGE).managed
