"""Packages and versions at the door."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings

from apks.api import PackageOut, VersionOut
from apks.dummy_apk import dummy_apk
from apks.models import Apk, ApkVersion
from mdm.wire_schemas import Items
from tests.apks.forging import rsa_key
from tests.calls import Caller, Reply, as_user
from tests.factories import AdminFactory, ApkFactory, ApkVersionFactory, member

pytestmark = pytest.mark.django_db

KEY = rsa_key("a")


@pytest.fixture
def call(tmp_path: object) -> object:
    with override_settings(MEDIA_ROOT=str(tmp_path)):
        yield as_user(member("fleet admin"))


def upload(call: Caller, data: bytes, **form: str) -> Reply:
    body = {"file": SimpleUploadedFile("x.apk", data), **form}
    return call.reply(call.client.post("/v1/apks/versions", body, headers=call.headers))


def test_an_upload_is_201_the_same_again_200_and_the_list_shows_it(call: Caller) -> None:
    call("PUT", "/v1/apks/managed/com.example.app", {"display_name": "Example"})
    data = dummy_apk("com.example.app", 7, "1.0.7", key=KEY)
    first, second = upload(call, data, notes="first"), upload(call, data)
    assert (first.status, second.status) == (201, 200)
    assert first.body == second.body
    shown = VersionOut.model_validate(first.body)
    assert (shown.package_name, shown.version_code, shown.signature_schemes) == (
        "com.example.app",
        7,
        ["v2", "v3"],
    )
    listed = call("GET", f"/v1/apks/{shown.apk_id}/versions").body
    assert Items[VersionOut].model_validate(listed).items == [shown]
    packages = Items[PackageOut].model_validate(call("GET", "/v1/apks").body)
    assert [(item.package_name, item.latest_version_code) for item in packages.items] == [
        ("com.example.app", 7)
    ]


def test_an_upload_of_an_unmanaged_package_says_so(call: Caller) -> None:
    reply = upload(call, dummy_apk("com.example.other", 1, "1", key=KEY))
    assert (reply.status, reply.type) == (422, "not_managed")


@override_settings(APK_MAX_MB=1)
def test_an_upload_over_the_limit_is_refused_by_its_announced_length(call: Caller) -> None:
    reply = upload(call, b"x" * (3 << 20))
    assert (reply.status, reply.type) == (422, "too_large")


def test_a_package_goes_on_the_allowlist_and_off_again(call: Caller) -> None:
    on = call("PUT", "/v1/apks/managed/com.example.app")
    assert (on.status, on.body["managed"], on.body["display_name"]) == (200, True, "com.example.app")
    off = call("DELETE", "/v1/apks/managed/com.example.app")
    assert (off.status, off.body["managed"]) == (200, False)
    assert call("DELETE", "/v1/apks/managed/com.example.nobody").status == 404
    assert call("PUT", "/v1/apks/managed/nodots").status == 422
    assert Apk.objects.count() == 1


def test_a_withdrawal_needs_a_reason_and_is_shown(call: Caller) -> None:
    version = ApkVersionFactory()
    path = f"/v1/apks/versions/{version.pk}/withdraw"
    assert call("POST", path, {}).status == 422
    assert call("POST", path, {"reason": "  "}).status == 422
    shown = VersionOut.model_validate(call("POST", path, {"reason": "Crashes"}).body)
    assert (shown.withdrawn_reason, shown.withdrawn_at is not None) == ("Crashes", True)
    assert call("POST", path, {"reason": "Other"}).body["withdrawn_reason"] == "Crashes"


def test_a_withdrawn_version_is_not_the_latest(call: Caller) -> None:
    ApkVersionFactory(version_code=7)
    withdrawn = ApkVersionFactory(version_code=8)
    call("POST", f"/v1/apks/versions/{withdrawn.pk}/withdraw", {"reason": "Crashes"})
    assert call("GET", "/v1/apks").body["items"][0]["latest_version_code"] == 7


def test_versions_page_by_number_from_the_newest_and_by_cursor_through_all() -> None:
    call = as_user(AdminFactory())
    apk = ApkFactory()
    made = [ApkVersionFactory(apk=apk, version_code=code).pk for code in range(1, 8)]
    path = f"/v1/apks/{apk.pk}/versions"
    first = call("GET", f"{path}?page_size=3").body
    assert [item["version_code"] for item in first["items"]] == [7, 6, 5]
    assert (first["count"], first["page"], first["page_size"], "next_after" in first) == (7, 1, 3, False)
    found, after = [], ""
    while after is not None:
        page = call("GET", f"{path}?page_size=3&after={after}").body
        found += [item["id"] for item in page["items"]]
        after = page["next_after"]
    assert found == made
    assert call("GET", f"{path}?page=99").body["items"] == []
    assert ApkVersion.objects.count() == 7
