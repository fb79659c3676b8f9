"""The routes about packages and their versions."""

from typing import Annotated, Any

from django.db.models import Max, Q
from django.http import HttpRequest, HttpResponse
from ninja import File, Form, Path, Query, Router
from ninja.files import UploadedFile
from pydantic import ConfigDict, Field

from apks import allowlist, publishing
from apks.models import Apk, ApkVersion
from mdm.door import actor_of, answer
from mdm.paging import Paging, page
from mdm.problems import Invalid, NotFound
from mdm.wire_schemas import PROBLEMS, Item, Items
from mdm.wire_types import PathId, PathText, Strict, as_id, examples

router = Router(tags=["Packages"])

FORM_FIELDS = {"file", "rebuild_of", "notes", "csrfmiddlewaretoken"}


class PackageIn(Strict):
    model_config = ConfigDict(json_schema_extra=examples({"display_name": "NexMDM"}))

    display_name: Annotated[str, Field(max_length=1000)] | None = None


class WithdrawIn(Strict):
    model_config = ConfigDict(json_schema_extra=examples({"reason": "Crashes on start"}))

    reason: Annotated[str, Field(max_length=10_000)] | None = None


class PackageOut(Item):
    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "id": 1,
                "package_name": "com.nexmdm",
                "display_name": "NexMDM",
                "managed": True,
                "signer_sha256": "9f2c…",
                "latest_version_code": 121,
            }
        )
    )

    id: int
    package_name: str
    display_name: str
    managed: bool
    signer_sha256: str | None
    latest_version_code: int | None


class VersionOut(Item):
    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "id": 7,
                "apk_id": 1,
                "package_name": "com.nexmdm",
                "version_name": "1.0.121-d263d20",
                "version_code": 121,
                "min_sdk": 26,
                "target_sdk": 34,
                "abis": [],
                "size_bytes": 4193280,
                "sha256": "31ab…",
                "signer_sha256": "9f2c…",
                "signature_schemes": ["v2", "v3"],
                "signature_info": {"schemes": ["v2", "v3"], "lineage": ["9f2c…"], "subject": "CN=NexMDM"},
                "debuggable": False,
                "rebuild_of": None,
                "notes": "",
                "created_at": "2030-01-31T18:00:00Z",
                "withdrawn_at": None,
                "withdrawn_reason": None,
                "download_url": "/v1/artifacts/31ab….apk",
            }
        )
    )

    id: int
    apk_id: int
    package_name: str
    version_name: str
    version_code: int
    min_sdk: int
    target_sdk: int | None
    abis: list[str]
    size_bytes: int
    sha256: str
    signer_sha256: str
    signature_schemes: list[str]
    signature_info: dict[str, Any]
    debuggable: bool
    rebuild_of: int | None
    notes: str
    created_at: str
    withdrawn_at: str | None
    withdrawn_reason: str | None
    download_url: str


@router.post(
    "/apks/versions", response={201: VersionOut, 200: VersionOut, **PROBLEMS}, summary="Upload an APK"
)
def upload(
    request: HttpRequest,
    file: Annotated[UploadedFile, File()],
    rebuild_of: Annotated[str, Form(max_length=100, examples=["7"])] = "",
    notes: Annotated[str, Form(examples=["First trial"])] = "",
) -> HttpResponse:
    """201 with the new version; 200 with the one that has the same content; 422 with a `type` that says why."""
    if unknown := {*request.POST, *request.FILES} - FORM_FIELDS:
        raise Invalid("Unknown fields.", errors=dict.fromkeys(sorted(unknown), "There is no such field."))
    original = (as_id(rebuild_of.strip()) or 0) if rebuild_of.strip() else None
    version, is_new = publishing.publish(actor_of(request), file, rebuild_of=original, notes=notes)
    return answer(version_shape(version), 201 if is_new else 200)


@router.get("/apks", response={200: Items[PackageOut], **PROBLEMS}, summary="List packages")
def list_packages(request: HttpRequest, paging: Query[Paging]) -> HttpResponse:
    """By name; with `after` in the order in which they came."""
    actor_of(request).require("apks.view_apk")
    return answer(page(_packages().order_by("package_name"), paging, package_shape))


@router.get("/apks/{apk_id}/versions", response={200: Items[VersionOut], **PROBLEMS}, summary="List versions")
def list_versions(request: HttpRequest, apk_id: Path[PathId], paging: Query[Paging]) -> HttpResponse:
    """Highest version code first; with `after` in the order of upload."""
    actor_of(request).require("apks.view_apkversion")
    if not Apk.objects.filter(pk=apk_id).exists():
        raise NotFound("There is no such package.")
    versions = ApkVersion.objects.select_related("apk").filter(apk_id=apk_id).order_by("-version_code")
    return answer(page(versions, paging, version_shape))


@router.put(
    "/apks/managed/{package_name}", response={200: PackageOut, **PROBLEMS}, summary="Manage a package"
)
def manage(request: HttpRequest, package_name: Path[PathText], body: PackageIn | None = None) -> HttpResponse:
    """Puts the package on the allowlist, or gives it another name to show."""
    shown = (body.display_name if body else None) or ""
    apk = allowlist.manage_package(actor_of(request), package_name, shown)
    return answer(package_shape(_packages().get(pk=apk.pk)))


@router.delete(
    "/apks/managed/{package_name}", response={200: PackageOut, **PROBLEMS}, summary="Stop managing a package"
)
def unmanage(request: HttpRequest, package_name: Path[PathText]) -> HttpResponse:
    """Takes the package off the allowlist and pauses its live deployments."""
    apk = allowlist.unmanage_package(actor_of(request), package_name)
    return answer(package_shape(_packages().get(pk=apk.pk)))


@router.post(
    "/apks/versions/{version_id}/withdraw",
    response={200: VersionOut, **PROBLEMS},
    summary="Withdraw a version",
)
def withdraw(request: HttpRequest, version_id: Path[PathId], body: WithdrawIn) -> HttpResponse:
    """Nobody gets it any more; its live deployments pause. For good."""
    return answer(version_shape(allowlist.withdraw(actor_of(request), version_id, body.reason or "")))


def _packages() -> Any:
    standing = Q(versions__withdrawn_at=None)
    return Apk.objects.annotate(latest_version_code=Max("versions__version_code", filter=standing))


def package_shape(apk: Any) -> dict[str, Any]:
    """`apk` with `latest_version_code` annotated."""
    return {
        "id": apk.pk,
        "package_name": apk.package_name,
        "display_name": apk.display_name,
        "managed": apk.managed,
        "signer_sha256": apk.signer_sha256 or None,
        "latest_version_code": apk.latest_version_code,
    }


def version_shape(version: ApkVersion) -> dict[str, Any]:
    """A version as the wire contract shows it; expects `apk` loaded."""
    return {
        "id": version.pk,
        "apk_id": version.apk_id,
        "package_name": version.apk.package_name,
        "version_name": version.version_name,
        "version_code": version.version_code,
        "min_sdk": version.min_sdk,
        "target_sdk": version.target_sdk,
        "abis": version.abis,
        "size_bytes": version.size_bytes,
        "sha256": version.sha256,
        "signer_sha256": version.signer_sha256,
        "signature_schemes": version.signature_info.get("schemes", []),
        "signature_info": version.signature_info,
        "debuggable": version.debuggable,
        "rebuild_of": version.rebuild_of_id,
        "notes": version.notes,
        "created_at": version.created_at,
        "withdrawn_at": version.withdrawn_at,
        "withdrawn_reason": version.withdrawn_reason or None,
        "download_url": version.download_url,
    }
