"""The newest seal, told to places that the database's owner cannot change: our log, a file in DATA_DIR, alerts.

Without it the last rows could be removed together with the seals over them, and what is left would agree.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings

from mdm.watch.models import AuditSeal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """Said to people as `12:5f0c…`."""

    number: int
    mac: str

    def __str__(self) -> str:
        return f"{self.number}:{self.mac}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """ValueError for what is no head."""
        number, _, mac = text.partition(":")
        if len(mac) != 64 or set(mac) - set("0123456789abcdef"):
            raise ValueError("A head looks like 12: and 64 hexadecimal digits.")
        return cls(int(number), mac)


def current() -> Head | None:
    newest = AuditSeal.objects.order_by("-number").values_list("number", "mac").first()
    return Head(*newest) if newest else None


def tell() -> None:
    """Writes the head to the log and to the file."""
    head = current()
    if head is None:
        return
    log.info("The audit log is sealed up to %s", head)
    _file().parent.mkdir(parents=True, exist_ok=True)
    draft = _file().with_name(f".audit_head-{os.getpid()}")
    draft.write_text(json.dumps(asdict(head)))
    draft.replace(_file())


def kept() -> Head | None:
    """What this host wrote down last, if it ever sealed."""
    try:
        return Head(**json.loads(_file().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _file() -> Path:
    folder: Path = settings.DATA_DIR
    return folder / "audit_head"
