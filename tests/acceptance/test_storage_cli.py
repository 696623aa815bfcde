"""`mediagate storage` against a gateway that runs, as an operator types it."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.cli.storage_table import size_of
from tests.acceptance.gateway_process import ROOT, Gateway, running

KEY = "sk-runs-it-all-canary-1"
DAY = 24 * 3600.0
NOTHING = "nothing was changed: --for-real does it"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    config = {"retention": {"images": 30}, "access": {"keys": [{"name": "makes", "key": "sk-makes-canary-01"}]}}
    with running(home, config, env={"API_KEYS": KEY}, secrets=["canary"]) as started:
        yield started


@pytest.fixture(autouse=True)
def _away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without a config."""
    monkeypatch.chdir(tmp_path)
    for name in ("API_KEYS", "GATEWAY_KEY", "PORT", "HOST", "GATEWAY_CONFIG"):
        monkeypatch.delenv(name, raising=False)


class Operator:
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.objects = gateway.home / "data" / "objects"

    def __call__(self, *words: str, key: str = KEY) -> Result:
        asked = ["storage", *words, "--url", self.gateway.url]
        result = CliRunner().invoke(app, asked, env={"GATEWAY_KEY": key})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "canary" not in result.output
        return result

    def does(self, *words: str) -> str:
        result = self(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, *words: str, key: str = KEY) -> str:
        result = self(*words, key=key)
        assert result.exit_code == 1
        assert result.stderr.startswith("mediagate: ")
        return result.stderr.removeprefix("mediagate: ")

    def row(self, *words: str, of: str) -> list[str]:
        """The cells of a line of what a command prints."""
        [line] = [line for line in self.does(*words).splitlines() if line.startswith(of)]
        return line.removeprefix(of).split()

    def orphan(self, size: int = 1234) -> str:
        """What nobody named two days ago."""
        key = f"images/2026-01/m_20260105_101010_{secrets.token_hex(4)}.png"
        place = self.objects / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bytes(size))
        os.utime(place, (time.time() - 2 * DAY,) * 2)
        return key

    def changed(self, change: str, *values: object) -> None:
        with closing(sqlite3.connect(self.gateway.home / "data" / "mediagate.db", timeout=10)) as connection:
            connection.execute(change, values)
            connection.commit()


@pytest.fixture
def operator(gateway: Gateway) -> Operator:
    made = Operator(gateway)
    made.changed("INSERT OR REPLACE INTO settings VALUES ('collects_since', ?)", repr(time.time() - 10 * DAY))
    return made


def test_it_is_checked(operator: Operator) -> None:
    assert operator.does("check").startswith("the storage works (write, read, list, delete: 0")
    shown = operator.does("show")
    assert shown.startswith("store: file\n")
    assert "last check: 20" in shown
    assert "UTC, ok" in shown
    assert json.loads(operator.does("show", "--json"))["check"]["ok"] is True


def test_collecting_is_for_real_only_if_that_is_said(operator: Operator) -> None:
    key = operator.orphan()
    for words in ((), ("--dry-run",)):
        said = operator.does("collect", *words)
        assert key in said
        assert NOTHING in said
        assert operator.row("collect", *words, of="nobody's") == ["1", "1.2", "kB"]
        assert operator.row("collect", *words, of="deleted") == ["0", "0", "B"]
    assert (operator.objects / key).exists()
    assert json.loads(operator.does("collect", "--json"))["keys"] == [key]
    said = operator.does("collect", "--for-real")
    assert NOTHING not in said
    assert not (operator.objects / key).exists()
    assert operator.row("collect", of="nobody's") == ["0", "0", "B"]


def test_each_rule_is_passed_on(operator: Operator) -> None:
    key = operator.orphan()
    assert json.loads(operator.does("collect", "--older-than-hours", "72.5", "--json"))["keys"] == []
    assert json.loads(operator.does("collect", "--older-than-hours", "47", "--json"))["keys"] == [key]
    for hours in ("0.5", "0"):
        assert "older_than_hours" in operator.fails("collect", "--older-than-hours", hours)
    operator.changed("UPDATE settings SET value = ? WHERE key = 'collects_since'", repr(time.time() - DAY))
    assert json.loads(operator.does("collect", "--json"))["earlier"]["count"] == 1
    assert json.loads(operator.does("collect", "--include-earlier", "--for-real", "--json"))["deleted"]["count"] == 1
    with operator.gateway.client() as http:
        for _ in range(3):
            http.post("/v1/images/generations", json={"prompt": "a", "size": "64x64"}).raise_for_status()
    next((operator.objects / "images").rglob("*.png")).unlink()
    said = operator.does("collect", "--for-real")
    assert "rows without an object: 1 of 3 (1 new, 0 back, 0 removed)" in said
    operator.changed("UPDATE assets SET missing_since = missing_since - 90000 WHERE missing_since IS NOT NULL")
    said = operator.does("collect", "--for-real", "--remove-missing")
    assert "rows without an object: 1 of 3 (0 new, 0 back, 1 removed)" in said


def test_a_wrong_storage_is_a_failure(operator: Operator) -> None:
    columns = "id, owner, key, name, mime, size, sha256, created_at"
    for number in range(5):
        values = (f"file_{number}", f"uploads/{number}")
        operator.changed(f"INSERT INTO files ({columns}) VALUES (?, '', ?, '', '', 1, '', 0)", *values)
    try:
        assert "see that storage.url is the right one" in operator.fails("collect", "--for-real")
    finally:
        operator.changed("DELETE FROM files")


def test_retention_says_what_is_over_its_time(operator: Operator) -> None:
    operator.changed("DELETE FROM assets")
    with operator.gateway.client() as http:
        http.post("/v1/images/generations", json={"prompt": "a", "size": "64x64"}).raise_for_status()
    operator.changed("UPDATE assets SET created_at = ?", 1_767_607_810.0)
    days, over, *_, oldest, removed = operator.row("retention", of="images")
    assert (days, over, oldest, removed) == ("30", "1", "2026-01-05", "0")
    assert NOTHING in operator.does("retention")
    assert operator.row("retention", "--for-real", of="images")[-1] == "1"
    assert operator.row("retention", of="images")[1] == "0"
    assert json.loads(operator.does("retention", "--json"))["dry_run"] is True


def test_what_the_gateway_refuses_is_its_own_sentence(operator: Operator) -> None:
    assert "one of the role admin" in operator.fails("show", key="sk-makes-canary-01")
    assert "--key or GATEWAY_KEY" in operator.fails("check", key="sk-nobody-knows-me")


def test_it_is_a_command_of_the_program(gateway: Gateway) -> None:
    env = {"PYTHONPATH": str(ROOT), "PORT": gateway.url.rpartition(":")[2], "API_KEYS": KEY}
    command = [sys.executable, "-m", "gateway", "storage", "retention"]
    done = subprocess.run(command, env=env, cwd=gateway.home, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:2] == ["kept", "days"]


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (7 * 10**15, "7000.0 TB")]
)
def test_sizes_are_said_as_people_do(count: int, said: str) -> None:
    assert size_of(count) == said
