"""Short folders under the system's temporary one, for what `DATA_DIR` cannot hold: a socket's path has
room for 107 bytes, and another user's server cannot look into a closed home folder.
"""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def private_folder(data_dir: Path, purpose: str) -> Path:
    """The path that belongs to `data_dir` and this user; it need not exist yet."""
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"nexmdm-{os.getuid()}-{digest}-{purpose}"


def make_private_folder(folder: Path, mode: int, owners: set[int]) -> None:
    """Create it, or refuse one that somebody else has put there: who owns the folder owns the server."""
    folder.mkdir(mode=mode, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        msg = f"{folder} belongs to somebody else; remove it or set TMPDIR to a folder of your own."
        raise ImproperlyConfigured(msg)
    folder.chmod(mode)
