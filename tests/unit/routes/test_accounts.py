"""The routes of accounts, as operators and others see them, over providers made up here."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import Field
from sqlalchemy import insert
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.config import load
from gateway.db.tables import tasks
from gateway.errors import CredentialRejected, UpstreamFailed
from gateway.routes import account_asks
from gateway.routes.front import Front
from gateway.types import Account, Balance, ChatRequest, Event, Finish, Kind, ModelCard, TextDelta
from gateway.upstreams import types
from gateway.upstreams.base import Options, Upstream

FIRST = "the master key of the tests is long enough"
SECOND = "another master key of the tests is as long"
CANARY = "sk-canary-1-0123456789"
OTHER_CANARY = "sk-canary-2-0123456789"
CONFIG = """
access:
  keys:
    - {name: runs, key: sk-runs-it-all-1, role: admin}
    - {name: makes, key: sk-makes-things-1, role: developer}
    - {name: reads, key: sk-reads-only-1, role: viewer}
upstreams:
  - name: sky
    type: cloud
    accounts:
      - {name: own, api_key: sk-canary-3-0123456789, label: written}
"""
ACCOUNTS = "/api/accounts"
MINE = f"{ACCOUNTS}/sky/mine"
OWN = f"{ACCOUNTS}/sky/own"
ENV = f"{ACCOUNTS}/cloudy/env-1"


class CloudAccount(Options):
    tier: int = Field(1, ge=1)


class Cloud(Upstream):
    """Answers with the credential's digest; a credential that holds `bad` is refused."""

    type_name = "cloud"
    base_url = "https://cloud.example/v1"
    account_options_model = CloudAccount
    wait: asyncio.Event | None = None

    def cards(self) -> list[ModelCard]:
        return [ModelCard("cloud-chat", frozenset[Kind]({"t2t"}))]

    async def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        if "bad" in account.credential:
            raise CredentialRejected(f"the credential {account.credential[:4]}… was rejected")
        yield TextDelta(f"{account.name} at {account.base_url}")
        yield Finish("stop")

    async def probe(self, account: Account) -> None:
        if self.wait is not None:
            await self.wait.wait()
        if "bad" in account.credential:
            raise CredentialRejected(f"rejected: {account.credential}")

    async def balance(self, account: Account) -> Balance:
        if "poor" in account.credential:
            raise UpstreamFailed(f"no balance for {account.credential}")
        return Balance(12.5, "credits", {"plan": "pro"})


class Blind(Upstream):
    """Cannot be asked without spending, and needs no credential."""

    type_name = "blind"
    needs_credential = False
    env_name = "seer"


class Cloudy(Cloud):
    type_name = "cloudy"
    env_credentials = ("CLOUDY_TOKEN",)


@pytest.fixture(autouse=True)
def _providers(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Cloud, Blind, Cloudy):
        monkeypatch.setitem(types(), kind.type_name, kind)
    monkeypatch.setattr(Cloud, "wait", None)


@pytest.fixture(autouse=True)
def log() -> Iterator[Callable[[], str]]:
    """All that is logged, as it would be written. No credential is ever in it."""
    written = io.StringIO()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(written),
        cache_logger_on_first_use=False,
    )
    yield written.getvalue
    structlog.configure(**before)
    assert "request" in written.getvalue()
    assert "canary" not in written.getvalue()


class Caller:
    """Someone with a key. No answer to anyone ever holds a credential."""

    def __init__(self, client: TestClient, app: Front, key: str = "sk-runs-it-all-1") -> None:
        self.client = client
        self.app = app
        self.headers = {"authorization": f"Bearer {key}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        sent = {} if body is None else {"json": body}
        answer = self.client.request(method, path, headers=self.headers, **sent)
        assert "canary" not in answer.text
        assert "canary" not in repr(answer.headers)
        return answer

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        return self.ask("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self.ask("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.ask("DELETE", path)

    def add(self, name: str = "mine", upstream: str = "sky", **keys: Any) -> Any:
        answer = self.post(ACCOUNTS, {"upstream": upstream, "name": name, "api_key": CANARY, **keys})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def refused(self, method: str, path: str, body: Any = None, *, status: int, code: str) -> str:
        """The sentence and the name of what is wrong."""
        answer = self.ask(method, path, body)
        told = answer.json()
        assert (answer.status_code, told["code"]) == (status, code), answer.text
        return f"{told.get('param')}: {told['error']}"

    def says(self, model: str = "sky/cloud-chat") -> str:
        """What a chat is answered with."""
        answer = self.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "?"}]})
        told = answer.json()
        return str(told["choices"][0]["message"]["content"] if answer.is_success else told["error"]["code"])

    def ids(self) -> list[str]:
        return [one["id"] for one in self.get(ACCOUNTS).json()["data"]]

    def live(self, upstream: str = "sky", name: str = "mine") -> Account:
        account = self.app.house.roster.account(upstream, name)
        assert account is not None
        return account


Open = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """A gateway on the same data each time."""
    (tmp_path / "config.yaml").write_text(CONFIG)

    @contextmanager
    def open_one(master: str | None = FIRST, previous: str = "", **env: str) -> Iterator[Caller]:
        env |= {"GATEWAY_DATA_DIR": str(tmp_path / "var"), "CLOUDY_TOKEN": "sk-canary-4-0123456789"}
        env |= {"GATEWAY_MASTER_KEY": master} if master else {}
        env |= {"GATEWAY_PREVIOUS_MASTER_KEYS": previous} if previous else {}
        app = create_app(load(env, tmp_path), env)
        with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
            yield Caller(client, app)

    return open_one


@pytest.fixture
def admin(opened: Open) -> Iterator[Caller]:
    with opened() as caller:
        yield caller


# --- who may ---


ROUTES = [
    ("GET", ACCOUNTS),
    ("POST", ACCOUNTS),
    ("GET", MINE),
    ("PATCH", MINE),
    ("DELETE", MINE),
    *(("POST", f"{MINE}/{word}") for word in ("test", "disable", "enable", "renew", "credential")),
]


@pytest.mark.parametrize("key", ["sk-makes-things-1", "sk-reads-only-1"])
def test_only_admins_see_or_change_accounts(admin: Caller, key: str) -> None:
    admin.add()
    other = Caller(admin.client, admin.app, key)
    for method, path in ROUTES:
        other.refused(method, path, {"api_key": "k"}, status=403, code="insufficient_permissions")
        other.refused(method, path.replace("/mine", "/none"), {}, status=403, code="insufficient_permissions")
    assert admin.get(MINE).json()["standing"]["status"] == "OK"
    nobody = Caller(admin.client, admin.app, "sk-nobody-knows-me-1")
    for method, path in ROUTES:
        assert nobody.ask(method, path, {}).status_code == 401


def test_without_keys_this_machine_is_admin(tmp_path: Path) -> None:
    app = create_app(load({"GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path), {})
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
        assert client.get(ACCOUNTS).status_code == 200


# --- adding ---


def test_an_account_is_added_and_serves_at_once(admin: Caller) -> None:
    answer = admin.post(
        ACCOUNTS,
        {
            "upstream": "sky", "name": "mine", "api_key": CANARY, "label": "the good one", "tags": ["paid", "eu"],
            "priority": 5, "weight": 2, "max_concurrency": 3, "requests_per_minute": 60, "tokens_per_minute": 1000,
            "min_interval": 0.5, "daily_quota": {"text_to_video": 3}, "not_models": ["m"], "tier": 2, "token": None,
            "base_url": "https://own.example/v2/", "proxy": "http://somebody:canary@127.0.0.1:8080",
        },
    )  # fmt: skip
    assert (answer.status_code, answer.headers["location"]) == (201, MINE)
    shown = answer.json()
    created, updated = shown.pop("created_at"), shown.pop("updated_at")
    assert created == updated > 1_700_000_000
    standing = shown.pop("standing")
    assert (standing["status"], standing["resetAt"], standing["slots"], standing["in_flight"]) == ("OK", None, 3, 0)
    assert {"id", "name", "upstream", "label"}.isdisjoint(standing)
    assert shown == {
        "id": "sky/mine", "object": "account", "name": "mine", "upstream": "sky", "type": "cloud",
        "source": "database", "label": "the good one", "tags": ["eu", "paid"], "priority": 5, "weight": 2.0,
        "enabled": True, "not_models": ["m"], "base_url": "https://own.example/v2", "proxy": "127.0.0.1:8080",
        "credential": {"set": True, "fingerprint": hashlib.sha256(CANARY.encode()).hexdigest()[:8]}, "balance": None,
        "limits": {
            "max_concurrency": 3, "requests_per_minute": 60, "tokens_per_minute": 1000, "min_interval": 0.5,
            "daily_quota": {"t2v": 3}, "quota_reset": {"hour": 0, "zone": "UTC"},
        },
    }  # fmt: skip
    assert (admin.live().credential, admin.live().proxy) == (CANARY, "http://somebody:canary@127.0.0.1:8080")
    assert admin.live().options == CloudAccount(tier=2)
    one = admin.get(MINE).json()
    assert one == answer.json() | {"held": {"tasks": 0, "chats": 0, "files": 0}}
    assert answer.json() in admin.get(ACCOUNTS).json()["data"]
    assert admin.says() == "mine at https://own.example/v2"


def test_an_account_outlives_the_process(opened: Open) -> None:
    with opened() as admin:
        before = admin.add(label="mine", proxy="http://somebody:canary@127.0.0.1:1")
    with opened() as admin:
        assert admin.get(MINE).json() == before | {"held": {"tasks": 0, "chats": 0, "files": 0}}
        assert (admin.live().credential, admin.live().proxy) == (CANARY, "http://somebody:canary@127.0.0.1:1")


def test_the_list_has_accounts_of_every_source(admin: Caller) -> None:
    admin.add()
    told = admin.get(ACCOUNTS).json()
    assert told["object"] == "list"
    sources = {one["id"]: one["source"] for one in told["data"]}
    stand_in = sources.pop("sandbox/default")
    assert (stand_in, sources) == (
        "built in",
        {"sky/own": "config", "sky/mine": "database", "cloudy/env-1": "environment"},
    )
    [own] = [one for one in told["data"] if one["id"] == "sky/own"]
    assert (own["created_at"], own["updated_at"], own["label"]) == (None, None, "written")
    fingerprints = {one["credential"]["fingerprint"] for one in told["data"] if one["credential"]["set"]}
    assert len(fingerprints) == 3


@pytest.mark.parametrize(
    ("keys", "code", "told"),
    [
        ({"lable": "x"}, "unknown_parameter", "lable: 'lable' is an unknown key; did you mean 'label'?"),
        ({"tiers": 2}, "unknown_parameter", "tiers: 'tiers' is an unknown key; did you mean 'tier'?"),
        ({"tokn": "x"}, "unknown_parameter", "tokn: 'tokn' is an unknown key; did you mean 'token'?"),
        ({"upstreem": "x"}, "unknown_parameter", "upstreem: 'upstreem' is an unknown key; did you mean 'upstream'?"),
        ({"tier": 0}, "invalid_value", "tier: 'tier' must be greater than or equal to 1"),
        (
            {"max_concurrency": "four", "weight": -1},
            "invalid_value",
            "max_concurrency: 'max_concurrency' must be a whole number of at least 1 (got \"four\"); "
            "'weight' must be a number above 0 (got -1)",
        ),
        ({"name": "a/b"}, "invalid_value", "name: 'name' must be a name of 1 to 64 plain ASCII"),
        ({"name": None}, "missing_required_parameter", "name: 'name' is missing"),
        ({"upstream": None}, "missing_required_parameter", "upstream: 'upstream' is required"),
        ({"upstream": 5}, "invalid_value", "upstream: 'upstream' must be text"),
        (
            {"api_key": None},
            "missing_required_parameter",
            "api_key: 'api_key' is required for an account of type",
        ),
        ({"api_key": " "}, "missing_required_parameter", "api_key: 'api_key' is required"),
        ({"token": OTHER_CANARY}, "invalid_value", "None: an account must have api_key or token, not both"),
        ({"api_key": [CANARY]}, "invalid_value", "api_key: 'api_key' must be text"),
        ({"proxy": "canary"}, "invalid_value", "proxy: 'proxy' must be a URL"),
        ({"base_url": "http://me:canary@x.example"}, "invalid_value", "base_url: 'base_url' must not hold a user name"),
        ({"type": "blind"}, "invalid_value", "type: the upstream 'sky' is of type cloud"),
        (
            {"upstream": "skye"},
            "invalid_value",
            "upstream: no upstream 'skye' is configured; did you mean 'sky'?; to make one, give its 'type', one of",
        ),
        ({"upstream": "new", "type": "clowd"}, "invalid_value", "type: 'type' 'clowd' is not known; did you mean"),
        ({"upstream": "a/b", "type": "cloud"}, "invalid_value", "upstream: upstream: must be a name of 1 to 64"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_added(
    admin: Caller, keys: Mapping[str, Any], code: str, told: str
) -> None:
    before = admin.ids()
    body = {"upstream": "sky", "name": "mine", "api_key": CANARY, **keys}
    assert admin.refused("POST", ACCOUNTS, body, status=400, code=code).startswith(told)
    assert admin.ids() == before


def test_a_body_that_is_none_is_refused(admin: Caller) -> None:
    admin.refused("POST", ACCOUNTS, status=400, code="invalid_json")
    admin.refused("POST", ACCOUNTS, [], status=400, code="invalid_json")
    admin.refused("PATCH", OWN, [], status=400, code="invalid_json")


def test_a_name_is_taken_once_wherever_it_comes_from(admin: Caller) -> None:
    admin.add(label="first")
    for upstream, name in (("sky", "mine"), ("sky", "own"), ("cloudy", "env-1"), ("sandbox", "default")):
        body = {"upstream": upstream, "name": name, "api_key": CANARY}
        assert f"'{upstream}/{name}' already" in admin.refused(
            "POST", ACCOUNTS, body, status=409, code="account_exists"
        )
    assert admin.get(MINE).json()["label"] == "first"


def test_without_a_master_key_only_what_is_no_secret_is_kept(opened: Open) -> None:
    with opened(master=None) as admin:
        body = {"upstream": "sky", "name": "mine", "api_key": CANARY}
        told = admin.refused("POST", ACCOUNTS, body, status=409, code="no_master_key")
        assert "set GATEWAY_MASTER_KEY" in told
        assert "sky/mine" not in admin.ids()
        assert admin.post(ACCOUNTS, {"upstream": "blind", "name": "a"}).status_code == 201
        body = {"upstream": "blind", "name": "b", "proxy": "http://127.0.0.1:1"}
        admin.refused("POST", ACCOUNTS, body, status=409, code="no_master_key")


# --- upstreams that come with an account ---


def test_an_upstream_comes_into_being_with_its_first_account(opened: Open) -> None:
    with opened() as admin:
        shown = admin.add("a", "far", type="cloud", base_url="https://far.example")
        assert (shown["type"], shown["base_url"]) == ("cloud", "https://far.example")
        assert admin.says("far/cloud-chat") == "a at https://far.example"
        assert admin.add("b", "far")["base_url"] == "https://far.example"
        assert admin.add("c", "far", base_url="https://else.example")["base_url"] == "https://else.example"
        told = admin.refused(
            "POST", ACCOUNTS, {"upstream": "far", "name": "d", "type": "blind"}, status=400, code="invalid_value"
        )
        assert "is of type cloud" in told
        assert admin.delete(f"{ACCOUNTS}/far/a").status_code == 200
    with opened() as admin:
        assert admin.get(f"{ACCOUNTS}/far/b").json()["base_url"] == "https://far.example"
        assert admin.get(f"{ACCOUNTS}/far/c").json()["base_url"] == "https://else.example"
        assert admin.says("far/cloud-chat").startswith(("b at https://far", "c at https://else"))


def test_a_known_type_is_an_upstream_by_its_own_name(admin: Caller) -> None:
    for upstream in ("blind", "seer"):
        answer = admin.post(ACCOUNTS, {"upstream": upstream, "name": "a"})
        assert (answer.status_code, answer.json()["type"]) == (201, "blind")
        assert answer.json()["credential"] == {"set": False, "fingerprint": None}


# --- changing ---


def test_keys_are_changed_and_taken_back(admin: Caller) -> None:
    admin.add(label="old", tags=["eu"], tier=3, proxy="http://somebody:canary@127.0.0.1:1")
    answer = admin.patch(MINE, {"label": "new", "tags": None, "max_concurrency": 2})
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["label"], shown["tags"], shown["limits"]["max_concurrency"]) == ("new", [], 2)
    assert (shown["proxy"], shown["credential"]["set"]) == ("127.0.0.1:1", True)
    live = admin.live()
    assert (live.credential, live.options, live.label) == (CANARY, CloudAccount(tier=3), "new")
    assert admin.patch(MINE, {"proxy": None}).json()["proxy"] is None
    assert admin.get(MINE).json()["label"] == "new"


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ({"lable": "x"}, "unknown_parameter", "lable: 'lable' is an unknown key; did you mean 'label'?"),
        ({"weight": 0}, "invalid_value", "weight: 'weight' must be a number above 0"),
        ({"name": "b"}, "invalid_value", "name: 'name' cannot be changed"),
        ({"upstream": "b"}, "invalid_value", "upstream: 'upstream' cannot be changed"),
        ({"type": "b"}, "invalid_value", "type: 'type' cannot be changed"),
        ({"api_key": OTHER_CANARY}, "invalid_value", "api_key: a credential is changed by POST"),
        ({"token": OTHER_CANARY}, "invalid_value", "token: a credential is changed by POST"),
        ({"enabled": "no"}, "invalid_value", "enabled: 'enabled' must be true or false"),
        ({"enabled": 0, "label": "x"}, "invalid_value", "enabled: 'enabled' must be true or false"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(admin: Caller, body: Any, code: str, told: str) -> None:
    admin.add(label="mine")
    before = admin.get(MINE).json()
    assert admin.refused("PATCH", MINE, body, status=400, code=code).startswith(told)
    assert admin.get(MINE).json() == before


def test_accounts_of_the_config_and_the_environment_are_only_switched(admin: Caller) -> None:
    for path, where in ((OWN, "written in the config"), (ENV, "environment variable")):
        for method, at, body in (
            ("PATCH", path, {"label": "x"}),
            ("PATCH", path, {"enabled": False, "weight": 2}),
            ("POST", f"{path}/credential", {"api_key": OTHER_CANARY}),
            ("DELETE", path, None),
            ("DELETE", f"{path}?force=true", None),
        ):
            assert where in admin.refused(method, at, body, status=409, code="account_read_only")
        assert admin.get(path).json()["enabled"] is True
        for word, shown in ((False, False), (True, True), (False, False), (None, True)):
            assert admin.patch(path, {"enabled": word}).json()["enabled"] is shown


def test_switched_off_it_serves_nobody_and_stays_so(opened: Open) -> None:
    with opened() as admin:
        admin.add("a", "far", type="cloud")
        shown = admin.post(f"{ACCOUNTS}/far/a/disable").json()
        assert (shown["enabled"], shown["standing"]["status"]) == (False, "DISABLED")
        assert admin.says("far/cloud-chat") != "a at https://cloud.example/v1"
    with opened() as admin:
        assert admin.get(f"{ACCOUNTS}/far/a").json()["enabled"] is False
        assert admin.post(f"{ACCOUNTS}/far/a/enable").json()["enabled"] is True
        assert admin.says("far/cloud-chat") == "a at https://cloud.example/v1"
    with opened() as admin:
        assert admin.get(f"{ACCOUNTS}/far/a").json()["enabled"] is True


def test_an_account_added_switched_off_can_be_switched_on(opened: Open) -> None:
    with opened() as admin:
        assert admin.add("a", "far", type="cloud", enabled=False)["enabled"] is False
        assert admin.patch(f"{ACCOUNTS}/far/a", {"enabled": True, "label": "x"}).json()["enabled"] is True
    with opened() as admin:
        assert admin.get(f"{ACCOUNTS}/far/a").json()["enabled"] is True


def test_faults_are_forgotten_when_told_to_be(admin: Caller) -> None:
    admin.add("a", "far", type="cloud", api_key=f"{CANARY}-bad")
    assert admin.says("far/cloud-chat") == "upstream_credential_rejected"
    shown = admin.get(f"{ACCOUNTS}/far/a").json()
    assert (shown["standing"]["status"], shown["enabled"]) == ("INVALID", True)
    assert admin.post(f"{ACCOUNTS}/far/a/renew").json()["standing"]["status"] == "OK"


# --- credentials ---


def test_a_new_credential_serves_at_once_and_starts_afresh(admin: Caller) -> None:
    first = admin.add("a", "far", type="cloud", api_key=f"{CANARY}-bad", label="kept")
    assert admin.says("far/cloud-chat") == "upstream_credential_rejected"
    answer = admin.post(f"{ACCOUNTS}/far/a/credential", {"api_key": f" {OTHER_CANARY}\n"})
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["credential"] == {
        "set": True,
        "fingerprint": hashlib.sha256(OTHER_CANARY.encode()).hexdigest()[:8],
    }
    assert shown["credential"] != first["credential"]
    assert (shown["standing"]["status"], shown["label"]) == ("OK", "kept")
    assert admin.says("far/cloud-chat") == "a at https://cloud.example/v1"
    assert admin.post(f"{ACCOUNTS}/far/a/credential", {"token": CANARY}).status_code == 200
    assert admin.live("far", "a").credential == CANARY


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "api_key"),
        ({"api_key": ""}, "missing_required_parameter", "api_key"),
        ({"api_key": "  "}, "missing_required_parameter", "api_key"),
        ({"api_key": CANARY, "label": "x"}, "unknown_parameter", "label"),
        ({"api_key": CANARY, "token": CANARY}, "invalid_value", "None"),
    ],
)
def test_a_credential_that_is_none_changes_nothing(admin: Caller, body: Any, code: str, param: str) -> None:
    before = admin.add()
    assert admin.refused("POST", f"{MINE}/credential", body, status=400, code=code).startswith(f"{param}: ")
    assert admin.get(MINE).json()["credential"] == before["credential"]


# --- asking the upstream ---


def test_a_test_says_how_it_went_and_changes_nothing(admin: Caller) -> None:
    admin.add()
    told = admin.post(f"{MINE}/test").json()
    assert (told["ok"], told["balance"]["amount"]) == (True, 12.5)
    assert 0 <= told["seconds"] < 30
    admin.add("broken", api_key=f"{CANARY}-bad")
    told = admin.post(f"{ACCOUNTS}/sky/broken/test").json()
    assert (told["ok"], told["error"]) == (
        False,
        {"code": "upstream_credential_rejected", "message": "rejected: …"},
    )
    assert admin.get(f"{ACCOUNTS}/sky/broken").json()["standing"]["status"] == "OK"
    admin.add("poor", api_key=f"{CANARY}-poor")
    told = admin.post(f"{ACCOUNTS}/sky/poor/test").json()
    assert (told["ok"], told["balance"]["error"]["code"]) == (True, "upstream_failed")
    assert admin.post(f"{OWN}/test").json()["ok"] is True


def test_who_cannot_be_asked_without_spending_says_so(admin: Caller) -> None:
    admin.post(ACCOUNTS, {"upstream": "blind", "name": "a"})
    answer = admin.post(f"{ACCOUNTS}/blind/a/test")
    assert (answer.status_code, answer.json()) == (
        200,
        {"ok": None, "message": "an upstream of type blind cannot be asked without spending"},
    )


def test_an_upstream_that_is_silent_is_not_waited_for(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.add()
    monkeypatch.setattr(account_asks, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(Cloud, "wait", asyncio.Event())
    told = admin.post(f"{MINE}/test").json()
    assert (told["ok"], told["error"]["code"]) == (False, "upstream_timeout")


def test_balances_are_told_to_whoever_asks(admin: Caller) -> None:
    admin.add()
    admin.add("poor", api_key=f"{CANARY}-poor")
    admin.post(ACCOUNTS, {"upstream": "blind", "name": "a"})
    assert {one["balance"] for one in admin.get(ACCOUNTS).json()["data"]} == {None}
    balances = {one["id"]: one["balance"] for one in admin.get(f"{ACCOUNTS}?balance=true").json()["data"]}
    assert balances["sky/mine"] == {"amount": 12.5, "unit": "credits", "detail": {"plan": "pro"}}
    assert balances["blind/a"] is None
    assert balances["sky/poor"] == {"error": {"code": "upstream_failed", "message": "no balance for …"}}
    assert admin.get(f"{MINE}?balance=true").json()["balance"]["unit"] == "credits"
    assert admin.get(MINE).json()["balance"] is None
    told = admin.refused("GET", f"{ACCOUNTS}?balance=yes", status=400, code="invalid_value")
    assert told == "balance: 'balance' must be true or false"


# --- removing ---


def has_tasks(caller: Caller, account_id: str, *states: str) -> None:
    row = {
        "owner": "o", "kind": "t2v", "model": "m", "upstream": "sky", "request": "{}", "params": "{}", "progress": 0.0,
        "attempts": "[]", "created_at": 1.0, "deadline": 4e9, "next_poll_at": 4e9, "native": "",
        "account_id": account_id,
    }  # fmt: skip

    async def add() -> None:
        async with caller.app.house.database.write() as connection:
            for at, state in enumerate(states):
                await connection.execute(insert(tasks).values(id=f"task_{at}", state=state, **row))

    assert caller.client.portal is not None
    caller.client.portal.call(add)


def test_a_removed_account_is_gone(opened: Open) -> None:
    with opened() as admin:
        admin.add("a", "far", type="cloud")
        answer = admin.delete(f"{ACCOUNTS}/far/a")
        assert (answer.status_code, answer.json()) == (
            200,
            {"id": "far/a", "object": "account.deleted", "deleted": True},
        )
        assert "far/a" not in admin.ids()
        assert admin.says("far/cloud-chat") != "a at https://cloud.example/v1"
        for method, at, body in (
            ("GET", "", None),
            ("PATCH", "", {"label": "x"}),
            ("DELETE", "", None),
            ("POST", "/test", None),
            ("POST", "/renew", None),
            ("POST", "/credential", {"api_key": "k"}),
        ):
            told = admin.refused(method, f"{ACCOUNTS}/far/a{at}", body, status=404, code="account_not_found")
            assert "'far/a'" in told
    with opened() as admin:
        assert "far/a" not in admin.ids()


def test_an_account_in_use_is_removed_only_by_force(admin: Caller) -> None:
    admin.add()
    has_tasks(admin, "sky/mine", "queued", "running", "succeeded")
    told = admin.refused("DELETE", MINE, status=409, code="account_in_use")
    assert "2 unfinished tasks (and 0 chats, 0 files)" in told
    assert "?force=true" in told
    assert admin.get(MINE).json()["held"] == {"tasks": 2, "chats": 0, "files": 0}
    admin.refused("DELETE", f"{MINE}?force=1", status=400, code="invalid_value")
    assert admin.delete(f"{MINE}?force=true").status_code == 200
    assert "sky/mine" not in admin.ids()


def test_a_finished_task_keeps_no_account(admin: Caller) -> None:
    admin.add()
    has_tasks(admin, "sky/mine", "succeeded", "failed", "cancelled", "expired")
    assert admin.delete(MINE).status_code == 200


@pytest.mark.parametrize("background", ["true", "false"])
def test_a_namesake_of_a_removed_account_starts_afresh(opened: Open, background: str) -> None:
    with opened(GATEWAY_BACKGROUND=background) as admin:
        admin.add("a", "far", type="cloud")
        admin.post(f"{ACCOUNTS}/far/a/disable")
        admin.delete(f"{ACCOUNTS}/far/a")
        assert admin.add("a", "far", type="cloud")["enabled"] is True
    with opened() as admin:
        assert admin.get(f"{ACCOUNTS}/far/a").json()["enabled"] is True


def test_an_account_that_the_config_has_too_can_be_removed(opened: Open, tmp_path: Path) -> None:
    with opened() as admin:
        admin.add()
    (tmp_path / "config.yaml").write_text(CONFIG + "      - {name: mine, api_key: sk-canary-5-0123456789}\n")
    with opened() as admin:
        shown = admin.get(MINE).json()
        assert (shown["source"], shown["credential"]["set"]) == ("config", True)
        admin.refused("PATCH", MINE, {"label": "x"}, status=409, code="account_read_only")
        admin.post(f"{MINE}/disable")
        has_tasks(admin, "sky/mine", "running")
        assert admin.delete(MINE).status_code == 200
        assert admin.get(MINE).json()["source"] == "config"
        admin.refused("DELETE", MINE, status=409, code="account_read_only")
    with opened() as admin:
        assert admin.get(MINE).json()["standing"]["status"] == "DISABLED"


# --- master keys ---


def test_a_wrong_master_key_stops_nothing_and_can_be_mended(opened: Open, log: Callable[[], str]) -> None:
    with opened() as admin:
        admin.add(label="mine", proxy="http://somebody:canary@127.0.0.1:1")
    with opened(master=SECOND) as admin:
        [line] = [line for line in log().splitlines() if "credentials of accounts cannot be opened" in line]
        assert "sky/mine" in line
        assert "GATEWAY_MASTER_KEY" in line
        shown = admin.get(MINE).json()
        assert (shown["standing"]["status"], shown["enabled"], shown["label"]) == ("INVALID", False, "mine")
        assert "GATEWAY_MASTER_KEY" in shown["standing"]["reason"]
        assert shown["credential"] == {"set": True, "fingerprint": None}
        assert admin.says() == "own at https://cloud.example/v1"
        for method, at, body in (("PATCH", "", {"label": "x"}), ("POST", "/test", None)):
            told = admin.refused(method, f"{MINE}{at}", body, status=409, code="account_unusable")
            assert "GATEWAY_MASTER_KEY" in told
        told = admin.refused(
            "POST", f"{MINE}/credential", {"api_key": OTHER_CANARY}, status=400, code="missing_required_parameter"
        )
        assert told.startswith("proxy: ")
    with opened() as admin:
        assert admin.get(MINE).json()["standing"]["status"] == "OK"
    with opened(master=SECOND) as admin:
        body = {"api_key": OTHER_CANARY, "proxy": "http://127.0.0.1:9"}
        shown = admin.post(f"{MINE}/credential", body).json()
        assert (shown["standing"]["status"], shown["label"], shown["proxy"]) == ("OK", "mine", "127.0.0.1:9")
        assert admin.live().credential == OTHER_CANARY


def test_a_master_key_is_changed_with_the_former_beside_it(opened: Open) -> None:
    with opened() as admin:
        admin.add()
    with opened(master=SECOND, previous=FIRST) as admin:
        assert admin.live().credential == CANARY
    with opened(master=SECOND) as admin:
        assert admin.live().credential == CANARY
