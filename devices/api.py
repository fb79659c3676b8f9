"""The routes about devices and their enrolment."""

from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router
from pydantic import BaseModel, ConfigDict, Field

from devices import changes, enrollment_tokens, provisioning, selection
from devices.changes import DeviceChanges
from devices.enrollment_tokens import EnrollmentTokenIn
from devices.models import Device
from mdm.door import actor_of, answer, unkept
from mdm.paging import Paging, page
from mdm.problems import NotFound
from mdm.wire_schemas import PROBLEMS, Item, Items
from mdm.wire_types import PathId, examples, split

router = Router(tags=["Devices"])

EXAMPLE: dict[str, Any] = {
    "id": 17,
    "alias": "Till 3",
    "serial": "R58M12ABCDE",
    "model": "Orbic Joy 2",
    "manufacturer": "Orbic",
    "external_id": "",
    "sdk_int": 33,
    "abis": ["arm64-v8a"],
    "tags": ["kiosk"],
    "groups": ["shop-1"],
    "status": "active",
    "retired_at": None,
    "current_versions": {"com.nexmdm": {"version_code": 120, "version_name": "1.0.120"}},
    "agent_version": "1.0.120",
    "max_schema": 1,
    "tz": "Europe/Berlin",
    "enrolled_at": "2030-01-31T18:00:00Z",
    "hold_until": None,
    "hold_reason": "",
    "last_seen_at": "2030-01-31T18:00:00Z",
    "battery": 81,
    "charging": False,
    "network": "wifi",
    "metered": False,
    "free_storage_mb": 9120,
    "doze_exempt": True,
    "in_call": False,
    "in_use": False,
    "device_owner": True,
}


class DeviceOut(Item):
    """A null reading was never reported; `last_seen_at` null = no heartbeat since it was enrolled."""

    model_config = ConfigDict(json_schema_extra=examples(EXAMPLE))

    id: int
    alias: str
    serial: str
    model: str
    manufacturer: str
    external_id: str
    sdk_int: int
    abis: list[str]
    tags: list[str]
    groups: list[str]
    status: Literal["active", "retired"]
    retired_at: str | None
    current_versions: dict[str, dict[str, Any]]
    agent_version: str
    max_schema: int | None
    tz: str
    enrolled_at: str
    hold_until: str | None
    hold_reason: str
    last_seen_at: str | None
    battery: int | None
    charging: bool | None
    network: str | None
    metered: bool | None
    free_storage_mb: int | None
    doze_exempt: bool | None
    in_call: bool | None
    in_use: bool | None
    device_owner: bool | None


class EnrollmentTokenOut(Item):
    """`token` is shown only now. `provisioning` is Android's device-owner provisioning payload, and `qr_svg` the
    same as a QR code for the setup wizard of a device fresh from its box."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "id": 3,
                "token": "nxe_…",
                "provisioning": {
                    provisioning.COMPONENT: "com.nexmdm/com.nexmdm.agent.AdminReceiver",
                    provisioning.DOWNLOAD: "https://mdm.example.com/agent.apk",
                    provisioning.SIGNER: "2g8r…",
                    provisioning.EXTRAS: {
                        "server_url": "https://mdm.example.com",
                        "enrollment_token": "nxe_…",
                    },
                },
                "qr_svg": "<svg …>…</svg>",
            }
        )
    )

    id: int
    token: str
    provisioning: dict[str, str | dict[str, str]]
    qr_svg: str


class DeviceFilter(BaseModel):
    tags: list[str] = Field(
        default=[], description="Any matches; `tags=a,b` and repeated `tags=` mean the same."
    )
    groups: list[str] = Field(default=[], description="Any matches.")
    query: Annotated[str, Field(max_length=200)] = Field(
        default="", description="Part of alias, serial or model, in any case."
    )
    status: Literal["", "active", "retired"] = ""


@router.get("/devices", response={200: Items[DeviceOut], **PROBLEMS}, summary="List devices")
def list_devices(request: HttpRequest, wanted: Query[DeviceFilter], paging: Query[Paging]) -> HttpResponse:
    actor_of(request).require("devices.view_device")
    found = selection.matching(
        tags=split(wanted.tags), groups=split(wanted.groups), query=wanted.query, status=wanted.status
    )
    return answer(page(found.select_related("heartbeat"), paging, device_shape))


@router.get("/devices/{device_id}", response={200: DeviceOut, **PROBLEMS}, summary="Show a device")
def get_device(request: HttpRequest, device_id: Path[PathId]) -> HttpResponse:
    actor_of(request).require("devices.view_device")
    return answer(_shown(device_id))


@router.patch("/devices/{device_id}", response={200: DeviceOut, **PROBLEMS}, summary="Change a device")
def change_device(request: HttpRequest, device_id: Path[PathId], body: DeviceChanges) -> HttpResponse:
    """What is left out stays. Retiring a device ends its tasks as a cancel does."""
    changes.change(actor_of(request), device_id, body)
    return answer(_shown(device_id))


@router.post(
    "/enrollment-tokens", response={201: EnrollmentTokenOut, **PROBLEMS}, summary="Issue an enrolment token"
)
def issue_enrollment_token(request: HttpRequest, body: EnrollmentTokenIn | None = None) -> HttpResponse:
    token, text = enrollment_tokens.issue(actor_of(request), body or EnrollmentTokenIn())
    content = provisioning.payload(text)
    body_out = {
        "id": token.pk,
        "token": text,
        "provisioning": content,
        "qr_svg": provisioning.qr_svg(content),
    }
    return unkept(answer(body_out, 201))


def _shown(device_id: int) -> dict[str, Any]:
    device = Device.objects.select_related("heartbeat").filter(pk=device_id).first()
    if device is None:
        raise NotFound("There is no such device.")
    return device_shape(device)


def device_shape(device: Device) -> dict[str, Any]:
    """A device as the wire contract shows it, with its last readings; expects `heartbeat` loaded."""
    return {
        "id": device.pk,
        "alias": device.alias,
        "serial": device.serial,
        "model": device.model,
        "manufacturer": device.manufacturer,
        "external_id": device.external_id,
        "sdk_int": device.sdk_int,
        "abis": device.abis,
        "tags": device.tags,
        "groups": device.groups,
        "status": device.status,
        "retired_at": device.retired_at,
        "current_versions": device.current_versions,
        "agent_version": device.agent_version,
        "max_schema": device.max_schema,
        "tz": device.tz,
        "enrolled_at": device.enrolled_at,
        "hold_until": device.hold_until,
        "hold_reason": device.hold_reason,
        **_readings(device),
    }


def _readings(device: Device) -> dict[str, Any]:
    """Of the last heartbeat, all null where there was none."""
    beat = getattr(device, "heartbeat", None)
    names = (
        "battery", "charging", "network", "metered", "free_storage_mb",
        "doze_exempt", "in_call", "in_use", "device_owner",
    )  # fmt: skip
    return {"last_seen_at": getattr(beat, "received_at", None)} | {
        name: getattr(beat, name, None) for name in names
    }
