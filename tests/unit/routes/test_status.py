"""How the house stands, as each role is told it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.config import load
from gateway.errors import CredentialRejected, QuotaExhausted
from gateway.routes.front import Front

KEYS = {role: f"key-of-role-{role}" for role in ("admin", "developer", "viewer")}
LAB = {"name": "lab", "type": "sandbox", "accounts": [{"name": "a"}, {"name": "b"}]}


@pytest.fixture
def app(tmp_path: Path) -> Front:
    keys = [{"name": role, "key": key, "role": role} for role, key in KEYS.items()]
    (tmp_path / "config.yaml").write_text(json.dumps({"upstreams": [LAB], "access": {"keys": keys}}))
    return create_app(load({"GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path), {})


@pytest.fixture
def client(app: Front) -> Iterator[TestClient]:
    with TestClient(app) as opened:
        yield opened


def status(client: TestClient, role: str = "admin") -> Any:
    answer = client.get("/api/status", headers={"authorization": f"Bearer {KEYS[role]}"})
    assert answer.status_code == 200
    return answer.json()


def test_an_admin_is_told_how_the_upstreams_stand(client: TestClient) -> None:
    told = status(client)
    assert told["upstreams"] == [{"name": "lab", "breaker": "closed", "waiting": 0, "limits": None}]
    assert (told["status"], told["alarms"]) == ("ok", [])


def test_an_admin_is_told_why_an_account_does_not_serve_and_is_alarmed(app: Front, client: TestClient) -> None:
    pool = app.house.relay.pools["lab"]
    pool.blame("lab/a", CredentialRejected(), model="m", kind="t2t")
    told = status(client)
    first, second = told["accounts"]
    assert (first["status"], second["status"], told["status"]) == ("INVALID", "OK", "ok")
    assert first["reason"]
    [alarm] = told["alarms"]
    assert alarm["code"] == "account_needs_operator"
    assert first["reason"].rstrip(".") in alarm["message"]
    pool.blame("lab/b", CredentialRejected(), model="m", kind="t2t")
    told = status(client)
    assert told["status"] == "degraded"
    codes = [alarm["code"] for alarm in told["alarms"]]
    assert codes == ["account_needs_operator", "account_needs_operator", "no_account_available"]


@pytest.mark.parametrize("role", ["developer", "viewer"])
def test_others_are_told_whether_an_account_serves_and_until_when(app: Front, client: TestClient, role: str) -> None:
    error = QuotaExhausted(retry_after=3600)
    app.house.relay.pools["lab"].blame("lab/a", error, model="m", kind="t2t")
    told = status(client, role)
    assert set(told) == {"status", "version", "uptime_seconds", "sandbox", "accounts"}
    first, second = told["accounts"]
    assert first.pop("resetAt").endswith("+00:00")
    assert first == {"id": "lab/a", "name": "a", "upstream": "lab", "status": "EXHAUSTED"}
    assert second == {"id": "lab/b", "name": "b", "upstream": "lab", "status": "OK", "resetAt": None}


def test_asking_spends_nothing(client: TestClient) -> None:
    for role in KEYS:
        status(client, role)
    assert all(not account["used_today"] for account in status(client)["accounts"])
