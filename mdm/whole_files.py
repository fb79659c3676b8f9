"""Files that are there whole or not at all, also after a power cut: written aside, synced, then renamed."""

import os
from pathlib import Path
from typing import IO


def sync(draft: IO[bytes]) -> None:
    """Brings what was written so far to the disk."""
    draft.flush()
    os.fsync(draft.fileno())


def put_in_place(draft: Path, target: Path) -> None:
    """Gives a synced draft its name, in one step; what had the name before is gone. Both lie on one file system."""
    draft.replace(target)
    # A rename survives a power cut only once its folder was written.
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
