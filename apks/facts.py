"""What is known of an APK once it was examined."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApkFacts:
    """What a verified APK says of itself. Digests are lower-case hex.

    `min_sdk` is at least what its signatures need. `abis` is empty where there is no native code. `lineage`
    is oldest first and ends with `signer_sha256`; `replaces` are the keys whose app this file may update.
    """

    package: str
    version_code: int
    version_name: str
    min_sdk: int
    target_sdk: int | None
    debuggable: bool
    abis: tuple[str, ...]
    size_bytes: int
    sha256: str
    schemes: tuple[str, ...]
    signer_sha256: str
    signer_subject: str
    lineage: tuple[str, ...]
    replaces: tuple[str, ...]
