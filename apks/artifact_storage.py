"""The folder in which artifacts lie, behind Django's storage interface so that S3 can take its place."""

from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from django.core.files.storage import FileSystemStorage

from mdm import whole_files


class AtomicFileStorage(FileSystemStorage):
    """A file is there whole or not at all, also after a power cut, and the same name means the same bytes."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def _save(self, name: str, content: IO[Any]) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            with fresh.open("xb") as file:
                for chunk in content.chunks():  # type: ignore[attr-defined]  # save() hands over a File
                    file.write(chunk)
                whole_files.sync(file)
            fresh.chmod(0o640)
            whole_files.put_in_place(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)
        return name
