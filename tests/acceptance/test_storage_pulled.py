"""Storage is pulled away again and again while everything goes on: no row is left without its bytes, nobody's bytes are
left after the next collection, nothing that was promised is lost, and no film is paid for twice.

`PULLED_SEED` repeats a run as far as chance allows.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.acceptance.ark_gateway import (
    FINAL,
    Rows,
    all_tasks,
    ark,
    asked,
    config_of,
    created,
    database,
    film_of,
    free_port,
    job_of,
)
from tests.acceptance.gateway_process import Begin, Gateway, eventually, served
from tests.acceptance.nursery import nursery
from tests.acceptance.pulled import Bucket, Directory, Store, broken, small_disk
from tests.ceph import Ceph
from tests.emulators.ark import ArkSite
from tests.emulators.ark.media import video

pytestmark = pytest.mark.timeout(300)

SEED = int(os.environ.get("PULLED_SEED") or random.SystemRandom().randrange(10**6))
KEY = "key-of-the-operator-0815"
SOONER = (
    "gateway.assets.collector.LEAST_SECONDS=0.0",  # two hours, else
    "gateway.routes.storage.LEAST_SECONDS=0.0",
    "gateway.tasks.submission.SETTLED_SECONDS=8.0",  # looks for a lost job: two minutes, else
)
ANSWER_SECONDS = 60.0
OVER_SECONDS = 60.0
AWAY_SECONDS = 90.0
"""Longer than anything is tried again."""


def picture(dice: random.Random, *widths: int) -> bytes:
    """A PNG of noise, unlike any other."""
    width = dice.choice(widths)
    lines = b"".join(b"\0" + dice.randbytes(width * 3) for _ in range(width))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")


@dataclass
class Pulled:
    """A gateway, callers that do all there is to do, and somebody who pulls its storage away."""

    gateway: Gateway
    rows: Rows
    store: Store
    site: ArkSite
    dice: random.Random
    over: threading.Event = field(default_factory=threading.Event)
    files: dict[str, bytes] = field(default_factory=dict)
    """What was taken, by id."""
    pictures: set[str] = field(default_factory=set)
    """The prompts of those that were made."""
    tasks: dict[str, str] = field(default_factory=dict)
    """Ids by prompt."""
    deleted: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    """Prompts, hashes and ids of which nobody knows what became of them: the gateway was killed."""
    refused: set[str] = field(default_factory=set)
    codes: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)

    # --- callers ---

    def ask(self, method: str, path: str, what: str, **sent: object) -> httpx.Response | None:
        """The answer, where it is a success; else it is what it may be, and noted by `what`."""
        headers = {"authorization": f"Bearer {KEY}", **sent.pop("headers", {})}  # type: ignore[dict-item]
        url = f"http://127.0.0.1:{self.gateway.port}{path}"
        try:
            answer = httpx.request(
                method, url, headers=headers, timeout=ANSWER_SECONDS, trust_env=False, **sent  # type: ignore[arg-type]
            )  # fmt: skip
        except httpx.ConnectError:
            time.sleep(0.05)
            return None
        except httpx.TransportError:
            self.unsure.add(what)
            return None
        if answer.status_code < 300:
            return answer
        told = answer.json()
        code = told["error"]["code"] if isinstance(told["error"], dict) else told["code"]
        self.codes[code] += 1
        known = answer.status_code == 503 and code in ("storage_unavailable", "storage_full", "shutting_down")
        if not known or not 1 <= int(answer.headers.get("retry-after", 0)) <= 120:
            self.odd.append(f"{method} {path}: {answer.status_code} {dict(answer.headers)} {answer.text[:300]}")
        self.refused.add(what)
        return None

    def uploads(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self.over.is_set():
            data = picture(dice, 16, 64, 200, 300)
            part = {"file": ("a.png", data, "image/png")}
            digest = hashlib.sha256(data).hexdigest()
            if dice.random() < 0.5:
                answer = self.ask("POST", "/api/files/upload", digest, files=part)
                file_id = answer and answer.json()["file"]["fileId"]
            else:
                answer = self.ask("POST", "/v1/files", digest, files=part, data={"purpose": "vision"})
                file_id = answer and answer.json()["id"]
            if file_id:
                self.files[file_id] = data
            time.sleep(dice.uniform(0, 0.1))

    def deletes(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self.over.is_set():
            living = list(self.files.keys() - self.deleted)
            if len(living) > 5:
                chosen = dice.choice(living)
                self.deleted.add(chosen)
                if self.ask("DELETE", f"/api/files/{chosen}", chosen) is None and chosen not in self.unsure:
                    self.deleted.discard(chosen)
            time.sleep(dice.uniform(0, 0.3))

    def draws(self, seed: int) -> None:
        dice = random.Random(seed)
        for number in range(10**6):
            if self.over.is_set():
                return
            prompt = f"picture {seed} {number}"
            body = {
                "model": "sandbox-image",
                "prompt": prompt,
                "size": dice.choice(("64x64", "384x384")),
                "response_format": "b64_json",
            }
            once = {"idempotency-key": prompt} if dice.random() < 0.7 else {}
            answer = self.ask("POST", "/v1/images/generations", prompt, json=body, headers=once)
            if answer is not None:
                self.pictures.add(prompt)
                again = self.ask("POST", "/v1/images/generations", f"again {prompt}", json=body, headers=once)
                if once and again is not None and again.headers.get("x-idempotent-replay"):
                    assert again.content == answer.content
            time.sleep(dice.uniform(0, 0.2))

    def films(self, seed: int) -> None:
        dice = random.Random(seed)
        for number in range(14):
            if self.over.is_set():
                return
            prompt, data = f"film {seed} {number}", picture(dice, 320)
            image = {"kind": "i2v", "images": [f"data:image/png;base64,{base64.b64encode(data).decode()}"]}
            body = asked(prompt, **(image if dice.random() < 0.3 else {}))
            while prompt not in self.tasks and not self.over.is_set():
                answer = self.ask("POST", "/api/tasks", prompt, json=body, headers={"idempotency-key": prompt})
                if answer is not None:
                    self.tasks[prompt] = answer.json()["id"]
                time.sleep(dice.uniform(0.2, 0.7))

    # --- whoever pulls ---

    def pull(self) -> None:
        """It is gone at a moment that nobody chose, for as long as nobody knows; once the gateway dies meanwhile."""
        absences = self.dice.sample(self.store.absences, len(self.store.absences))
        killed = self.dice.randrange(len(absences))
        for number, seconds in enumerate(absences):
            time.sleep(self.dice.uniform(0.1, 0.8))
            self.store.pull(self.dice)
            try:
                time.sleep(seconds)
                if number == killed:
                    self.gateway.crash()
            finally:
                self.store.bring_back()
            if number == killed:
                self.gateway.launch()
                self.gateway.ready()
        if not self.codes:  # all of it was made up for by trying again, or nobody was there to see it
            self.store.pull(self.dice)
            try:
                eventually(lambda: self.codes, AWAY_SECONDS)
            finally:
                self.store.bring_back()
        eventually(lambda: len(self.files) > 5 and len(self.tasks) > 2 and self.pictures, OVER_SECONDS)


@pytest.fixture(scope="module")
def begin() -> Iterator[Begin]:
    with nursery(*SOONER) as begin:
        yield begin


@contextmanager
def rig(home: Path, begin: Begin, kind: str, store: Store) -> Iterator[Pulled]:
    print(f"PULLED_SEED={SEED}")  # noqa: T201 - shown when it fails
    site = ArkSite(queued_seconds=0.1, running_seconds=0.5)
    (place := home / "gateway").mkdir()
    with database(kind, home) as rows, served(site.app) as url:
        drawing = {"name": "sandbox", "type": "sandbox", "accounts": [{"name": "s"}]}
        config = config_of(ark(url, max_concurrency=32), drawing, retention={"uploads": 30})
        env = {**store.env, "DATABASE_URL": rows.url, "API_KEYS": KEY, "PORT": str(free_port())}
        gateway = Gateway(place, config, env=env, begin=begin)
        try:
            yield Pulled(gateway.start(), rows, store, site, random.Random(SEED))
        finally:
            gateway.close()
    gateway.check_log()


def _carry_through(here: Pulled) -> None:
    work: list[Callable[[int], None]] = [here.uploads, here.uploads, here.draws, here.films, here.deletes]
    with ThreadPoolExecutor(len(work)) as callers:
        calls = [callers.submit(one, SEED * 10 + number) for number, one in enumerate(work)]
        try:
            here.pull()
        finally:
            here.over.set()
        for call in calls:
            call.result()
    assert not here.odd, here.odd[:3]
    eventually(lambda: not _unfinished(here), OVER_SECONDS)
    _collected(here)
    _check(here)


def _unfinished(here: Pulled) -> list[object]:
    states = ", ".join(f"'{state}'" for state in FINAL)
    waiting = f"SELECT id FROM tasks WHERE state NOT IN ({states}) OR lease_owner IS NOT NULL"
    answers = "SELECT key FROM requests WHERE state = 'running' AND lease_until > 0"
    with here.gateway.client() as http:
        now = http.get("/api/status").status_code  # it lives
    assert now == 200
    return [*here.rows(waiting), *(here.rows(answers) if not here.unsure else ())]


def _collected(here: Pulled) -> None:
    body = {"dry_run": False, "older_than_hours": 0, "include_earlier": True}
    with here.gateway.client(timeout=60) as http:
        found = http.post("/api/storage/collect", json=body)
        assert found.status_code == 200, found.text
        result = found.json()
        print(here.codes, {name: result[name] for name in ("scanned", "orphans", "deleted", "missing", "foreign")})  # noqa: T201
        assert (result["problem"], result["missing"]["count"], result["foreign"]["count"]) == (None, 0, 0)
        assert result["deleted"] == result["orphans"]


def _check(here: Pulled) -> None:
    eventually(lambda: not broken(here.rows, here.store), 15) if broken(here.rows, here.store) else None
    assert broken(here.rows, here.store) == []
    assert here.codes, "it was never seen to be away"
    _check_the_files(here)
    _check_the_pictures(here)
    _check_the_films(here)


def _check_the_files(here: Pulled) -> None:
    kept = {row["id"]: row["sha256"] for row in here.rows("SELECT id, sha256 FROM files WHERE purpose <> 'input'")}
    for file_id, data in here.files.items():
        if file_id not in here.deleted:
            assert kept.pop(file_id) == hashlib.sha256(data).hexdigest()
        elif file_id not in here.unsure:
            assert file_id not in kept, "it was deleted"
        else:
            kept.pop(file_id, None)
    assert set(kept.values()) <= here.unsure, "an upload that was refused has a row"
    with here.gateway.client() as http:
        for file_id in list(here.files.keys() - here.deleted)[:5]:
            assert http.get(f"/v1/files/{file_id}/content").content == here.files[file_id]


def _check_the_pictures(here: Pulled) -> None:
    kept = {row["prompt"] for row in here.rows("SELECT prompt FROM assets WHERE family = 'image'")}
    assert here.pictures <= kept
    assert kept <= here.pictures | here.unsure


def _check_the_films(here: Pulled) -> None:
    """All that was promised is there, and whatever was asked of the upstream was asked once."""
    with here.gateway.client() as http:
        tasks = {task["id"]: task for task in all_tasks(http)}
    assert set(created(here.site).values()) == {1}, "a job was made twice"
    assert set(here.tasks.values()) <= set(tasks)
    for prompt, task_id in here.tasks.items():
        task = tasks[task_id]
        lost = task["status"] == "failed" and task["error"]["code"] == "submit_outcome_unknown"
        if lost and prompt not in created(here.site):
            continue  # the gateway was killed over asking, and nothing was made
        assert task["status"] == "succeeded", task
        assert film_of(here.gateway, task) == video(job_of(here.site, prompt).id)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_directory_is_moved_away(tmp_path: Path, begin: Begin, kind: str) -> None:
    with rig(tmp_path, begin, kind, Directory(tmp_path)) as here:
        _carry_through(here)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_disk_is_full(tmp_path: Path, begin: Begin, kind: str) -> None:
    with small_disk(tmp_path) as disk, rig(tmp_path, begin, kind, disk) as here:
        _carry_through(here)
        assert here.codes["storage_full"]


def test_a_bucket_cannot_be_reached(tmp_path: Path, begin: Begin, ceph: Ceph) -> None:
    with rig(tmp_path, begin, "sqlite", Bucket(ceph)) as here:
        _carry_through(here)
