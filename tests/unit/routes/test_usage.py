"""The usage log over HTTP: who sees what, as JSON and as CSV; and that a quote comes true."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.config import load
from gateway.routes.front import Front
from gateway.routes.usage import COLUMNS
from gateway.types import UsageRecord
from tests.unit.routes.direct import KEY, Told, asked
from tests.unit.usage.records import BEGIN, DAY, record

pytestmark = pytest.mark.anyio

ADA, BOB, SEES = "key-of-ada-12345", "key-of-bob-12345", "key-that-only-reads-1"
KEYS = [
    {"name": "boss", "key": KEY, "role": "admin"},
    {"name": "ada", "key": ADA, "role": "developer"},
    {"name": "bob-secretly", "key": BOB, "role": "developer"},
    {"name": "sees", "key": SEES, "role": "viewer"},
]
LAB = {"name": "lab", "type": "sandbox", "chunk_delay": 0, "image_seconds": 0, "video_seconds": 0.05}
PRICES = {
    "sandbox-image": [
        {"currency": "USD", "image": 0.08, "when": {"quality": "high"}},
        {"currency": "USD", "image": 0.1, "request": 0.01},
    ],
    "lab/sandbox-video": {"currency": "CNY", "second": 0.3},
    "sandbox-mu*": {"currency": "credits", "second": 0.1},
    "sandbox-speech": {"currency": "USD", "characters": 15},
    "sandbox-chat": {"currency": "USD", "input_tokens": 1, "output_tokens": 2},
}


@pytest.fixture
async def app(tmp_path: Path, either_url: str) -> AsyncIterator[Front]:
    written = {"upstreams": [{**LAB, "accounts": [{"name": "a"}]}], "access": {"keys": KEYS}}
    (tmp_path / "config.yaml").write_text(json.dumps(written | {"models": {"prices": PRICES}}))
    config = load({"DATABASE_URL": either_url, "GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path)
    app = create_app(config, {})
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        yield app


def owner(app: Front, key: str) -> str:
    return app.house.keyring.principal(f"Bearer {key}".encode()).id


async def log(app: Front, key: str, name: str, count: int = 3, **fields: Any) -> list[UsageRecord]:
    """Records of a key, the newest first."""
    of = owner(app, key)
    made = [record(BEGIN + DAY * at, at, owner=of, key=name, **fields) for at in range(count)]
    for one in made:
        app.house.meter.record(one)
    await app.house.meter.flush()
    return made[::-1]


async def read(app: Front, path: str, key: str = ADA, **headers: str) -> Any:
    told = await asked(app, "GET", path, key=key, **headers)
    assert told.status == 200, told.body
    return told.json()


def sheet(told: Told) -> list[dict[str, str]]:
    assert (told.status, told.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert told.body.endswith(b"\r\n")
    return list(csv.DictReader(io.StringIO(told.body.decode(), newline="")))


# --- one by one ---


async def test_a_record_tells_what_was_measured_and_of_others_nothing(app: Front) -> None:
    told = {"input_tokens": 7, "cached_tokens": 2, "output_tokens": 3, "estimated": True, "task_id": "task_1"}
    await log(app, ADA, "ada", 1, cost=0.25, currency="USD", seconds=1.23456, **told)
    await log(app, BOB, "bob-secretly", 2)
    body = await read(app, "/api/usage")
    assert body == {
        "object": "list",
        "data": [
            {
                "at": BEGIN,
                "request_id": "req_000000",
                "key": "ada",
                "kind": "t2t",
                "model": "m",
                "upstream": "up",
                "status": 200,
                "code": "ok",
                "images": 0,
                "media_seconds": 0.0,
                "characters": 0,
                "cost": {"amount": 0.25, "currency": "USD"},
                "seconds": 1.235,
                "attempts": 1,
                **told,
            }
        ],
        "has_more": False,
        "next_before": None,
    }


async def test_pages_go_back_in_time(app: Front) -> None:
    records = await log(app, ADA, "ada", 5)
    seen: list[str] = []
    path = "/api/usage?limit=2"
    while path:
        body = await read(app, path)
        seen += [one["request_id"] for one in body["data"]]
        path = f"/api/usage?limit=2&before={body['next_before']}" if body["has_more"] else ""
    assert seen == [one.request_id for one in records]
    last = await read(app, "/api/usage?limit=5")
    assert (len(last["data"]), last["has_more"], last["next_before"]) == (5, False, None)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 6),
        ("kind=text_to_image", 3),
        ("kind=t2t", 3),
        ("status=4xx", 3),
        ("status=429&code=upstream_rate_limited", 3),
        ("status=200", 3),
        ("from=2026-11-02&to=2026-11-02", 2),
        ("from=2026-11-02T00:00:00Z&to=2026-11-02T00:00:01Z", 2),
        ("from=2026-11-02T08:00:00%2B08:00&to=2026-11-03", 4),
        ("from=2026-11-02T08:00:00+08:00&to=2026-11-03", 4),
        ("from=2026-11-02&to=2026-11-02&tz=America/New_York", 2),
        ("from=1793577600", 4),
        ("model=n", 0),
        ("upstream=up&key=ada&model=m", 6),
        ("task_id=task_9", 0),
    ],
)
async def test_filters_hold(app: Front, query: str, count: int) -> None:
    await log(app, ADA, "ada")
    await log(app, ADA, "ada", kind="t2i", status=429, code="upstream_rate_limited")
    assert len((await read(app, f"/api/usage?{query}"))["data"]) == count
    [whole] = (await read(app, f"/api/usage/summary?{query or 'from=0'}"))["data"] or [{"requests": 0}]
    if "from" in query or not query or not count:
        assert whole["requests"] == count


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("before=nonsense", "before"),
        ("before=12_", "before"),
        ("kind=t9t", "kind"),
        ("status=4x", "status"),
        ("status=600", "status"),
        ("from=yesterday", "from"),
        ("to=nan", "to"),
        ("from=2026-13-01", "from"),
        ("from=2026-11-02&to=2026-11-01", "from"),
        ("tz=Mars/Olympus", "tz"),
        ("tz=Europe", "tz"),
        ("tz=../etc/passwd", "tz"),
        ("format=xml", "format"),
        ("all=yes", "all"),
        ("model=", "model"),
        ("model=a&model=b", "model"),
        ("modle=a", "modle"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(app: Front, query: str, param: str) -> None:
    paths = ["/api/usage"] if param in ("limit", "before") else ["/api/usage", "/api/usage/summary"]
    for path in paths:
        told = await asked(app, "GET", f"{path}?{query}", key=KEY)
        assert told.status == 400, (path, told.body)
        assert f"'{param}'" in told.json()["error"], told.body


@pytest.mark.parametrize("by", ["week", "key,key", "day,month", "key,model,upstream,kind", "", "owner", "seconds"])
async def test_sums_of_nonsense_are_refused(app: Front, by: str) -> None:
    told = await asked(app, "GET", f"/api/usage/summary?group_by={by}", key=KEY)
    assert (told.status, "group_by" in told.json()["error"]) == (400, True)


# --- who sees what ---


async def test_only_admins_see_what_others_used(app: Front) -> None:
    await log(app, ADA, "ada")
    await log(app, BOB, "bob-secretly", 2)
    for path in ("/api/usage", "/api/usage/summary"):
        for query in ("all=true", f"owner={owner(app, BOB)}"):
            for key in (ADA, SEES):
                told = await asked(app, "GET", f"{path}?{query}", key=key)
                assert (told.status, b"bob" in told.body) == (403, False)
        for query in ("key=bob-secretly", f"owner={owner(app, ADA)}", "all=false", "group_by=key&from=0"):
            if "group_by" in query and path == "/api/usage":
                continue
            told = await asked(app, "GET", f"{path}?{query}", key=ADA)
            assert told.status == 200
            assert b"secretly" not in told.body
    assert (await read(app, "/api/usage?key=bob-secretly"))["data"] == []
    assert (await read(app, "/api/usage/summary?key=bob-secretly&from=0"))["data"] == []


async def test_admins_see_their_own_somebody_s_or_all(app: Front) -> None:
    await log(app, ADA, "ada")
    await log(app, BOB, "bob-secretly", 2)
    await log(app, KEY, "boss", 1)
    for query, count in (
        ("", 1),
        ("all=true", 6),
        (f"owner={owner(app, BOB)}", 2),
        ("key=ada", 3),
        (f"key=ada&owner={owner(app, BOB)}", 0),
    ):
        assert len((await read(app, f"/api/usage?{query}", KEY))["data"]) == count, query
        sums = (await read(app, f"/api/usage/summary?from=0&{query}", KEY))["data"]
        assert sum(one["requests"] for one in sums) == count, query
    told = await asked(app, "GET", f"/api/usage?all=true&owner={owner(app, BOB)}")
    assert told.status == 400


async def test_accounts_are_told_to_admins_alone(app: Front) -> None:
    await log(app, ADA, "ada", 1)
    for suffix in ("", "?format=csv"):
        for key, seen in ((ADA, False), (KEY, True)):
            whose = ("&" if suffix else "?") + "key=ada"
            told = await asked(app, "GET", f"/api/usage{suffix}{whose}", key=key)
            assert (b"up/a" in told.body, owner(app, ADA).encode() in told.body) == (seen, seen)


async def test_nobody_reads_it_without_a_key(app: Front) -> None:
    for path in ("/api/usage", "/api/usage/summary"):
        assert (await asked(app, "GET", path, key=None)).status == 401


# --- summed up ---


async def test_sums_by_day_and_model_with_costs_by_currency(app: Front) -> None:
    await log(app, ADA, "ada", 2, cost=0.1, currency="USD", input_tokens=5, seconds=2.0)
    await log(app, ADA, "ada", 1, cost=3.0, currency="CNY", model="n", images=2)
    await log(app, ADA, "ada", 1, status=502, code="upstream_failed")
    body = await read(app, "/api/usage/summary?group_by=day,model&from=2026-11-01&to=2026-11-30&tz=Asia/Shanghai")
    assert (body["group_by"], body["tz"]) == (["day", "model"], "Asia/Shanghai")
    assert (body["from"], body["to"]) == (BEGIN - 8 * 3600, BEGIN + 30 * DAY - 8 * 3600)
    assert [(one["day"], one["model"], one["requests"], one["cost"]) for one in body["data"]] == [
        ("2026-11-01", "m", 2, {"USD": 0.1}),
        ("2026-11-01", "n", 1, {"CNY": 3.0}),
        ("2026-11-02", "m", 1, {"USD": 0.1}),
    ]
    first = body["data"][0]
    assert (first["errors"], first["input_tokens"], first["seconds_avg"], first["unpriced"]) == (1, 5, 1.5, 0)


async def test_sums_are_of_the_last_days_where_nobody_says_since_when(app: Front) -> None:
    now = app.house.database.now()
    for at in (now - 29 * DAY, now - 31 * DAY):
        app.house.meter.record(record(at, owner=owner(app, ADA)))
    await app.house.meter.flush()
    [whole] = (await read(app, "/api/usage/summary"))["data"]
    assert whole["requests"] == 1


# --- as CSV ---


async def test_a_sheet_has_every_record_and_no_formula(app: Front) -> None:
    names = ["=1+1", "+x", "-x", "@x", "\tx", "plain", 'a,"b"\nc']
    for number, name in enumerate(names):
        one = record(BEGIN + number, number, owner=owner(app, ADA), model=name, cost=2.5e-7, currency="USD")
        app.house.meter.record(one)
    await app.house.meter.flush()
    told = await asked(app, "GET", "/api/usage", key=ADA, accept="text/csv")
    rows = sheet(told)
    assert told.body.startswith(",".join(COLUMNS).encode() + b"\r\n")
    assert [row["model"] for row in rows][::-1] == ["'=1+1", "'+x", "'-x", "'@x", "'\tx", "plain", 'a,"b"\nc']
    last = {name: rows[-1][name] for name in ("at", "cost", "currency", "estimated", "seconds", "task_id", "status")}
    assert last == {
        "at": "2026-11-01T00:00:00.000Z", "cost": "0.00000025", "currency": "USD", "estimated": "false",
        "seconds": "1", "task_id": "", "status": "200",
    }  # fmt: skip
    assert 'filename="usage-2' in told.headers["content-disposition"]


async def test_a_sheet_goes_on_over_all_pages(app: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.usage.ledger.PAGE", 3)
    records = await log(app, ADA, "ada", 10)
    rows = sheet(await asked(app, "GET", "/api/usage?format=csv", key=ADA))
    assert [row["request_id"] for row in rows] == [one.request_id for one in records]
    assert len(sheet(await asked(app, "GET", "/api/usage?format=csv&limit=4", key=ADA))) == 4
    assert sheet(await asked(app, "GET", "/api/usage?format=csv&model=none", key=ADA)) == []


async def test_sums_as_a_sheet_have_a_column_for_each_currency(app: Front) -> None:
    await log(app, ADA, "ada", 1, cost=0.1, currency="USD")
    await log(app, ADA, "ada", 1, cost=3.0, currency="CNY", model="=n")
    rows = sheet(await asked(app, "GET", "/api/usage/summary?group_by=model&from=0&format=csv", key=ADA))
    assert [(row["model"], row["requests"], row["cost_CNY"], row["cost_USD"]) for row in rows] == [
        ("'=n", "1", "3", ""),
        ("m", "1", "", "0.1"),
    ]


async def test_a_head_is_answered_without_a_body(app: Front) -> None:
    await log(app, ADA, "ada")
    told = await asked(app, "HEAD", "/api/usage?format=csv", key=ADA)
    assert (told.status, told.body) == (200, b"")


# --- a quote comes true ---

IMAGE = {"model": "sandbox-image", "prompt": "a", "chatType": "t2i", "size": "64x64"}
VIDEO = {"model": "sandbox-video", "message": "a", "chatType": "t2v", "size": "128x72"}


async def recorded(app: Front, key: str = ADA) -> list[dict[str, Any]]:
    await app.house.meter.flush()
    data: list[dict[str, Any]] = (await read(app, "/api/usage", key))["data"]
    return data


@pytest.mark.parametrize(
    ("path", "body", "quoted"),
    [
        ("/v1/images/generations", IMAGE, {"amount": 0.11, "currency": "USD"}),
        ("/v1/images/generations", {**IMAGE, "n": 3}, {"amount": 0.31, "currency": "USD"}),
        ("/v1/images/generations", {**IMAGE, "n": 2, "quality": "high"}, {"amount": 0.16, "currency": "USD"}),
        ("/api/chat", {**VIDEO, "seconds": 2}, {"amount": 0.6, "currency": "CNY"}),
        ("/api/chat", VIDEO, {"amount": 1.5, "currency": "CNY"}),
        ("/api/tasks", {**IMAGE, "n": 2}, {"amount": 0.21, "currency": "USD"}),
        (
            "/v1/audio/speech",
            {"model": "sandbox-speech", "input": "hello there", "chatType": "tts"},
            {"amount": 0.000165, "currency": "USD"},
        ),
    ],
)
async def test_what_is_made_costs_what_was_quoted(
    app: Front, path: str, body: dict[str, Any], quoted: dict[str, Any]
) -> None:
    quote = (await asked(app, "POST", "/api/quote", body, key=ADA)).json()["price"]
    assert ({name: quote[name] for name in quoted}, quote["exact"]) == (quoted, True)
    made = await asked(app, "POST", path, body, key=ADA)
    assert made.status in (200, 202), made.body
    if path == "/api/tasks":
        task = (await asked(app, "GET", f"/api/tasks/{made.json()['id']}?wait=10", key=ADA)).json()
        assert task["cost"] == quoted
        assert "cost" not in task["usage"]
    assert [(one["cost"], one["key"]) for one in await recorded(app)] == [(quoted, "ada")]


async def test_a_video_s_cost_is_its_task_s_and_its_asset_s(app: Front) -> None:
    made = (await asked(app, "POST", "/api/chat", {**VIDEO, "seconds": 2}, key=ADA)).json()
    task = (await asked(app, "GET", f"/api/tasks/{made['task_id']}", key=ADA)).json()
    assert task["cost"] == {"amount": 0.6, "currency": "CNY"}
    [one] = await recorded(app)
    assert (one["task_id"], one["media_seconds"], one["cost"]) == (made["task_id"], 2.0, task["cost"])
    [file] = task["output"]["files"]
    asset = await read(app, f"/api/content-assets/{file['id']}")
    assert (asset["cost"], asset["currency"]) == (0.6, "CNY")
    assert asset["generation_time"] > 0


async def test_a_kept_text_knows_its_cost(app: Front) -> None:
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "hi"}], "store": True}
    told = await asked(app, "POST", "/v1/chat/completions", body, key=ADA)
    usage = told.json()["usage"]
    [one] = await recorded(app)
    amount = round((usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 1e6, 12)
    assert (one["cost"], one["estimated"]) == ({"amount": amount, "currency": "USD"}, False)
    asset = await read(app, f"/api/content-assets/{told.headers['x-asset-id']}")
    assert (asset["cost"], asset["currency"]) == (amount, "USD")


async def test_a_quote_for_words_is_an_estimate_and_without_a_price_there_is_none(app: Front) -> None:
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
    quote = (await asked(app, "POST", "/api/quote", body, key=ADA)).json()["price"]
    assert (quote["currency"], quote["exact"], quote["per"]) == (
        "USD",
        False,
        {"input_tokens": 1.0, "output_tokens": 2.0},
    )
    assert 0.00002 < quote["amount"] < 0.0001
    unpriced = await asked(app, "POST", "/api/quote", {"model": "sandbox-embedding-x", "message": "a"}, key=ADA)
    assert unpriced.status == 404 or unpriced.json()["price"] is None


async def test_models_tell_their_prices(app: Front) -> None:
    models = {one["id"]: one for one in (await read(app, "/api/models"))["data"]}
    assert models["sandbox-image"]["prices"] == [
        {"currency": "USD", "image": 0.08, "when": {"quality": "high"}},
        {"currency": "USD", "image": 0.1, "request": 0.01},
    ]
    assert models["sandbox-video"]["price"] == {"currency": "CNY", "second": 0.3}
    assert models["sandbox-music"]["prices"] == [{"currency": "credits", "second": 0.1}]
    assert (await read(app, "/api/models/sandbox-video"))["prices"] == models["sandbox-video"]["prices"]
    bare = [one for one in models.values() if one["price"] is None]
    assert all(one["prices"] == [] for one in bare)
    assert bare


async def test_costs_are_told_to_who_monitors(app: Front) -> None:
    await asked(app, "POST", "/v1/images/generations", {**IMAGE, "n": 3}, key=ADA)
    told = await asked(app, "GET", "/metrics")
    line = b'mediagate_cost_total{currency="USD",model="sandbox-image",upstream="lab"} 0.31'
    assert line in told.body
