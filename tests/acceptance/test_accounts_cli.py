"""`mediagate accounts` against a gateway that runs, as an operator types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner, Result

from gateway.cli import app
from tests.acceptance.gateway_process import ROOT, Gateway, compatible, running, served

KEY = "sk-runs-it-all-canary-1"
GOOD = "sk-good-canary-0123456789"
BAD = "sk-bad-canary-0123456789"
PROXY = "http://somebody:canary@127.0.0.1:9"


async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
    """Lists no models to whoever has a good credential."""
    request = Request(scope)
    if "-good-" in request.headers.get("authorization", ""):
        answer = JSONResponse({"object": "list", "data": []})
    else:
        said = f"wrong key: {request.headers.get('authorization')}"
        answer = JSONResponse({"error": {"message": said, "code": "invalid_api_key"}}, 401)
    await answer(scope, receive, send)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    env = {"API_KEYS": KEY, "GATEWAY_MASTER_KEY": "the master key of the tests is long enough"}
    home = tmp_path_factory.mktemp("home")
    with served(upstream) as url:
        config = {"upstreams": [compatible(url, "sk-good-canary-own", name="sky")]}
        with running(home, config, env=env, secrets=["canary", GOOD, BAD, "sk-good-canary-own"]) as started:
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

    def __call__(self, *words: str, url: str = "", key: str = KEY, given: str = "", **env: str) -> Result:
        env |= {"GATEWAY_KEY": key} if key else {}
        result = CliRunner().invoke(app, ["accounts", *words, "--url", url or self.gateway.url], env=env, input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "canary" not in result.output
        return result

    def does(self, *words: str, **options: str) -> str:
        result = self(*words, **options)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, *words: str, code: int = 1, **options: str) -> str:
        result = self(*words, **options)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.startswith("mediagate: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("mediagate: ")

    def shown(self, account: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.does("show", account, "--json"))
        return found


@pytest.fixture
def operator(gateway: Gateway) -> Iterator[Operator]:
    yield Operator(gateway)
    with gateway.client() as http:
        for one in http.get("/api/accounts").json()["data"]:
            if one["source"] == "database":
                path = f"/api/accounts/{one['upstream']}/{quote(one['name'])}?force=true"
                http.delete(path).raise_for_status()


def test_an_account_s_whole_life(operator: Operator) -> None:
    said = operator.does("add", "sky/mine", "--label", "the good one", "--stdin", given=f"{GOOD}\n")
    digits = operator.shown("sky/mine")["credential"]["fingerprint"]
    assert said == f"sky/mine was added (fingerprint of its credential: {digits})\n"
    assert operator.does("test", "sky/mine").startswith("sky/mine works (0")
    assert operator.does("disable", "sky/mine") == "sky/mine is disabled: it gets no new work\n"
    assert operator.shown("sky/mine")["standing"]["status"] == "DISABLED"
    assert operator.does("enable", "sky/mine") == "sky/mine is enabled\n"
    assert operator.does("label", "sky/mine", "the best") == "sky/mine is labelled 'the best'\n"
    assert operator.does("renew", "sky/mine") == "sky/mine starts afresh: OK\n"
    said = operator.does("rotate", "sky/mine", "--api-key-env", "NEXT", NEXT=BAD)
    shown = operator.shown("sky/mine")
    assert shown["credential"]["fingerprint"] in said
    assert (shown["credential"]["fingerprint"] != digits, shown["label"]) == (True, "the best")
    assert operator.fails("test", "sky/mine").startswith("sky/mine does not work: ")
    assert operator.does("remove", "sky/mine") == "sky/mine was removed\n"
    assert operator.fails("show", "sky/mine") == "there is no account 'sky/mine'\n"


def test_a_list_is_a_line_each_and_json_for_machines(operator: Operator) -> None:
    operator.does(
        "add", "sky/mine", "--label", "a [red]label[/] \x1b[31m", "--set", "tags=[eu, paid]", "--stdin", given=GOOD
    )
    head, *lines = operator.does("list").splitlines()
    assert head.split()[:4] == ["account", "type", "source", "status"]
    by_name = {line.split()[0]: line for line in lines}
    assert set(by_name) == {"sky/a1", "sky/mine", "sandbox/default"}
    assert by_name["sky/mine"].split()[1:5] == ["openai_compatible", "database", "OK", "0/8"]
    assert "a [red]label[/] ?[31m" in by_name["sky/mine"]
    assert "eu paid" in by_name["sky/mine"]
    assert "balance" in operator.does("list", "--balance").splitlines()[0]
    assert {one["id"] for one in json.loads(operator.does("list", "--json"))} == set(by_name)
    shown = operator.does("show", "sky/mine")
    assert "limits.max_concurrency" in shown
    assert "standing.status" in shown


def test_any_key_can_be_given_with_an_account_and_an_upstream_comes_with_it(operator: Operator) -> None:
    operator.does(
        "add", "far/a ?#%41", "--type", "openai_compatible", "--base-url", "https://far.example/v1", "--set",
        "max_concurrency=3", "--set", "daily_quota={t2v: 2}", "--proxy-env", "WAY", "--api-key-env", "MINE",
        MINE=GOOD, WAY=PROXY,
    )  # fmt: skip
    shown = operator.shown("far/a ?#%41")
    assert (shown["type"], shown["base_url"], shown["proxy"]) == (
        "openai_compatible",
        "https://far.example/v1",
        "127.0.0.1:9",
    )
    assert (shown["limits"]["max_concurrency"], shown["limits"]["daily_quota"]) == (3, {"t2v": 2})


def test_what_the_gateway_refuses_is_its_own_sentence(operator: Operator) -> None:
    assert operator.fails("add", "sky/mine", "--set", "lable=x", "--stdin", given=GOOD) == (
        "'lable' is an unknown key; did you mean 'label'?\n"
    )
    assert "already" in operator.fails("add", "sky/a1", "--stdin", given=GOOD)
    assert "written in the config" in operator.fails("label", "sky/a1", "x")
    assert "written in the config" in operator.fails("remove", "sky/a1", "--force")
    assert "--key or GATEWAY_KEY" in operator.fails("list", key="sk-nobody-knows-me")


def test_what_cannot_begin_says_why(operator: Operator) -> None:
    for words, why in (
        (["show", "sky"], "name it as <upstream>/<name>"),
        (["show", "sky/a/b"], "name it as <upstream>/<name>"),
        (["add", "sky/mine"], "use --stdin or --api-key-env NAME"),
        (["add", "sky/mine", "--stdin"], "the credential is empty"),
        (["add", "sky/mine", "--api-key-env", "NONE"], "NONE is not set"),
        (["add", "sky/mine", "--set", "weight"], "write it as KEY=VALUE"),
        (["add", "sky/mine", "--set", "tags=[", "--stdin"], "must be YAML"),
        (["add", "sky/mine", "--set", "token=x"], "is never an argument"),
        (["rotate", "sky/mine", "--proxy-env", "NONE", "--stdin"], "NONE is not set"),
    ):
        assert why in operator.fails(*words, code=2)


def test_nobody_there_is_said_in_a_sentence(operator: Operator) -> None:
    assert "start it, or name another with --url" in operator.fails("list", url="http://127.0.0.1:9")
    with served(PlainTextResponse("hello")) as url:
        assert "is no gateway" in operator.fails("list", url=url)


def test_the_gateway_of_the_folder_is_asked_by_the_key_of_its_config(gateway: Gateway) -> None:
    port = gateway.url.rpartition(":")[2]
    env = {"PYTHONPATH": str(ROOT), "PORT": port, "API_KEYS": KEY}
    command = [sys.executable, "-m", "gateway", "accounts", "list"]
    done = subprocess.run(command, env=env, cwd=gateway.home, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sky/a1" in done.stdout


def test_a_key_of_the_config_goes_to_no_other_machine(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.cli import calling

    monkeypatch.setenv("API_KEYS", KEY)
    assert calling.gateway_at("https://gateway.example/", None) == calling.Gateway("https://gateway.example", None)
    assert calling.gateway_at("http://127.0.0.1:7", None) == calling.Gateway("http://127.0.0.1:7", KEY)
    assert calling.gateway_at("https://gateway.example", "mine").key == "mine"
    assert calling.gateway_at(None, None) == calling.Gateway("http://127.0.0.1:3264", KEY)
    monkeypatch.setenv("HOST", "::")
    assert calling.gateway_at(None, "mine") == calling.Gateway("http://127.0.0.1:3264", "mine")
