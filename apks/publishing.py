"""An upload becomes a version that may be deployed. A refusal leaves nothing behind."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.files.base import File
from django.db import transaction

from apks import artifacts
from apks.facts import ApkFacts
from apks.inspection import inspect
from apks.models import Apk, ApkArtifact, ApkVersion
from apks.refusal import Refused
from apks.typed_text import checked_text
from mdm import audit
from mdm.people import Actor
from mdm.problems import Invalid

MAX_NOTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Taken:
    """The version that already has this package and versionCode."""

    id: int
    sha256: str


def publish(
    actor: Actor, upload: "File[bytes]", *, rebuild_of: int | None = None, notes: str = ""
) -> tuple[ApkVersion, bool]:
    """The version of the uploaded APK, and whether it is new: the same content again gives the existing one.

    Needs `apks.upload_apkversion`. Raises Invalid with a slug of `apks.refusal`, or with `errors` for
    `rebuild_of` (the id of an older version of the same package) and `notes`.
    """
    actor.require("apks.upload_apkversion")
    checked_notes = checked_text("notes", notes, MAX_NOTES)
    try:
        with _spooled(upload) as path:
            facts = inspect(path)
            _check(Apk.objects.filter(package_name=facts.package).first(), facts, rebuild_of)
            name = artifacts.store(path, facts.sha256)
        with transaction.atomic():
            return _record(actor, facts, name, rebuild_of, checked_notes)
    except Refused as refused:
        raise Invalid(refused.detail, slug=refused.slug) from None


@contextmanager
def _spooled(upload: "File[bytes]") -> Iterator[Path]:
    """The upload in a file of our own, never more of it than is allowed."""
    limit = settings.APK_MAX_MB << 20
    with tempfile.NamedTemporaryFile(prefix="upload-", suffix=".apk") as spool:
        left = limit
        for chunk in upload.chunks():
            left -= len(chunk)
            if left < 0:
                raise Refused("too_large", f"The file is larger than {settings.APK_MAX_MB} MB.")
            spool.write(chunk)
        spool.flush()
        yield Path(spool.name)


def admit(*, managed: bool, pinned: str, taken: Taken | None, facts: ApkFacts) -> None:
    """Decides whether the version may join its package. `pinned` is its signer, empty before the first.

    Raises Refused: `not_managed`, `signer_mismatch`, `version_code_taken`.
    """
    if not managed:
        raise Refused(
            "not_managed", f"{facts.package} is not on the list of managed packages. Put it there first."
        )
    if pinned and pinned != facts.signer_sha256 and pinned not in facts.replaces:
        raise Refused(
            "signer_mismatch",
            f"{facts.package} is signed by {pinned[:16]}…, this file by {facts.signer_sha256[:16]}… without"
            " proof of a key rotation. Sign it with the same key, or with a lineage from the old to the new.",
        )
    if taken and taken.sha256 != facts.sha256:
        raise Refused(
            "version_code_taken",
            f"Version code {facts.version_code} of {facts.package} is another file. Raise the versionCode.",
        )


def _check(
    apk: Apk | None, facts: ApkFacts, rebuild_of: int | None
) -> tuple[Taken | None, ApkVersion | None]:
    """The version that is there already, or the one that this is a rebuild of. Raises Refused and Invalid.

    Asked before the file is stored, so that what is refused is not kept, and again under the package's lock.
    """
    if apk is None:
        admit(managed=False, pinned="", taken=None, facts=facts)
        return None, None
    taken = _taken(apk, facts.version_code)
    admit(managed=apk.managed, pinned=apk.signer_sha256, taken=taken, facts=facts)
    return taken, None if taken else _rebuilt_version(apk, facts, rebuild_of)


def _taken(apk: Apk, version_code: int) -> Taken | None:
    row = apk.versions.filter(version_code=version_code).values_list("id", "sha256").first()
    return Taken(*row) if row else None


def _record(
    actor: Actor, facts: ApkFacts, storage_name: str, rebuild_of: int | None, notes: str
) -> tuple[ApkVersion, bool]:
    # Packages are never deleted, and `_check` has seen this one.
    apk = Apk.objects.select_for_update().get(package_name=facts.package)
    taken, original = _check(apk, facts, rebuild_of)
    if taken:
        return ApkVersion.objects.select_related("apk").get(pk=taken.id), False
    version = _create(actor, apk, facts, original, notes)
    ApkArtifact.objects.create(
        apk_version=version, sha256=facts.sha256, size_bytes=facts.size_bytes, storage_name=storage_name
    )
    pinned_before = apk.signer_sha256
    if pinned_before != facts.signer_sha256:
        Apk.objects.filter(pk=apk.pk).update(signer_sha256=facts.signer_sha256)
        apk.signer_sha256 = facts.signer_sha256
    _write_audit(actor, version, facts, pinned_before)
    return version, True


def _rebuilt_version(apk: Apk, facts: ApkFacts, rebuild_of: int | None) -> ApkVersion | None:
    if rebuild_of is None:
        return None
    original = apk.versions.filter(pk=rebuild_of, version_code__lt=facts.version_code).first()
    if original is None:
        detail = f"rebuild_of must be an older version of {facts.package}, with a lower version code."
        raise Invalid(detail, errors={"rebuild_of": detail})
    return original


def _create(actor: Actor, apk: Apk, facts: ApkFacts, original: ApkVersion | None, notes: str) -> ApkVersion:
    version = ApkVersion.objects.create(
        apk=apk,
        version_name=facts.version_name,
        version_code=facts.version_code,
        download_url=artifacts.plain_path(facts.sha256),
        sha256=facts.sha256,
        signature_info={
            "schemes": list(facts.schemes),
            "lineage": list(facts.lineage),
            "replaces": list(facts.replaces),
            "subject": facts.signer_subject,
        },
        size_bytes=facts.size_bytes,
        min_sdk=facts.min_sdk,
        target_sdk=facts.target_sdk,
        abis=list(facts.abis),
        debuggable=facts.debuggable,
        signer_sha256=facts.signer_sha256,
        rebuild_of=original,
        notes=notes,
        uploaded_by=actor.user,
    )
    version.refresh_from_db(fields=["created_at"])
    return version


def _write_audit(actor: Actor, version: ApkVersion, facts: ApkFacts, pinned_before: str) -> None:
    message = f"Uploaded {facts.package} {facts.version_name} ({facts.version_code})"
    if not pinned_before:
        message += f" and pinned its signer {facts.signer_sha256[:16]}…"
    elif pinned_before != facts.signer_sha256:
        message += f", whose signer follows {pinned_before[:16]}… by a proven key rotation"
    meta = {
        "sha256": facts.sha256,
        "signer_before": pinned_before,
        "signer_after": facts.signer_sha256,
        "schemes": list(facts.schemes),
        "debuggable": facts.debuggable,
    }
    audit.record(actor, "upload_apkversion", version, f"{message}.", meta)
