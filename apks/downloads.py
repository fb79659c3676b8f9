"""Serves artifacts to devices: the signed URL alone is enough, and Range makes a broken download go on.

A device on a slow line keeps a thread of the web server for as long as its download takes. So only some threads
do that at a time and further devices are asked to come back; heartbeats and reports always find a free one.
"""

import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import BinaryIO, ClassVar, Final

from django.apps import apps
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.views.decorators.csrf import csrf_exempt

from apks.artifacts import read_signed
from apks.byte_range import Span, Unsatisfiable, may_resume, requested_span
from apks.models import ApkArtifact
from mdm.problems import Forbidden, NotFound, Problem

CHUNK_BYTES: Final = 128 * 1024
AT_ONCE_BYTES: Final = 1 << 20  # handed to the web server in one piece: needs no thread while it is sent
STREAMS: Final = 3  # in one web process, which has four threads
RETRY_AFTER_SEC: Final = 5
CONTENT_TYPE: Final = "application/vnd.android.package-archive"


class MethodNotAllowed(Problem):
    status = 405
    title = "Method not allowed"
    slug = "method_not_allowed"


class Busy(Problem):
    status = 429
    title = "Too many downloads at once"
    slug = "busy"


class RangeNotSatisfiable(Problem):
    status = 416
    title = "Range not satisfiable"
    slug = "range_not_satisfiable"


@csrf_exempt  # so that a wrong method is told so, and not that a cookie is missing
def serve_artifact(request: HttpRequest, sha256: str) -> HttpResponseBase:
    """GET and HEAD. 403 expired, tampered, device not active or version withdrawn; 404, 405, 412, 416, 429."""
    try:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("An artifact can only be read.")
        artifact = _permitted_artifact(request, sha256)
        response = _answer(request, artifact)
    except Problem as problem:
        response = JsonResponse(
            problem.body(), status=problem.status, content_type="application/problem+json"
        )
        for name, value in _headers_of(problem).items():
            response[name] = value
    response["Cache-Control"] = "private, no-transform"
    return response


def _headers_of(problem: Problem) -> dict[str, str]:
    match problem:
        case MethodNotAllowed():
            return {"Allow": "GET, HEAD"}
        case RangeNotSatisfiable():
            return {"Content-Range": f"bytes */{problem.extra['size']}"}
        case Busy():
            return {"Retry-After": str(RETRY_AFTER_SEC)}
        case _:
            return {}


def _permitted_artifact(request: HttpRequest, sha256: str) -> ApkArtifact:
    query = request.GET
    signed = read_signed(sha256, query.get("device", ""), query.get("expires", ""), query.get("sig", ""))
    if signed is None:
        raise Forbidden("This address was changed or never signed. Ask the server for a fresh one.")
    device_id, end = signed
    if end <= timezone.now().timestamp():
        raise Forbidden("This address has expired. Ask the server for a fresh one.", slug="url_expired")
    # apks and devices know nothing of each other; only this one question is asked.
    if not apps.get_model("devices.Device").objects.filter(pk=device_id, status="active").exists():
        raise Forbidden("This device is not active.")
    artifacts = ApkArtifact.objects.filter(sha256=sha256)
    if not artifacts.exists():
        raise NotFound("There is no such artifact.")
    artifact = artifacts.filter(apk_version__withdrawn_at=None).first()
    if artifact is None:
        raise Forbidden("This version was withdrawn.", slug="version_withdrawn")
    return artifact


def _answer(request: HttpRequest, artifact: ApkArtifact) -> HttpResponseBase:
    etag = f'"{artifact.sha256}"'
    conditional = get_conditional_response(request, etag=etag)
    if conditional is not None:
        conditional["ETag"] = etag
        return conditional
    span = _span(request, artifact.size_bytes, etag)
    response = _body(request, artifact, span or Span(0, artifact.size_bytes - 1))
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    response["Content-Disposition"] = f'attachment; filename="{artifact.storage_name}"'
    if span:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response["Content-Range"] = f"bytes {span.start}-{span.end}/{artifact.size_bytes}"
    return response


def _span(request: HttpRequest, size: int, etag: str) -> Span | None:
    if request.method == "HEAD" or not may_resume(request.headers.get("If-Range", ""), etag):
        return None
    try:
        return requested_span(request.headers.get("Range", ""), size)
    except Unsatisfiable:
        raise RangeNotSatisfiable(
            "The range begins behind the end of the file.", extra={"size": size}
        ) from None


def _body(request: HttpRequest, artifact: ApkArtifact, span: Span) -> HttpResponseBase:
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type=CONTENT_TYPE)
    else:
        part = FilePart(_open(artifact), span)
        if span.length <= AT_ONCE_BYTES:
            response = HttpResponse(part, content_type=CONTENT_TYPE)  # reads and closes it
        else:
            response = StreamingHttpResponse(SlotHolder(part), content_type=CONTENT_TYPE)
    response["Content-Length"] = str(span.length)
    return response


def _open(artifact: ApkArtifact) -> BinaryIO:
    try:
        file = default_storage.open(artifact.storage_name)
    except FileNotFoundError:
        raise NotFound("The file of this artifact is missing from the store.") from None
    return file  # type: ignore[return-value]  # Django's File reads, seeks and closes like one


class FilePart:
    """Bytes of a file in chunks. Django closes it whether it was read to the end or the device hung up."""

    __slots__: ClassVar = ("_file", "_left")

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self._file = file
        self._left = span.length
        file.seek(span.start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self._file.read(min(CHUNK_BYTES, self._left)) if self._left else b""
        if not chunk:
            raise StopIteration
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()


_slots: Final = threading.BoundedSemaphore(STREAMS)


class SlotHolder:
    """A part that is streamed while it holds one of the process's slots. Raises Busy if none is free."""

    __slots__: ClassVar = ("_held", "_part")

    def __init__(self, part: FilePart) -> None:
        self._held = _slots.acquire(blocking=False)
        self._part = part
        if not self._held:
            part.close()
            raise Busy("Too many devices are downloading. Come back in a few seconds.")

    def __iter__(self) -> Iterator[bytes]:
        return self._part

    def close(self) -> None:
        self._part.close()
        if self._held:
            self._held = False
            _slots.release()

    def __del__(self) -> None:
        """A response that is dropped before it is sent gives its slot back, too."""
        self.close()
