"""The pages of devices, of what they last said, and of their tokens."""

from devices.admin import credentials, heartbeats, known_devices

__all__ = ["credentials", "heartbeats", "known_devices"]
