"""Receivers: what happens once and is worth an alert of its own."""

from typing import Any

from django.dispatch import receiver

from devices.signals import serial_taken
from mdm.watch import alerts
from mdm.watch.alerts import Cause


@receiver(serial_taken)
def warn_of_taken_serial(sender: object, device_id: int, serial: str, **kwargs: Any) -> None:
    message = (
        f"Somebody tried to enrol a device with the serial {serial}, which device {device_id} has."
        " It was refused: either the device was reset and needs a token made for it, or somebody tries to take"
        " its place."
    )
    alerts.raise_once(Cause("serial_taken", f"device {device_id}", message))
