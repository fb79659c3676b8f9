"""One table for all topics: what was measured, beside its baseline and its target, and under which conditions."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection


@dataclass(frozen=True)
class Row:
    """`measured` and `baseline` as a person reads them, with units; `ratio` measured / baseline."""

    what: str
    measured: str
    target: str
    baseline: str = ""
    ratio: float | None = None
    note: str = ""


def conditions() -> str:
    version = connection.cursor().execute("SHOW server_version").fetchone()[0].split()[0]
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores, load average {loads} (1, 5, 15 min), a loop of a million additions takes"
        f" {yardstick() * 1000:.0f} ms of CPU, PostgreSQL {version} with default durability,"
        f" Python {platform.python_version()}"
    )


def yardstick() -> float:
    """CPU seconds: a busy machine is slower by more than the waiting, since its cores share their inside."""
    begun, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return time.process_time() - begun


def show(title: str, rows: Sequence[Row]) -> None:
    """As Markdown."""
    print(f"\n### {title}\n\n{conditions()}\n")
    print("| what | measured | baseline | ratio | target | note |\n|---|---|---|---|---|---|")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        print(f"| {row.what} | {row.measured} | {row.baseline} | {ratio} | {row.target} | {row.note} |")


def milliseconds(seconds: Sequence[float]) -> str:
    """Median, 95th percentile and maximum."""
    ordered = sorted(seconds)
    return (
        f"p50 {percentile(ordered, 50) * 1000:.0f} ms, p95 {percentile(ordered, 95) * 1000:.0f} ms,"
        f" max {ordered[-1] * 1000:.0f} ms (n={len(ordered)})"
    )


def percentile(values: Sequence[float], share: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]
