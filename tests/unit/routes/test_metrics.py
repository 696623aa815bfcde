"""What a monitor reads, and who may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import create_app
from gateway.config import load
from gateway.errors import CredentialRejected, RateLimited
from gateway.routes.front import Front
from gateway.tasks.counts import GOOD_FOR_SECONDS
from tests.unit.routes.direct import KEY, Told, asked
from tests.unit.state.redis_server import UP_SECONDS, own_redis, until

pytestmark = pytest.mark.anyio

VIEWER, MAKER = "key-that-only-reads-1", "key-that-makes-1"
KEYS = [
    {"name": "rules-secretly", "key": KEY, "role": "admin"},
    {"name": "reads-secretly", "key": VIEWER, "role": "viewer"},
    {"name": "makes-secretly", "key": MAKER, "role": "developer"},
]
LAB = {"name": "lab", "type": "sandbox", "chunk_delay": 0, "image_seconds": 0, "video_seconds": 60}
SAY = {"messages": [{"role": "user", "content": "a-secret-word"}], "model": "sandbox-chat"}

Labels = dict[str, str]


class Metrics:
    """A scrape, read as a monitor reads it."""

    def __init__(self, told: Told) -> None:
        assert told.status == 200, told.body
        self.text = told.body.decode()
        self.samples = [sample for family in text_string_to_metric_families(self.text) for sample in family.samples]

    def all(self, name: str) -> list[tuple[Labels, float]]:
        return [(sample.labels, sample.value) for sample in self.samples if sample.name == name]

    def one(self, name: str, **labels: str) -> float:
        [value] = [value for found, value in self.all(name) if labels.items() <= found.items()]
        return value


@pytest.fixture
async def app(tmp_path: Path, either_url: str) -> AsyncIterator[Front]:
    accounts = [{"name": "a", "max_concurrency": 3}, {"name": "b"}, {"name": "c", "enabled": False}]
    written = {"upstreams": [{**LAB, "accounts": accounts}], "access": {"keys": KEYS}}
    (tmp_path / "config.yaml").write_text(json.dumps(written))
    config = load({"DATABASE_URL": either_url, "GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path)
    app = create_app(config, {})
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        yield app


async def scrape(app: Front, key: str | None = KEY) -> Metrics:
    return Metrics(await asked(app, "GET", "/metrics", key=key))


# --- who may ---


async def test_admins_and_viewers_may_read_and_nobody_else(app: Front) -> None:
    for key, status in ((KEY, 200), (VIEWER, 200), (MAKER, 403), ("key-of-a-stranger", 401), (None, 401)):
        told = await asked(app, "GET", "/metrics", key=key)
        assert told.status == status, key
        assert (b"mediagate_" in told.body) == (status == 200)
    assert told.headers["www-authenticate"] == "Bearer"


async def test_it_is_the_text_format_of_a_moment(app: Front) -> None:
    told = await asked(app, "GET", "/metrics")
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert told.headers["cache-control"] == "no-store"


async def test_a_gateway_without_keys_tells_its_own_machine(tmp_path: Path) -> None:
    app = create_app(load({"GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path), {})
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        assert (await asked(app, "GET", "/metrics", key=None)).status == 403  # `asked` calls from elsewhere
        app.house.insecure = True
        assert (await asked(app, "GET", "/metrics", key=None)).status == 200


async def test_a_gateway_that_shuts_down_is_watched_to_the_end(app: Front) -> None:
    assert (await scrape(app)).one("mediagate_draining") == 0
    app.drain.begin()
    assert (await asked(app, "GET", "/v1/models")).status == 503
    assert (await scrape(app)).one("mediagate_draining") == 1


# --- what is told ---


async def test_accounts_are_counted_by_standing(app: Front) -> None:
    pool = app.house.relay.pools["lab"]
    pool.blame("lab/a", RateLimited(retry_after=60), model="m", kind="t2t")
    pool.blame("lab/b", CredentialRejected(), model="m", kind="t2t")
    found = await scrape(app)
    counted = {labels["status"]: value for labels, value in found.all("mediagate_accounts")}
    assert counted == {"ok": 0, "rate_limited": 1, "exhausted": 0, "invalid": 1, "disabled": 1}
    alarms = {labels["code"]: value for labels, value in found.all("mediagate_alarms")}
    expected = {"account_needs_operator": 1, "no_account_available": 1, "redis_away": 0, "upstream_breaker_open": 0}
    assert alarms == expected


async def test_leases_slots_and_refusals_are_told(app: Front) -> None:
    pool = app.house.relay.pools["lab"]
    pool.disable("b")
    leases = [pool.take(model="m", kind="t2t") for _ in range(3)]
    with pytest.raises(Exception, match="busy"):
        pool.take(model="m", kind="t2t")
    found = await scrape(app)
    assert found.one("mediagate_account_in_flight", account="lab/a") == 3
    assert found.one("mediagate_account_slots", account="lab/a") == 3
    assert found.one("mediagate_leases_total", upstream="lab") == 3
    assert found.one("mediagate_refusals_total", upstream="lab") == 1
    states = {labels["state"]: value for labels, value in found.all("mediagate_breaker")}
    assert states == {"closed": 1, "open": 0, "half_open": 0}
    waiting = asyncio.create_task(pool.lease(model="m", kind="t2t", wait=10))
    await asyncio.sleep(0)
    assert (await scrape(app)).one("mediagate_requests_waiting", upstream="lab") == 1
    for lease in leases:
        lease.release()
    (await waiting).release()
    assert found.all("mediagate_limits_shared") == []


async def test_requests_and_what_they_made_are_summed_up(app: Front) -> None:
    for _ in range(3):
        assert (await asked(app, "POST", "/v1/chat/completions", SAY)).status == 200
    assert (await asked(app, "POST", "/v1/images/generations", {"prompt": "x", "n": 2})).status == 200
    refused = await asked(app, "POST", "/v1/chat/completions", SAY, x_sandbox_fault="refused")
    assert refused.status == 400
    found = await scrape(app)
    of = {"kind": "t2t", "upstream": "lab", "model": "sandbox-chat"}
    assert found.one("mediagate_requests_total", **of, status="2xx", code="ok") == 3
    assert found.one("mediagate_requests_total", **of, status="4xx", code="content_policy_violation") == 1
    assert found.one("mediagate_attempts_total", **of) == 4
    assert found.one("mediagate_output_tokens_total", **of) > 0
    assert found.one("mediagate_images_total", kind="t2i") == 2
    assert found.one("mediagate_request_seconds_count", kind="t2t", status="2xx") == 3
    buckets = [value for labels, value in found.all("mediagate_request_seconds_bucket") if labels["status"] == "4xx"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 1
    assert 0 < found.one("mediagate_request_seconds_sum", kind="t2t", status="2xx") < 60


async def test_open_tasks_are_counted_by_state(app: Front) -> None:
    film = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1, "waitForCompletion": False}
    assert (await scrape(app)).one("mediagate_tasks", state="running") == 0
    assert (await asked(app, "POST", "/api/chat", film)).status == 200
    async with asyncio.timeout(GOOD_FOR_SECONDS + 20):
        while (await scrape(app)).one("mediagate_tasks", state="running") == 0:
            await asyncio.sleep(0.05)


async def test_a_database_that_is_away_is_told_and_hides_nothing_else(app: Front) -> None:
    await app.house.database.close()
    found = await scrape(app)
    assert found.one("mediagate_database_up") == 0
    assert found.all("mediagate_tasks") == []
    assert found.one("mediagate_accounts", status="ok") == 2
    await app.house.database.start()


async def test_the_process_is_told(app: Front) -> None:
    found = await scrape(app)
    assert found.one("process_resident_memory_bytes") > 1_000_000
    assert found.one("process_open_fds") > 0
    assert 0 <= found.one("mediagate_uptime_seconds") < 600
    assert found.one("mediagate_requests_under_way") == 1
    assert found.all("mediagate_info")[0][0].keys() == {"version"}


async def test_every_metric_is_told_what_it_is(app: Front) -> None:
    text = (await scrape(app)).text
    families = [family for family in text_string_to_metric_families(text) if family.name.startswith("mediagate")]
    assert len(families) > 20
    assert all(family.documentation for family in families)
    assert all(family.type != "unknown" for family in families)


async def test_limits_that_are_no_longer_shared_are_an_alarm(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps({"upstreams": [LAB], "access": {"keys": KEYS}}))
    async with own_redis(tmp_path) as redis:
        config = load({"REDIS_URL": redis.url, "GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path)
        app = create_app(config, {})
        async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
            pool = app.house.relay.pools["lab"]
            await until(lambda: pool.shared is True, UP_SECONDS)
            assert await limits(app) == (1, "shared", [])
            redis.kill()
            await until(lambda: pool.shared is False, UP_SECONDS)
            assert await limits(app) == (0, "per process", ["redis_away"])


async def limits(app: Front) -> tuple[float, str, list[str]]:
    """What is told of them: by the metric, of the upstream, and as alarms."""
    found = await scrape(app)
    status = (await asked(app, "GET", "/api/status")).json()
    codes = [alarm["code"] for alarm in status["alarms"]]
    assert found.one("mediagate_alarms", code="redis_away") == len(codes)
    return found.one("mediagate_limits_shared", upstream="lab"), status["upstreams"][0]["limits"], codes


# --- what is not ---


async def test_no_word_of_a_caller_and_no_secret_is_in_it(app: Front) -> None:
    for body in (SAY, {**SAY, "model": "a-secret-model"}, {**SAY, "user": "a-secret-user"}):
        await asked(app, "POST", "/v1/chat/completions", body, x_sandbox_fault="refused")
    text = (await scrape(app)).text
    assert "other" in text
    for secret in ("secret", KEY, VIEWER, MAKER):
        assert secret not in text


async def test_nothing_is_left_in_the_registry_that_everybody_shares(app: Front) -> None:
    before = {metric.name for metric in REGISTRY.collect()}
    await scrape(app)
    await scrape(app)
    assert {metric.name for metric in REGISTRY.collect()} == before
    assert not any(name.startswith("mediagate") for name in before)


async def test_a_thousand_accounts_are_told_each_once(tmp_path: Path) -> None:
    accounts: list[dict[str, Any]] = [{"name": f"n{number}"} for number in range(1000)]
    (tmp_path / "config.yaml").write_text(json.dumps({"upstreams": [{**LAB, "accounts": accounts}]}))
    app = create_app(load({"GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path), {}, insecure=True)
    async with app.app.lifespan_context(app.app):  # type: ignore[attr-defined]
        found = await scrape(app, key=None)
    told = [labels["account"] for labels, _ in found.all("mediagate_account_slots")]
    assert sorted(told) == sorted(f"lab/n{number}" for number in range(1000))
