import hashlib
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import HttpResponseBase
from django.test import Client
from django.utils import timezone

from apks import artifacts
from apks.allowlist import withdraw
from apks.byte_range import Span, Unsatisfiable, may_resume, requested_span
from apks.downloads import CHUNK_BYTES, STREAMS, Busy, FilePart, SlotHolder
from apks.models import Apk, ApkArtifact, ApkVersion
from devices.models import Device
from mdm.people import SYSTEM

pytestmark = pytest.mark.urls("apks.urls")
CONTENT = bytes(range(256)) * 6000  # twelve chunks, more than is sent at once
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{SHA256}"'


@pytest.fixture
def device(db: None) -> Device:
    return Device.objects.create(serial="S-1", model="Joy 2", sdk_int=33)


@pytest.fixture
def version(managed: Apk) -> ApkVersion:
    """A version whose file is no real APK: the door does not look inside."""
    name = default_storage.save(f"{SHA256}.apk", ContentFile(CONTENT))
    version = ApkVersion.objects.create(
        apk=managed,
        version_name="1",
        version_code=1,
        sha256=SHA256,
        size_bytes=len(CONTENT),
        download_url=artifacts.plain_path(SHA256),
        signer_sha256="a" * 64,
    )
    ApkArtifact.objects.create(apk_version=version, sha256=SHA256, size_bytes=len(CONTENT), storage_name=name)
    return version


@pytest.fixture
def url(version: ApkVersion, device: Device) -> str:
    return artifacts.signed_url(SHA256, device.pk)


def body(response: HttpResponseBase) -> bytes:
    if not response.streaming:
        return response.content  # type: ignore[attr-defined]
    return b"".join(response.streaming_content)  # type: ignore[attr-defined]


def problem(response: HttpResponseBase) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["type"]  # type: ignore[attr-defined]


def test_the_whole_file_is_served(client: Client, url: str) -> None:
    response = client.get(url)
    assert response.status_code == 200
    assert body(response) == CONTENT
    assert response["Content-Type"] == "application/vnd.android.package-archive"
    assert response["Content-Length"] == str(len(CONTENT))
    assert response["ETag"] == ETAG
    assert response["Accept-Ranges"] == "bytes"
    assert response["Cache-Control"] == "private, no-transform"


def test_head_tells_the_same_without_the_bytes(client: Client, url: str) -> None:
    response = client.head(url, headers={"Range": "bytes=0-9"})
    assert response.status_code == 200
    assert response.content == b""
    assert (response["Content-Length"], response["ETag"]) == (str(len(CONTENT)), ETAG)


SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        pytest.param("bytes=0-0", 0, 0, id="the first byte"),
        pytest.param("bytes=100-", 100, SIZE - 1, id="from a byte on"),
        pytest.param("bytes=-10", SIZE - 10, SIZE - 1, id="the last ten bytes"),
        pytest.param(f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1, id="the last byte"),
        pytest.param(f"bytes=5-{SIZE * 10}", 5, SIZE - 1, id="to far behind the end"),
        pytest.param(f"bytes=-{SIZE * 10}", 0, SIZE - 1, id="more last bytes than there are"),
        pytest.param(f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", CHUNK_BYTES - 1, CHUNK_BYTES, id="over a chunk's edge"),
        pytest.param("bytes=0-" + "9" * 18, 0, SIZE - 1, id="an absurdly large end"),
    ],
)  # fmt: skip
def test_a_range_is_served(client: Client, url: str, header: str, start: int, end: int) -> None:
    response = client.get(url, headers={"Range": header})
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes {start}-{end}/{SIZE}"
    assert response["Content-Length"] == str(end - start + 1)
    assert body(response) == CONTENT[start : end + 1]


@pytest.mark.parametrize(
    "header",
    ["bytes=9-5", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,5-6", "items=0-5", "0-5", "bytes=" + "9" * 5000 + "-"],
)  # fmt: skip
def test_a_range_that_is_nonsense_or_several_gives_the_whole_file(
    client: Client, url: str, header: str
) -> None:
    response = client.get(url, headers={"Range": header})
    assert response.status_code == 200
    assert body(response) == CONTENT


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
def test_a_range_behind_the_end_is_416(client: Client, url: str, header: str) -> None:
    response = client.get(url, headers={"Range": header})
    assert problem(response) == (416, "range_not_satisfiable")
    assert response["Content-Range"] == f"bytes */{SIZE}"


def test_a_download_goes_on_only_with_the_same_file(client: Client, url: str) -> None:
    same = client.get(url, headers={"Range": "bytes=10-", "If-Range": ETAG})
    assert (same.status_code, body(same)) == (206, CONTENT[10:])
    for tag in (f'"{"0" * 64}"', f"W/{ETAG}", SHA256, "Tue, 24 Nov 2026 03:00:00 GMT"):
        other = client.get(url, headers={"Range": "bytes=10-", "If-Range": tag})
        assert (other.status_code, body(other)) == (200, CONTENT)


def test_what_the_client_has_already_is_not_sent_again(client: Client, url: str) -> None:
    response = client.get(url, headers={"If-None-Match": ETAG})
    assert (response.status_code, response["ETag"]) == (304, ETAG)
    assert body(client.get(url, headers={"If-None-Match": '"other"'})) == CONTENT
    assert client.get(url, headers={"If-Match": '"other"'}).status_code == 412


def test_only_reading_is_allowed(url: str) -> None:
    client = Client(enforce_csrf_checks=True)
    for method in ("post", "put", "patch", "delete", "options"):
        response = getattr(client, method)(url)
        assert problem(response) == (405, "method_not_allowed")
        assert response["Allow"] == "GET, HEAD"


# --- who may ---------------------------------------------------------------------------------------------


def test_an_address_expires_after_thirty_minutes(client: Client, url: str) -> None:
    start = timezone.now()
    with time_machine.travel(start + timedelta(minutes=29, seconds=58), tick=False):
        assert body(client.get(url)) == CONTENT
    with time_machine.travel(start + timedelta(minutes=30, seconds=1), tick=False):
        assert problem(client.get(url)) == (403, "url_expired")


def tampered(url: str) -> Iterator[str]:
    """The same address with one part changed, missing or strange at a time."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    strange = {
        "device": ["", "2", "-1", "1e3", "x", "9" * 30, "1\0", "٣"],
        "expires": ["", str(int(query["expires"]) + 1), "9" * 18, "9" * 40, "NaN"],
        "sig": ["", "0" * 64, query["sig"][:-1], query["sig"].upper(), "é", "\0"],
    }
    for name, values in strange.items():
        for value in values:
            changed = query | {name: str(int(query["device"]) + 1) if value == "2" else value}
            yield parts.path + "?" + "&".join(f"{key}={text}" for key, text in changed.items())
        yield parts.path + "?" + "&".join(f"{key}={text}" for key, text in query.items() if key != name)
    yield parts.path


def test_a_tampered_address_is_refused(client: Client, url: str) -> None:
    for changed in tampered(url):
        assert problem(client.get(changed)) == (403, "forbidden"), changed


def test_the_signature_is_of_one_file_only(client: Client, url: str) -> None:
    for other in ("0" * 64, SHA256.upper(), SHA256[:-1], "..", "x" * 5000):
        assert problem(client.get(url.replace(SHA256, other))) == (403, "forbidden")


def test_a_signed_address_of_an_unknown_file_is_404(client: Client, device: Device) -> None:
    assert problem(client.get(artifacts.signed_url("0" * 64, device.pk))) == (404, "not_found")


def test_a_file_that_is_gone_from_the_store_is_404(client: Client, url: str) -> None:
    default_storage.delete(f"{SHA256}.apk")
    assert problem(client.get(url)) == (404, "not_found")


def test_a_retired_or_unknown_device_gets_nothing(client: Client, url: str, device: Device) -> None:
    Device.objects.filter(pk=device.pk).update(status="retired", retired_at=timezone.now())
    assert problem(client.get(url)) == (403, "forbidden")
    assert problem(client.get(artifacts.signed_url(SHA256, 10**17))) == (403, "forbidden")


def test_a_withdrawn_version_is_no_longer_served(client: Client, url: str, version: ApkVersion) -> None:
    withdraw(SYSTEM, version.pk, "crashes")
    assert problem(client.get(url)) == (403, "version_withdrawn")


def test_the_address_is_that_of_the_public_url(url: str) -> None:
    assert url.startswith(f"http://testserver/v1/artifacts/{SHA256}.apk?")


def test_asking_costs_few_queries(client: Client, url: str, django_assert_max_num_queries: object) -> None:
    with django_assert_max_num_queries(3):  # type: ignore[operator]
        body(client.get(url))


# --- pieces ----------------------------------------------------------------------------------------------


def test_a_file_is_closed_though_nobody_read_it_to_the_end(client: Client, url: str) -> None:
    with default_storage.open(f"{SHA256}.apk") as file:
        part = FilePart(file, Span(0, SIZE - 1))
        assert len(next(part)) == CHUNK_BYTES
        part.close()
        assert file.closed


def test_slow_downloads_leave_a_thread_for_heartbeats(client: Client, url: str) -> None:
    slow = [client.get(url) for _ in range(STREAMS)]
    refused = client.get(url)
    assert problem(refused) == (429, "busy")
    assert refused["Retry-After"] == "5"
    assert body(client.get(url, headers={"Range": "bytes=-1000"})) == CONTENT[-1000:], "small parts still go"
    assert body(slow.pop()) == CONTENT
    assert body(client.get(url)) == CONTENT, "a download that ended made room"
    assert {body(response) for response in slow} == {CONTENT}


def test_a_download_that_is_dropped_gives_its_slot_back(version: ApkVersion) -> None:
    def part() -> FilePart:
        return FilePart(default_storage.open(f"{SHA256}.apk"), Span(0, SIZE - 1))

    held = [SlotHolder(part()) for _ in range(STREAMS)]
    with pytest.raises(Busy):
        SlotHolder(part())
    held.pop().close()
    held.append(SlotHolder(part()))
    held.clear()
    for holder in [SlotHolder(part()) for _ in range(STREAMS)]:
        holder.close()
        holder.close()


def test_an_empty_file_satisfies_no_range() -> None:
    assert requested_span("", 0) is None
    for header in ("bytes=0-", "bytes=-5"):
        with pytest.raises(Unsatisfiable):
            requested_span(header, 0)


def test_without_if_range_a_range_counts() -> None:
    assert may_resume("", ETAG)


def test_the_store_has_a_file_whole_or_not_at_all() -> None:
    class Breaking(ContentFile):
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            yield b"half"
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        default_storage.save("x.apk", Breaking(b""))
    assert default_storage.listdir("")[1] == []
    for _ in range(2):
        assert default_storage.save("x.apk", ContentFile(b"whole")) == "x.apk"
    assert default_storage.listdir("")[1] == ["x.apk"]
