"""Receives a file to disk, and not at all if the request says that it is larger than any APK may be."""

from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from mdm.problems import Invalid

_FORM_BYTES: Final = 1 << 20  # the other fields and the boundaries


class UploadTooLarge(Invalid, RequestDataTooBig):
    """422 where problems are shaped, 400 where only Django is there, never an unhandled error."""

    slug = "too_large"


class CappedUploadHandler(TemporaryFileUploadHandler):
    """The server reads no more than the announced length, so the announcement alone is decisive."""

    def handle_raw_input(
        self,
        input_data: Any,
        META: Any,  # noqa: N803  Django's name
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        if content_length > (settings.APK_MAX_MB << 20) + _FORM_BYTES:
            raise UploadTooLarge(f"The file is larger than {settings.APK_MAX_MB} MB.")
