"""Why a file is refused. No Django here: the examination runs in a process of its own."""

from typing import Literal

Slug = Literal[
    "not_managed",
    "signature_invalid",
    "signature_missing",
    "signer_mismatch",
    "version_code_taken",
    "manifest_invalid",
    "test_only",
    "split_apk",
    "not_an_apk",
    "too_large",
]


class Refused(Exception):
    """`slug` is the wire's `type`, `detail` the sentence that says what is wrong and what to do."""

    def __init__(self, slug: Slug, detail: str) -> None:
        super().__init__(detail)
        self.slug: Slug = slug
        self.detail = detail
