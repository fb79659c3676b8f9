"""`python -m benchmarks NAME …`, each in a process, a folder and a database of its own; `all` for all."""

import importlib
import subprocess
import sys
from typing import Final

TOPICS: Final = (
    "callbacks",
    "heartbeats",
    "planning",
    "dialog",
    "first_command",
    "slots-pushed",
    "slots-checked_in",
    "canceling",
    "rollback",
    "ticking",
    "summaries",
    "pages",
    "tabs",
    "lists",
    "metrics",
    "auditing-sealing_beside",
    "auditing-verifying",
    "auditing-cutting_old",
    "idle",
    "agent_core",
)


def main(names: list[str]) -> int:
    wanted = list(TOPICS) if names == ["all"] else names
    if not wanted or not set(wanted) <= set(TOPICS):
        print(f"python -m benchmarks {' | '.join([*TOPICS, 'all'])}")
        return 2
    if len(wanted) > 1:
        return max(subprocess.call([sys.executable, "-m", "benchmarks", name]) for name in wanted)
    module, _, act = wanted[0].partition("-")
    getattr(importlib.import_module(f"benchmarks.{module}"), act or "main")()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
