"""Django's SECRET_KEY for an instance that was given none: made once, readable by its owner alone."""

import os
import secrets
from pathlib import Path

from mdm.environment import refuse


def stored_secret_key(data_dir: Path) -> str:
    """The key in `data_dir/secret_key`, made with mode 0600 at the first call."""
    path = data_dir / "secret_key"
    try:
        if not path.exists():
            _store(path, secrets.token_urlsafe(48))
        return path.read_text().strip()
    except OSError as error:
        refuse(f"DATA_DIR {data_dir} cannot be used: {error.strerror}.")


def _store(path: Path, key: str) -> None:
    """Written beside and linked into place: of two first starts at once both read the same key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
