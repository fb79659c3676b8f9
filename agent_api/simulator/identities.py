"""Who the devices are across restarts: ids, tokens, installed versions, one JSON line per change."""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from agent_api.simulator.behaviour import Installed
from agent_api.simulator.command import Id


class StateInUse(Exception):
    """Another fleet has the state file open; the text is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`server`: who gave the token, its address or a name that stays when the address changes; the token is
    sent nowhere else."""

    server: str
    serial: str
    device_id: Id
    device_token: str
    packages: tuple[Installed, ...]

    def line(self) -> str:
        packages = [package.model_dump(exclude_none=True) for package in self.packages]
        fields = {"server": self.server, "serial": self.serial, "device_id": self.device_id}
        return json.dumps(fields | {"device_token": self.device_token, "packages": packages}) + "\n"


def _from_line(line: str) -> Identity | None:
    """None for the half line that a killed process may leave."""
    try:
        data: dict[str, Any] = json.loads(line)
        packages = tuple(Installed.model_validate(package) for package in data.pop("packages"))
        return Identity(packages=packages, **data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class IdentityStore:
    """A file for its owner's eyes only, appended to and written anew at each start; None: all in memory."""

    def __init__(self, server: str, path: Path | None = None) -> None:
        self._server = server
        self._known: dict[tuple[str, str], Identity] = {}
        self._lock: IO[str] | None = None
        self._file: IO[str] | None = None
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path)
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            identities = [identity for line in lines if (identity := _from_line(line))]
            self._known = {(identity.server, identity.serial): identity for identity in identities}
        fresh = path.with_name(f"{path.name}.new")
        self._file = _private(fresh)
        self._file.writelines(identity.line() for identity in self._known.values())
        self._file.flush()
        fresh.replace(path)

    def get(self, serial: str) -> Identity | None:
        return self._known.get((self._server, serial))

    def put(self, serial: str, device_id: Id, device_token: str, packages: Sequence[Installed]) -> Identity:
        identity = Identity(self._server, serial, device_id, device_token, tuple(packages))
        self._known[self._server, serial] = identity
        if self._file is not None:
            self._file.write(identity.line())
            self._file.flush()
        return identity

    def close(self) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()


def _private(path: Path) -> IO[str]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _locked(path: Path) -> IO[str]:
    """The kernel frees the lock when the process is gone, however it went."""
    file = _private(path.with_name(f"{path.name}.lock"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StateInUse(f"{path} is in use by another fleet; give this one a --state of its own.") from None
    return file
