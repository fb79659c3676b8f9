"""One line that tells a person how the fleet is doing."""

import resource
import time

from agent_api.simulator.record import FleetRecord


def describe(record: FleetRecord) -> str:
    """Sums since the start; `installing` is what runs now."""
    totals = record.totals
    parts = [
        f"{len(record.devices)} devices",
        f"{sum(device.device_id is not None for device in record.devices.values())} enrolled",
        f"{totals['heartbeats']} heartbeats",
        f"{record.running} installing",
        f"{totals['succeeded']} succeeded",
        f"{totals['failed']} failed",
        f"{totals['skipped']} skipped",
    ]
    quiet_when_zero = ("settled", "silent", "heartbeats_failed", "problems", "crashes")
    parts += [f"{totals[name]} {name.replace('_', ' ')}" for name in quiet_when_zero if totals[name]]
    return " · ".join(parts)


class Meter:
    """Heartbeats per second and CPU since the last line, and the peak resident memory of this process."""

    def __init__(self) -> None:
        self._at, self._cpu, self._beats = time.monotonic(), time.process_time(), 0

    def line(self, record: FleetRecord) -> str:
        now, cpu, beats = time.monotonic(), time.process_time(), record.totals["heartbeats"]
        seconds = max(now - self._at, 0.001)
        rate, load = (beats - self._beats) / seconds, 100 * (cpu - self._cpu) / seconds
        self._at, self._cpu, self._beats = now, cpu, beats
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return f"fleet: {describe(record)} · {rate:.1f} heartbeats/s · cpu {load:.0f} % · memory {memory} MB"
