"""What runs in the limited process: hostile bytes in, one line of JSON out. No Django, no secrets.

Started by `apks.inspection`, which never looks inside a file itself.
"""

import json
import logging
import re
import resource
import signal
import sys
import types
from dataclasses import asdict
from importlib.machinery import PathFinder
from pathlib import Path
from typing import BinaryIO, Final

from apks.facts import ApkFacts
from apks.refusal import Refused
from apks.signing import Signature, verify
from apks.zip_directory import Entry, find_layout, read_directory, read_entry

MEMORY_BYTES: Final = 512 << 20
CPU_SECONDS: Final = 30
WALL_SECONDS: Final = 60  # less than `inspection` waits
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_ABIS: Final = 16
_NATIVE: Final = re.compile(r"lib/([A-Za-z0-9_-]{1,40})/[^/]+\.so")


def examine(file: BinaryIO) -> ApkFacts:
    """Raises Refused. A flaw of the signature is named before all else that a changed file may show."""
    layout = find_layout(file)
    signature = verify(file, layout)
    end = signature.content_end if signature else layout.directory_offset
    entries = read_directory(file, layout, end=end)
    if "AndroidManifest.xml" not in entries:
        raise Refused("not_an_apk", "This is no APK: it holds no AndroidManifest.xml.")
    if signature is None:
        raise Refused(
            "signature_missing",
            "The file has no v2 or v3 signature (v1 alone is not accepted). Sign it with apksigner.",
        )
    manifest = read_entry(file, entries["AndroidManifest.xml"], limit=MAX_MANIFEST_BYTES, end=end)
    return _facts(manifest, signature, entries, layout.size)


def _facts(manifest: bytes, signature: Signature, entries: dict[str, Entry], size: int) -> ApkFacts:
    _leave_out_certificate_code()
    from apks.manifest import read_manifest  # noqa: PLC0415  costs 0.1 s; only a signed file gets this far

    facts = read_manifest(manifest)
    return ApkFacts(
        package=facts.package,
        version_code=facts.version_code,
        version_name=facts.version_name,
        min_sdk=max(facts.min_sdk, signature.min_sdk),
        target_sdk=facts.target_sdk,
        debuggable=facts.debuggable,
        abis=_abis(entries),
        size_bytes=size,
        sha256=signature.content_sha256,
        schemes=signature.schemes,
        signer_sha256=signature.signer_sha256,
        signer_subject=signature.signer_subject,
        lineage=signature.lineage,
        replaces=signature.replaces,
    )


def _abis(entries: dict[str, Entry]) -> tuple[str, ...]:
    abis = {match[1] for match in map(_NATIVE.fullmatch, entries) if match}
    if len(abis) > MAX_ABIS:
        raise Refused(
            "not_an_apk", f"There are native libraries for more than {MAX_ABIS} kinds of processor."
        )
    return tuple(sorted(abis))


def _leave_out_certificate_code() -> None:
    """pyaxmlparser's package would load lxml and its certificate reader: 0.2 s, and never to be used here."""
    spec = PathFinder.find_spec("pyaxmlparser")
    if "pyaxmlparser" not in sys.modules and spec and spec.submodule_search_locations:
        package = types.ModuleType("pyaxmlparser")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["pyaxmlparser"] = package


def _limit_this_process() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(WALL_SECONDS)  # it ends by itself even where nobody waits for it any more


def main(path: str) -> None:
    """Writes `{"facts": …}` or `{"refused": [slug, detail]}`. A crash writes nothing."""
    _limit_this_process()
    logging.disable()  # what pyaxmlparser has to say about hostile bytes
    try:
        with Path(path).open("rb") as file:
            answer: dict[str, object] = {"facts": asdict(examine(file))}
    except Refused as refused:
        answer = {"refused": [refused.slug, refused.detail]}
    except Exception as error:  # noqa: BLE001  whatever a hostile file provokes is the file's fault
        sys.stderr.write(f"{type(error).__name__}: {error}"[:500])  # for the log
        answer = {"refused": ["not_an_apk", "The file cannot be read as an APK."]}
    sys.stdout.write(json.dumps(answer))
