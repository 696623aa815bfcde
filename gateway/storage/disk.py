"""What a local disk needs besides: no links on the way, writes that last, nothing left of killed uploads."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from gateway.errors import StorageUnavailable
from gateway.storage.border import translated

LEFTOVER_SECONDS = 3600.0
"""An upload to a local store that nobody wrote to for so long is dead: each of its steps may take `WAIT` only."""

_UNDER_WAY = re.compile(r".+#\d+")
"""How a local store names a file that it has not renamed yet."""


class Root:
    """The directory of a local store, held to be the one that it was when the store was opened.

    A disk that is not mounted leaves another directory in its place, and one that was moved away is made anew by the
    next write: what is put there would be gone once the right one is back, and what is in that seems to be deleted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode = path.stat().st_ino

    def check(self) -> None:
        """Raises StorageUnavailable where it is another one, or none."""
        with translated("write"):
            inode = self.path.stat().st_ino
        if inode != self._inode:
            raise StorageUnavailable("The directory of the object storage is another one than at the start.")


def is_plain(root: Path, key: str) -> bool:
    """Whether no link leads from the key to another place: a local store follows links."""
    path = os.path.join(root, key)  # noqa: PTH118 (compared as text)
    return os.path.realpath(path) == path


def swept(root: Path) -> int:
    """Remove what uploads left whose process was killed; how many."""
    over, removed = time.time() - LEFTOVER_SECONDS, 0
    for path in root.rglob("*#*"):
        with suppress(FileNotFoundError):
            if _UNDER_WAY.fullmatch(path.name) and path.is_file() and path.lstat().st_mtime < over:
                path.unlink()
                removed += 1
    return removed


def sync(root: Path, key: str) -> None:
    """Have a file and its name, and the folders on the way to it, on the disk and not only in the system's memory."""
    path = root / key
    for place in (path, *path.parents[: key.count("/") + 1]):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
