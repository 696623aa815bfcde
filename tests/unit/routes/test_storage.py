"""The routes of the storage, as operators see them, over a real app."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.assets.keeping import LEASE
from gateway.config import load
from gateway.routes.front import Front
from tests.acceptance.gateway_process import eventually

CONFIG = """
access:
  keys:
    - {name: runs, key: sk-runs-it-all-1, role: admin}
    - {name: makes, key: sk-makes-things-1, role: developer}
    - {name: reads, key: sk-reads-only-1, role: viewer}
retention: {images: 30, usage: 90}
"""
STORAGE = "/api/storage"
DAY = 24 * 3600.0


class Caller:
    def __init__(self, client: TestClient, app: Front, home: Path) -> None:
        self.client = client
        self.app = app
        self.objects = home / "var" / "objects"
        self.file = home / "var" / "mediagate.db"

    def ask(self, method: str, path: str, body: Any = None, key: str = "sk-runs-it-all-1", **options: Any) -> Any:
        sent = {} if body is None else {"json": body}
        answer = self.client.request(method, path, headers={"authorization": f"Bearer {key}"}, **sent, **options)
        assert str(self.objects) not in answer.text
        return answer

    def told(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def picture(self) -> str:
        """Made and kept; its key."""
        made = self.ask("POST", "/v1/images/generations", {"prompt": "a house", "size": "64x64"})
        assert made.status_code == 200, made.text
        [newest] = self.rows("SELECT key FROM assets ORDER BY created_at DESC LIMIT 1")
        return str(newest[0])

    def orphan(self, age: float = 2 * DAY) -> str:
        key = f"images/2026-01/m_20260105_101010_{secrets.token_hex(4)}.png"
        place = self.objects / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"12345")
        moment = time.time() - age
        os.utime(place, (moment, moment))
        return key

    def rows(self, query: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.file, timeout=10)) as connection:
            found = connection.execute(query, values).fetchall()
            connection.commit()
        return found


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    (tmp_path / "config.yaml").write_text(CONFIG)
    app = create_app(load({"GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path), {})
    with TestClient(app) as client:
        made = Caller(client, app, tmp_path)
        since = repr(time.time() - 10 * DAY)
        made.rows("INSERT OR REPLACE INTO settings VALUES ('collects_since', ?)", since)
        yield made


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", "/check"), ("POST", "/collect"), ("POST", "/retention")]
)
def test_only_admins_look_after_it(caller: Caller, method: str, path: str) -> None:
    for key in ("sk-makes-things-1", "sk-reads-only-1"):
        refused = caller.ask(method, STORAGE + path, {} if method == "POST" else None, key)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_permissions")
    assert caller.ask(method, STORAGE + path, {} if method == "POST" else None).status_code == 200


def test_how_it_stands(caller: Caller) -> None:
    key = caller.picture()
    told = caller.told("GET", STORAGE)
    assert (told["store"], told["redirect"], told["direct_uploads"]) == ("file", False, False)
    assert told["retention_days"] == {
        "images": 30, "videos": None, "audio": None, "text": None, "uploads": None, "usage": 90,
    }  # fmt: skip
    assert (told["check"], told["collection"], told["retention"]) == (None, None, None)
    assert told["folders"]["images"] == {"objects": 1, "bytes": (caller.objects / key).stat().st_size}
    caller.told("POST", f"{STORAGE}/check")
    caller.told("POST", f"{STORAGE}/collect")
    caller.told("POST", f"{STORAGE}/retention")
    told = caller.told("GET", STORAGE)
    assert (told["check"]["ok"], told["collection"]["ok"], told["retention"]["ok"]) == (True, True, True)
    assert told["collection"]["result"]["dry_run"] is True
    assert abs(told["collection"]["at"] - time.time()) < 60
    assert set(told["retention"]["result"]) == {"images", "usage"}


def test_a_check_says_what_is_wrong(caller: Caller) -> None:
    told = caller.told("POST", f"{STORAGE}/check")
    assert (told["ok"], told["steps"], told["presigns"]) == (True, ["write", "read", "list", "delete"], False)
    assert told["seconds"] >= 0
    shutil.rmtree(caller.objects)
    caller.objects.write_text("a file where the directory belongs")
    refused = caller.ask("POST", f"{STORAGE}/check")
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    check = caller.told("GET", STORAGE)["check"]
    assert (check["ok"], check["code"], bool(check["error"])) == (False, "storage_unavailable", True)


def test_collecting_changes_nothing_unless_told_so(caller: Caller) -> None:
    living, orphan = caller.picture(), caller.orphan()
    for body in (None, {}, {"dry_run": True}):
        told = caller.told("POST", f"{STORAGE}/collect", body)
        assert (told["object"], told["dry_run"]) == ("storage.collection", True)
        assert (told["orphans"], told["keys"], told["deleted"]["count"]) == ({"count": 1, "bytes": 5}, [orphan], 0)
    assert (caller.objects / orphan).exists()
    told = caller.told("POST", f"{STORAGE}/collect", {"dry_run": False})
    assert (told["dry_run"], told["deleted"]) == (False, {"count": 1, "bytes": 5})
    assert not (caller.objects / orphan).exists()
    assert (caller.objects / living).exists()


def test_each_rule_of_a_collection_can_be_given(caller: Caller) -> None:
    earlier, recent = caller.orphan(11 * DAY), caller.orphan(3 * 3600.0)
    assert caller.told("POST", f"{STORAGE}/collect")["keys"] == []
    assert caller.told("POST", f"{STORAGE}/collect", {"include_earlier": True})["keys"] == [earlier]
    assert caller.told("POST", f"{STORAGE}/collect", {"older_than_hours": 2.5})["keys"] == [recent]
    assert caller.told("POST", f"{STORAGE}/collect", {"older_than_hours": 3.5})["keys"] == []
    for _ in range(2):
        caller.picture()
    gone = caller.picture()
    (caller.objects / gone).unlink()
    assert caller.told("POST", f"{STORAGE}/collect", {"dry_run": False})["missing"]["new"] == 1
    caller.rows("UPDATE assets SET missing_since = missing_since - 86400 WHERE missing_since IS NOT NULL")
    assert caller.told("POST", f"{STORAGE}/collect", {"dry_run": False})["missing"]["removed"] == 0
    told = caller.told("POST", f"{STORAGE}/collect", {"dry_run": False, "remove_missing": True})
    assert told["missing"]["removed"] == 1
    assert caller.rows("SELECT count(*) FROM assets WHERE key = ?", gone) == [(0,)]


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        ("collect", {"older_than": 3}, "older_than", "unknown_parameter"),
        ("collect", {"dry_run": "no"}, "dry_run", "invalid_value"),
        ("collect", {"dry_run": 0}, "dry_run", "invalid_value"),
        ("collect", {"older_than_hours": 1.9}, "older_than_hours", "invalid_value"),
        ("collect", {"older_than_hours": -1}, "older_than_hours", "invalid_value"),
        ("collect", {"older_than_hours": 1e300}, "older_than_hours", "invalid_value"),
        ("collect", {"older_than_hours": "1"}, "older_than_hours", "invalid_value"),
        ("collect", {"include_earlier": 1}, "include_earlier", "invalid_value"),
        ("collect", {"remove_missing": []}, "remove_missing", "invalid_value"),
        ("retention", {"dry_run": "yes"}, "dry_run", "invalid_value"),
        ("retention", {"images": 3}, "images", "unknown_parameter"),
    ],
)
def test_what_is_asked_wrongly_is_told_by_name(caller: Caller, path: str, body: Any, param: str, code: str) -> None:
    orphan = caller.orphan()
    refused = caller.ask("POST", f"{STORAGE}/{path}", {"dry_run": False, **body})
    assert (refused.status_code, refused.json()["param"], refused.json()["code"]) == (400, param, code)
    assert (caller.objects / orphan).exists()


def test_a_storage_that_is_another_s_too_is_refused(caller: Caller) -> None:
    (caller.objects / "health").mkdir(exist_ok=True)
    (caller.objects / "health" / "installation-0123456789abcdef").write_text("x")
    refused = caller.ask("POST", f"{STORAGE}/collect", {"dry_run": False})
    assert (refused.status_code, refused.json()["code"]) == (409, "storage_shared")
    assert "storage.url" in refused.json()["error"]
    assert caller.told("GET", STORAGE)["collection"]["code"] == "storage_shared"


def test_there_is_one_collection_at_a_time(caller: Caller) -> None:
    caller.rows("INSERT INTO settings VALUES (?, ?)", LEASE, f"somebody {time.time() + 100}")
    for path in ("collect", "retention"):
        refused = caller.ask("POST", f"{STORAGE}/{path}")
        assert (refused.status_code, refused.json()["code"]) == (409, "collection_running")
        assert 1 <= int(refused.headers["retry-after"]) <= 100
    assert caller.told("GET", STORAGE)["collection"] is None


def test_retention_goes_by_the_config(caller: Caller) -> None:
    key = caller.picture()
    old = time.time() - 31 * DAY
    caller.rows("UPDATE assets SET created_at = ?", old)
    [(asset,)] = caller.rows("SELECT id FROM assets")
    for body in (None, {}, {"dry_run": True}):
        told = caller.told("POST", f"{STORAGE}/retention", body)
        assert (told["object"], told["dry_run"]) == ("storage.retention", True)
        images = told["data"]["images"]
        assert (images["days"], images["count"], images["ids"], images["removed"]) == (30, 1, [asset], 0)
        assert abs(images["oldest"] - old) < 1
        assert told["data"]["usage"]["days"] == 90
    assert (caller.objects / key).exists()
    assert caller.told("POST", f"{STORAGE}/retention", {"dry_run": False})["data"]["images"]["removed"] == 1
    assert not (caller.objects / key).exists()
    assert caller.rows("SELECT count(*) FROM assets") == [(0,)]


def test_old_records_of_usage_are_forgotten(caller: Caller) -> None:
    caller.picture()
    eventually(lambda: caller.rows("SELECT 1 FROM usage"))
    caller.rows("UPDATE usage SET at = ?", time.time() - 91 * DAY)
    assert caller.told("POST", f"{STORAGE}/retention")["data"]["usage"]["count"] == 1
    assert caller.told("POST", f"{STORAGE}/retention", {"dry_run": False})["data"]["usage"]["removed"] == 1
    assert caller.rows("SELECT count(*) FROM usage") == [(0,)]
