"""Carries messages out in threads of their own, one per channel: a far end that is slow delays nothing but itself."""

import logging
import threading
from typing import Final

from django.db import Error, connection

from mdm.watch import deliveries

log = logging.getLogger(__name__)

_under_way: Final[dict[str, threading.Thread]] = {}


def send_what_is_due() -> None:
    """Starts a thread for each channel that has something to send and none at work in this process."""
    for channel in deliveries.due():
        courier = _under_way.get(channel)
        if courier is None or not courier.is_alive():
            _under_way[channel] = threading.Thread(target=_carry, args=[channel], daemon=True)
            _under_way[channel].start()


def _carry(channel: str) -> None:
    try:
        deliveries.deliver(channel)
    except Error as error:
        log.warning("Alerts by %s wait: %s", channel, error)
    finally:
        connection.close()
