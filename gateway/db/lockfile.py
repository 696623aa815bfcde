"""A file that only one process can hold: what keeps two gateways off one SQLite database."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gateway.errors import ConfigError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockFile:
    """The lock beside a database file. The system gives it back when the process ends, however it ends."""

    def __init__(self, guarded: Path) -> None:
        self._guarded = guarded
        self._path = guarded.with_name(f"{guarded.name}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises ConfigError where another process holds it, or where the file cannot be made."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"database_url: cannot make {self._path}: {error.strerror}") from error
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise ConfigError(
                f"database_url: another process already uses {self._guarded}; stop it, give this one a folder of its "
                "own (GATEWAY_DATA_DIR), or let both use PostgreSQL (DATABASE_URL)"
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back. The file stays: removing it would let two others hold two locks of one name."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
