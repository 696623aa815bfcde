"""Upstreams that fail in every way there is: the caller hears the truth, a good account serves, nobody is lost."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from tests.acceptance.gateway_process import Gateway, compatible, qwen, running, served
from tests.emulators.openai_answers import Reply, refusal
from tests.emulators.openai_compatible import HTML, REPLY, TEXT, Emulator, Reset
from tests.emulators.qwen import QwenSite, jwt

SECRET = "sk-emulator-secret-0815"
TOKENS = jwt("ada"), jwt("bob")
HELLO = [{"role": "user", "content": "Hello"}]

FAULTS: dict[str, tuple[Any, int]] = {
    "parameter": (refusal(400, "invalid_value", "Invalid value: 'x'.", param="temperature"), 400),
    "content": (refusal(400, "content_policy_violation", "Rejected by the safety system."), 400),
    "key": (refusal(401, "invalid_api_key", f"Incorrect API key provided: {SECRET}."), 502),
    "balance": (refusal(402, "billing_not_active", "Your account is not active."), 402),
    "rate": (refusal(429, "rate_limit_exceeded", "Rate limit reached.", retry_after="7"), 429),
    "quota": (refusal(429, "insufficient_quota", "You exceeded your current quota."), 429),
    "failure": (refusal(500, "server_error", f"The server had an error with {SECRET}."), 502),
    "overload": (refusal(503, "server_is_overloaded", "Overloaded."), 502),
    "challenge": (Reply(403, HTML, "text/html"), 503),
    "quiet-challenge": (Reply(200, HTML, "text/html"), 503),
    "web-server": (Reply(502, b"<html>Bad gateway</html>", "text/html"), 502),
    "in-band": (Reply(200, b'{"error":{"message":"in band","code":"server_error"}}'), 502),
    "no-json": (Reply(200, b"<<<not json>>>"), 502),
    "empty": (Reply(200, b""), 502),
    "nothing": (Reply(204, b""), 502),
    "redirect": (Reply(302, b"", headers={"location": "http://127.0.0.1:1/elsewhere"}), 502),
    "reset": (Reset(), 502),
}
"""What an upstream does to every request, and the status that the caller sees."""
WAYS = [(path, stream) for path in ("/v1/chat/completions", "/api/chat") for stream in (False, True)]
CROWD = ("rate", "key", "quota", "failure", "reset", "no-json", "challenge", "balance")


class Broken(Emulator):
    """An upstream that does the same to every request."""

    def __init__(self, fault: Any) -> None:
        super().__init__(keys=[SECRET])
        self.script(*[fault] * 1_000)


def stanza(url: str, name: str, *accounts: str) -> dict[str, Any]:
    """An upstream whose accounts are each somebody else's, told apart by their base URLs."""
    given = [{"name": account, "api_key": SECRET, "base_url": f"{url}/{account}/v1"} for account in accounts]
    return {**compatible(url, name=name), "models": [TEXT], "accounts": given}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    emulators = {name: Broken(fault) for name, (fault, _) in FAULTS.items()} | {"good": Emulator(keys=[SECRET])}
    house = Starlette(routes=[Mount(f"/{name}", emulator.app) for name, emulator in emulators.items()])
    site = Starlette(routes=[Mount("/site", QwenSite(TOKENS)), Route("/{path:path}", page, methods=["POST"])])
    with served(house) as url, served(site) as other:
        accounts = qwen(other, *TOKENS, models=["qwen3-max"])
        accounts["accounts"][0]["base_url"] = f"{other}/page"
        accounts["accounts"][1]["base_url"] = f"{other}/site"
        upstreams = [
            *(stanza(url, f"{name}-{at}", name) for name in FAULTS for at in range(len(WAYS))),
            *(stanza(url, f"pair-{name}", name, "good") for name in CROWD),
            stanza(url, "crowd", *CROWD, "good"),
            accounts,
        ]
        home = tmp_path_factory.mktemp("broken")
        with running(home, {"upstreams": upstreams}, secrets=[SECRET, *TOKENS]) as gateway:
            yield gateway


async def page(request: Any) -> HTMLResponse:
    return HTMLResponse(HTML, 403)


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


def ask(http: httpx.Client, upstream: str, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    return http.post(path, json={"model": f"{upstream}/{TEXT}", "messages": HELLO, **body})


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    "way", range(len(WAYS)), ids=lambda at: f"{WAYS[at][0]}-{'stream' if WAYS[at][1] else 'whole'}"
)
@pytest.mark.parametrize("name", FAULTS)
def test_error_has_its_status_and_shape(http: httpx.Client, name: str, way: int) -> None:
    path, stream = WAYS[way]
    answer = ask(http, f"{name}-{way}", path, stream=stream)
    assert answer.status_code == FAULTS[name][1], answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.headers["x-gateway-upstream"] == f"{name}-{way}"
    assert SECRET not in answer.text
    assert answer.status_code not in (429, 503) or int(answer.headers["retry-after"]) >= 1
    error = answer.json()["error"]
    if path.startswith("/v1"):
        assert error.keys() >= {"message", "type", "param", "code"}
        assert all((error["message"], error["type"], error["code"]))
    else:
        assert isinstance(error, str)
        assert answer.json()["code"]


@pytest.mark.parametrize("name", CROWD)
def test_good_account_serves_in_place_of_a_bad_one(http: httpx.Client, name: str) -> None:
    assert [said(ask(http, f"pair-{name}")) for _ in range(4)] == [REPLY] * 4


@pytest.mark.parametrize("stream", [False, True])
def test_one_good_account_among_many_bad_serves_every_request(http: httpx.Client, stream: bool) -> None:
    answers = [ask(http, "crowd", stream=stream) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20, [answer.text for answer in answers]
    if not stream:
        assert {said(answer) for answer in answers} == {REPLY}


def test_challenged_account_is_parked_and_kept(gateway: Gateway, http: httpx.Client) -> None:
    body = {"model": "qwen3-max", "message": "Hello"}
    assert [http.post("/api/chat", json=body).status_code for _ in range(4)] == [200] * 4
    assert [ask(http, "pair-challenge").status_code for _ in range(4)] == [200] * 4
    accounts = gateway.accounts()
    for parked in (accounts["qwen/a1"], accounts["pair-challenge/challenge"]):
        assert (parked["status"], parked["resetAt"]) == ("INVALID", None)
        assert "web page" in parked["reason"]
    assert [accounts[good]["status"] for good in ("qwen/a2", "pair-challenge/good")] == ["OK", "OK"]


def test_secrets_are_told_to_nobody(gateway: Gateway, http: httpx.Client) -> None:
    for path in ("/api/status", "/v1/models", "/api/models", "/readyz", "/"):
        text = http.get(path).text
        assert not [secret for secret in (SECRET, *TOKENS) if secret in text]
    gateway.check_log()
