"""What people change about a device: names, labels, holds, retirement."""

from typing import Annotated, Any, Final, Literal

from django.db import transaction
from django.utils import timezone
from pydantic import ConfigDict, Field

from devices.enrollment_tokens import Labels
from devices.models import Device, DeviceStatus, Heartbeat
from devices.signals import device_retired
from mdm import audit
from mdm.people import Actor
from mdm.problems import NotFound
from mdm.wire_types import Moment, Strict, examples, listed

CHANGE: Final = "devices.change_device"


class DeviceChanges(Strict):
    """What is left out stays; null empties."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"alias": "Till 3", "groups": ["shop-1"]},
            {"hold_until": "2030-01-31T18:00:00+01:00", "hold_reason": "Inventory night"},
            {"status": "retired"},
        )
    )

    alias: Annotated[str, Field(max_length=120)] | None = None
    external_id: Annotated[str, Field(max_length=100)] | None = None
    tags: Labels | None = None
    groups: Labels | None = None
    status: Literal["active", "retired"] | None = None
    hold_until: Moment | None = Field(default=None, description="No install starts before this time.")
    hold_reason: Annotated[str, Field(max_length=200)] | None = None


def change(actor: Actor, device_id: int, wanted: DeviceChanges) -> None:
    """Applies what is given and differs; retiring ends the device's tasks. Forbidden, NotFound."""
    actor.require(CHANGE)
    with transaction.atomic():
        device = Device.objects.select_for_update(no_key=True).filter(pk=device_id).first()
        if device is None:
            raise NotFound("There is no such device.")
        changed = {name: new for name, new in _wanted(wanted).items() if getattr(device, name) != new}
        if changed:
            _apply(actor, device, changed)


def _apply(actor: Actor, device: Device, changed: dict[str, Any]) -> None:
    before = {name: _plain(getattr(device, name)) for name in changed}
    after = {name: _plain(new) for name, new in changed.items()}
    status = changed.get("status")
    if status is not None:
        changed["retired_at"] = timezone.now() if status == DeviceStatus.RETIRED else None
    Device.objects.filter(pk=device.pk).update(**changed)
    if status == DeviceStatus.ACTIVE:
        Heartbeat.objects.get_or_create(device=device)  # gone where it was retired for long
    if status == DeviceStatus.RETIRED:
        device_retired.send(sender=Device, device_id=device.pk, actor=actor)
    audit.record(
        actor, "device.change", device, f"Changed {', '.join(after)}", {"before": before, "after": after}
    )


def _wanted(wanted: DeviceChanges) -> dict[str, Any]:
    given = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    for name in ("alias", "external_id", "hold_reason"):
        if name in given:
            given[name] = (given[name] or "").strip()
    for name in ("tags", "groups"):
        if name in given:
            given[name] = listed(given[name])
    if "hold_until" in given and given["hold_until"] is None:
        given["hold_reason"] = ""
    if given.get("status", "") is None:
        del given["status"]
    return given


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
