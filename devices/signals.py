"""Told inside the transaction of the act, so that what depends on a device changes with it.

Each is sent with `device_id`, while the device's row is locked, `device_retired` with the `actor` as well;
`serial_taken` with `device_id` and `serial` after the refusal.
"""

from typing import Final

from django.dispatch import Signal

device_re_enrolled: Final = Signal()
device_retired: Final = Signal()
serial_taken: Final = Signal()
