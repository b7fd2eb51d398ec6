"""Puts files into a container, with their mode and owner."""

from __future__ import annotations

import io
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailcrypt_component.docker_api.connect import NOT_ANSWERING, explained
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docker.models.containers import Container


@dataclass(frozen=True, slots=True)
class File:
    """A file to be put into a container, with its mode and numeric owner."""

    path: str
    content: bytes
    mode: int = 0o600
    uid: int = 0
    gid: int = 0

    def __repr__(self) -> str:
        return f"File({self.path!r}, {len(self.content)} bytes, {self.mode:#o})"


def put_files(container: Container, files: Iterable[File]) -> None:
    """Put files into a container, parents included, with their mode and owner.

    Raises:
        UnreachableError: The engine refused.

    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size, entry.mode = len(file.content), file.mode
            entry.uid, entry.gid, entry.mtime = file.uid, file.gid, int(time.time())
            archive.addfile(entry, io.BytesIO(file.content))
    try:
        container.put_archive("/", buffer.getvalue())
    except NOT_ANSWERING as error:
        raise UnreachableError(
            f"cannot put files: {explained(error)}", where=f"container {container.name}"
        ) from None
