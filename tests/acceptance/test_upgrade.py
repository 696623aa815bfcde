"""The current gateway on what the first release left behind when it was killed, and the way back."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gateway_process import ROOT, Gateway, eventually, running
from tests.unit.db.data.spine import KEYS, SCHEMA, load_file

CONFIG: dict[str, Any] = {
    "access": {"keys": [{"name": name, "key": key, "role": "admin"} for name, key in KEYS.items()]},
    "upstreams": [
        {"name": "sandbox", "type": "sandbox", "video_seconds": 0.3, "accounts": [{"name": "worn"}, {"name": "good"}]},
        {
            "name": "narrow",
            "type": "sandbox",
            "video_seconds": 0.3,
            "priority": -1,
            "models": [{"id": "narrow-video", "kinds": ["t2v"]}],
            "accounts": [{"name": "one", "max_concurrency": 1}],
        },
    ],
}
TIMES = ("created_at", "submitted_at", "started_at", "finished_at", "deadline", "next_poll_at")
FINAL = {"succeeded", "failed", "cancelled", "expired"}


def rows(file: Path, query: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The database as it was left, months ago."""
    load_file(tmp_path / "data" / "mediagate.db")
    return tmp_path / "data" / "mediagate.db"


@pytest.fixture
def fresh(file: Path) -> Path:
    """The same as if it had been left a moment ago."""
    with closing(sqlite3.connect(file)) as connection, connection:
        [left] = connection.execute("SELECT max(at) FROM usage").fetchone()
        later = ", ".join(f"{name} = {name} + :passed" for name in TIMES)
        connection.execute(f"UPDATE tasks SET {later}", {"passed": time.time() - left})
    return file


@pytest.fixture
def gateway(tmp_path: Path, fresh: Path) -> Iterator[Gateway]:
    with running(tmp_path, CONFIG, secrets=KEYS.values()) as gateway:
        yield gateway


def tasks(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """Of all callers, by id."""
    found: list[dict[str, Any]] = []
    for key in KEYS.values():
        with gateway.client(headers={"authorization": f"Bearer {key}"}) as http:
            found += http.get("/api/tasks", params={"limit": 100}).json()["data"]
    return {task["id"]: task for task in found}


def ended(gateway: Gateway) -> dict[str, dict[str, Any]]:
    def look() -> dict[str, dict[str, Any]]:
        now = tasks(gateway)
        return now if {task["status"] for task in now.values()} <= FINAL else {}

    return eventually(look, 30)


def mediagate(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GATEWAY_DATA_DIR": str(home / "data")}
    command = [sys.executable, "-m", "gateway", *words]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=60)


def test_old_tasks_are_told_of_and_those_without_an_end_find_one(tmp_path: Path, fresh: Path) -> None:
    before = {row["id"]: row for row in rows(fresh, "SELECT * FROM tasks")}
    with running(tmp_path, CONFIG, secrets=KEYS.values()) as gateway:
        assert tasks(gateway).keys() == before.keys()
        now = ended(gateway)
    for task_id, old in before.items():
        task = now[task_id]
        assert (task["kind"], task["created_at"]) == (old["kind"], int(old["created_at"]))
        if old["state"] in FINAL:
            assert task["status"] == old["state"]
            assert bool(task["output"]["files"]) == (old["state"] == "succeeded")
            assert bool(task["error"]) == (old["error"] is not None)
        elif old["state"] == "submitting":
            assert (task["status"], task["error"]["code"]) == ("failed", "submit_outcome_unknown")
        else:
            assert (task["status"], len(task["output"]["files"])) == ("succeeded", 1)


def test_tasks_that_lay_for_long_find_an_end_too(tmp_path: Path, file: Path) -> None:
    with running(tmp_path, CONFIG, secrets=KEYS.values()) as gateway:
        assert len(ended(gateway)) == len(rows(file, "SELECT id FROM tasks"))


def test_old_results_and_conversations_go_on(gateway: Gateway, fresh: Path) -> None:
    [first] = [turn for turn in rows(fresh, "SELECT * FROM turns") if "Zimmermann" in turn["messages"]]
    with gateway.client(headers={"authorization": f"Bearer {KEYS['ada']}"}) as http:
        body = {"message": "What is my name?", "chatId": first["chat_id"], "parentId": first["id"]}
        answer = http.post("/api/chat", json={**body, "model": "sandbox-chat"})
        assert "Ada" in answer.json()["choices"][0]["message"]["content"]


def test_way_back_waits_for_the_gateway_to_stop(gateway: Gateway, fresh: Path) -> None:
    refused = mediagate(gateway.home, "migrate", "--to", SCHEMA)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "another process already uses" in refused.stderr
    before = ended(gateway)
    gateway.stop()
    gateway.ended()
    done = mediagate(gateway.home, "migrate", "--to", SCHEMA)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"the schema is {SCHEMA}\n", "")
    assert rows(fresh, "SELECT version_num FROM alembic_version") == [{"version_num": SCHEMA}]
    gateway.start()
    again = tasks(gateway)
    assert {task_id: task["status"] for task_id, task in again.items()} == {
        task_id: task["status"] for task_id, task in before.items()
    }


def test_way_to_nowhere_is_refused_with_what_there_is(tmp_path: Path, file: Path) -> None:
    refused = mediagate(tmp_path, "migrate", "--to", "0000_nothing")
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        f"mediagate: there is no schema '0000_nothing'; those that can be moved to are {SCHEMA}"
    )
