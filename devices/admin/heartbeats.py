"""What a device last said: its heartbeat, and the same readings as columns of the device."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.http import HttpRequest

from devices.models import Device, Heartbeat
from mdm.admin_site import BaseAdmin, RecordAdmin, time_as

NETWORKS: Final = ("wifi", "ethernet", "cellular", "none")
# Label and unit of what a heartbeat brings.
READINGS: Final[dict[str, tuple[str, str]]] = {
    "battery": ("Battery", " %"),
    "charging": ("Charging", ""),
    "network": ("Network", ""),
    "metered": ("Metered network", ""),
    "free_storage_mb": ("Free storage", " MB"),
    "doze_exempt": ("Exempt from battery saving", ""),
    "in_call": ("In a call", ""),
    "in_use": ("In use by a customer", ""),
    "device_owner": ("Device owner", ""),
}


def beat_of(device: Device) -> Heartbeat | None:
    """None where it has none: those of devices that were retired for long are not kept."""
    return getattr(device, "heartbeat", None)


def reading(name: str) -> Callable[[BaseAdmin, Device], str]:
    """The column of one of READINGS, by itself never newer than "Last seen"."""
    label, unit = READINGS[name]

    @admin.display(description=label)
    def shown(_: BaseAdmin, device: Device) -> str:
        value = getattr(beat_of(device), name, None)
        if value is None:
            return "not reported"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:,}{unit}" if unit else str(value)

    return shown


class NetworkFilter(admin.SimpleListFilter):
    """Django's own would look for the kinds there are in every row."""

    title = "network"
    parameter_name = "network"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in NETWORKS]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(network=self.value()) if self.value() in NETWORKS else queryset


@admin.register(Heartbeat)
class HeartbeatAdmin(RecordAdmin):
    list_display = ("device", "received", "battery", "charging", "network", "metered", "free_storage_mb")
    list_select_related = ("device",)
    list_filter = (NetworkFilter, "charging")
    search_fields = ("device__serial", "device__alias")
    fields: ClassVar[tuple[str, ...]] = ("device", "received", *READINGS)
    readonly_fields = fields
    received = time_as("Received", "received_at", sortable=True)
