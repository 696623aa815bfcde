"""Storages that can be pulled away from a gateway that runs, and what lies in them as somebody else sees it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest

from tests.acceptance.ark_gateway import Rows
from tests.ceph import Ceph

FULL_BYTES = 24 * 1024 * 1024
Seen = tuple[int, str]
"""Bytes and SHA-256 of an object."""


class Store(Protocol):
    env: dict[str, str]
    absences: Sequence[float]
    """Seconds it is away, each time."""

    def pull(self, dice: random.Random) -> None: ...
    def bring_back(self) -> None: ...
    def objects(self) -> dict[str, Seen]: ...


class Directory:
    """A directory that is moved away. In its place there is nothing, a file, or another directory: as where a disk is
    not mounted."""

    absences = (0.02, 0.02, 0.2, 0.2, 0.2, 0.6, 0.6, 0.6, 1.0, 1.0)

    def __init__(self, home: Path) -> None:
        self.place, self.away = home / "objects", home / "objects.away"
        self.env = {"STORAGE_URL": self.place.as_uri()}

    def pull(self, dice: random.Random) -> None:
        self.place.rename(self.away)
        match dice.randrange(3):
            case 0:
                with suppress(OSError):  # a write under way may have made a directory
                    self.place.write_text("no directory")
            case 1:
                self.place.mkdir(exist_ok=True)

    def bring_back(self) -> None:
        """What a write under way left in its place is moved aside, at once: nothing of it was ever promised."""
        with suppress(FileNotFoundError):
            self.place.rename(self.away.with_name(f"left-{time.monotonic_ns()}"))
        self.away.rename(self.place)

    def objects(self) -> dict[str, Seen]:
        return files_below(self.place)


class Disk:
    """A small disk that somebody else fills."""

    absences = Directory.absences

    def __init__(self, place: Path) -> None:
        self.place = place
        self.env = {"STORAGE_URL": place.as_uri()}

    def pull(self, dice: random.Random) -> None:
        left = dice.choice((0, 0, 50_000))  # the small ones fit, the others break off half-way
        with (self.place / ".filler").open("wb", buffering=0) as filler, suppress(OSError):
            free = shutil.disk_usage(self.place).free - left
            for _ in range(max(0, free) // 65_536 + (0 if left else 2)):
                filler.write(bytes(65_536))

    def bring_back(self) -> None:
        (self.place / ".filler").unlink(missing_ok=True)

    def objects(self) -> dict[str, Seen]:
        return files_below(self.place)


class Bucket:
    """A bucket whose server is killed, or stands still."""

    absences = (0.1, 0.5, 2.0, 7.0)  # what is short is made up for by trying again

    def __init__(self, ceph: Ceph) -> None:
        self.ceph, self.bucket = ceph, ceph.bucket()
        self.env = {**ceph.env(), "STORAGE_URL": f"s3://{self.bucket}/media"}
        self._frozen: Iterator[None] | None = None

    def pull(self, dice: random.Random) -> None:
        if dice.random() < 0.7:
            self.ceph.stop()
        else:
            self._frozen = self.ceph.frozen()  # type: ignore[assignment]
            self._frozen.__enter__()  # type: ignore[union-attr]

    def bring_back(self) -> None:
        if self._frozen is None:
            self.ceph.start()
        else:
            self._frozen.__exit__(None, None, None)  # type: ignore[attr-defined]
            self._frozen = None

    def objects(self) -> dict[str, Seen]:
        keys = self.ceph.keys(self.bucket)
        assert len(keys) < 1000
        read = {key.removeprefix("media/"): self.ceph.ask("GET", f"{self.bucket}/{key}") for key in keys}
        return {key: (len(data), hashlib.sha256(data).hexdigest()) for key, data in read.items()}


@contextmanager
def small_disk(home: Path) -> Iterator[Disk]:
    (place := home / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FULL_BYTES},mode=700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk can only be mounted by root")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def files_below(place: Path) -> dict[str, Seen]:
    """Of a local store: what is under way, or hidden, is no object yet."""
    found = {}
    for path in place.rglob("*"):
        if path.is_file() and "#" not in path.name and not path.name.startswith("."):
            data = path.read_bytes()
            found[path.relative_to(place).as_posix()] = (len(data), hashlib.sha256(data).hexdigest())
    return found


def broken(rows: Rows, store: Store) -> list[str]:
    """What is wrong with them: a row whose object is not there as it says, an object that no row names."""
    wrong: list[str] = []
    objects = {key: seen for key, seen in store.objects().items() if not key.startswith("health/")}
    named: set[str] = set()
    for table in ("assets", "files"):
        for row in rows(f"SELECT * FROM {table}"):
            named.add(row["key"])
            if objects.get(row["key"]) != (row["size"], row["sha256"]):
                wrong.append(f"{table} {row['id']}: {row['key']} is {objects.get(row['key'])}")
            for name in ("thumbnail_key", "poster_key"):
                if (key := row.get(name)) is not None:
                    named.add(key)
                    if key not in objects:
                        wrong.append(f"{table} {row['id']}: {name} {key} is not there")
    for row in rows("SELECT key, state, status, body_key FROM requests WHERE body_key IS NOT NULL"):
        named.add(row["body_key"])
        if row["status"] is not None and not row["key"].startswith("gone:") and row["body_key"] not in objects:
            wrong.append(f"the answer {row['body_key']} is not there")
    return wrong + [f"nothing names {key}" for key in objects.keys() - named]
