"""What requests cost, as the relay records it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway import errors
from gateway.assets.asset import Asset, asset_of
from gateway.catalog.prices import PriceBook
from gateway.db.tables import assets
from gateway.types import (
    Candidate,
    EmbeddingRequest,
    Embeddings,
    Finish,
    ImageRequest,
    Media,
    MediaReady,
    ModelCard,
    Price,
    Principal,
    TextDelta,
    Usage,
)
from tests.unit.scripted import Rig, Talks, png, rig, said

pytestmark = pytest.mark.anyio

PICTURE = ImageRequest("m", "a lighthouse", n=3, params={"quality": "high"})
WORDS = Price("USD", input_tokens=1, output_tokens=10)
IMAGE = Price("CNY", image=0.1)


def pictures(count: int) -> list[Any]:
    return [MediaReady(Media("image", data=png(64 + at))) for at in range(count)]


def priced(house: Rig, *prices: Price) -> Rig:
    house.relay.prices = PriceBook({"m": prices})
    return house


async def asked(house: Rig, kind: Any = "t2t", request: Any = None, **fields: Any) -> None:
    async for _ in await house.relay.open(house.work(kind, request, **fields)):
        pass


async def in_library(house: Rig) -> list[Asset]:
    await house.meter.flush()
    async with house.database.read() as connection:
        return [asset_of(row) for row in await connection.execute(select(assets).order_by(assets.c.width))]


async def test_a_chat_costs_what_its_tokens_do_and_is_the_key_s(tmp_path: Path) -> None:
    told = Usage(100, 20, cached_tokens=7, reasoning_tokens=3)
    async with rig(tmp_path, Talks([TextDelta("a"), told, Finish()])) as house:
        work = priced(house, WORDS).work()
        work.principal = Principal("owner", "ada's key")
        relayed = await house.relay.open(work)
        _ = [event async for event in relayed]
        [record] = house.records
        assert (record.key, record.owner, record.cached_tokens, record.estimated) == ("ada's key", "owner", 7, False)
        assert (record.cost, record.currency, record.assets) == (0.0003, "USD", ())
        assert (relayed.usage.cost, relayed.usage.reasoning_tokens) == (0.0003, 3)
        assert relayed.took is not None


async def test_without_a_price_the_cost_is_unknown_and_not_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([TextDelta("a"), Usage(100, 20), Finish()])) as house:
        await asked(house)
        assert [(record.cost, record.currency) for record in house.records] == [(None, None)]


async def test_a_card_s_own_price_counts_where_the_operator_says_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([TextDelta("a"), Usage(100, 20), Finish()])) as house:
        work = house.work()
        work.candidates = [Candidate("up", ModelCard("m", frozenset({"t2t"}), prices=(WORDS,)))]
        async for _ in await house.relay.open(work):
            pass
        assert [record.cost for record in house.records] == [0.0003]


async def test_what_an_upstream_told_nothing_of_is_counted_and_priced(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks(said("x" * 40))) as house:
        await asked(priced(house, Price("USD", output_tokens=10)))
        [record] = house.records
        assert (record.output_tokens, record.estimated, record.cost) == (10, True, 0.0001)
        assert record.input_tokens > 0


async def test_a_cost_that_is_told_goes_before_the_price_even_of_a_failure(tmp_path: Path) -> None:
    told = Usage(100, 20, cost=0.5, currency="USD")
    script = [TextDelta("a"), told, errors.StreamInterrupted()]
    async with rig(tmp_path, Talks([TextDelta("a"), told, Finish()], script)) as house:
        await asked(priced(house, Price("CNY", output_tokens=10)))
        with pytest.raises(errors.StreamInterrupted):
            await asked(house)
        assert [(record.cost, record.currency) for record in house.records] == [(0.5, "USD")] * 2


async def test_a_failure_costs_nothing_that_anybody_knows(tmp_path: Path) -> None:
    talks = Talks([errors.ContentRefused()], [TextDelta("a"), errors.StreamInterrupted()])
    async with rig(tmp_path, talks) as house:
        for _ in range(2):
            with pytest.raises(errors.GatewayError):
                await asked(priced(house, WORDS))
        first, second = house.records
        assert (first.cost, first.output_tokens) == (None, 0)
        assert (second.cost, second.output_tokens, second.estimated) == (None, 1, True)


async def test_who_leaves_pays_for_what_was_said(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([TextDelta("x" * 40), asyncio.Event()])) as house:
        relayed = await priced(house, Price("USD", output_tokens=10)).relay.open(house.work())
        await anext(aiter(relayed))
        await relayed.aclose()
        [record] = house.records
        assert (record.code, record.output_tokens, record.cost) == ("client_closed_request", 10, 0.0001)


async def test_images_share_what_they_cost_and_know_how_long_they_took(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([*pictures(3), Finish()])) as house:
        await asked(priced(house, IMAGE), "t2i", PICTURE)
        [record] = house.records
        assert (record.images, record.cost, record.currency, len(record.assets)) == (3, 0.3, "CNY", 3)
        made = await in_library(house)
        assert {asset.id for asset in made} == set(record.assets)
        assert [(asset.cost, asset.currency) for asset in made] == [(0.1, "CNY")] * 3
        assert all(asset.generation_time == record.generation_time for asset in made)
        assert record.generation_time is not None
        assert 0 < record.generation_time <= record.seconds


async def test_what_is_here_of_a_failed_answer_is_charged_for(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([*pictures(2), errors.UpstreamFailed()])) as house:
        with pytest.raises(errors.UpstreamFailed):
            await asked(priced(house, IMAGE), "t2i", PICTURE)
        assert [(record.status, record.images, record.cost) for record in house.records] == [(502, 2, 0.2)]
        assert [asset.cost for asset in await in_library(house)] == [0.1, 0.1]


async def test_an_asset_of_unknown_cost_knows_how_long_it_took_all_the_same(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([*pictures(1), Finish()])) as house:
        await asked(house, "t2i", PICTURE)
        [asset] = await in_library(house)
        assert (asset.cost, asset.currency) == (None, None)
        assert asset.generation_time is not None


async def test_assets_know_the_request_they_came_of(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([*pictures(1), Finish()])) as house:
        await asked(house, "t2i", PICTURE)
        await asked(house, "t2i", PICTURE, task_id="task_1")
        found = await in_library(house)
        assert [asset.request_id for asset in found] == ["req_1", "req_1"]
        assert sorted((asset.source_module, asset.task_id or "") for asset in found) == [
            ("api", ""),
            ("task", "task_1"),
        ]


async def test_the_model_that_served_is_the_one_that_is_charged_for(tmp_path: Path) -> None:
    first = Talks([errors.UpstreamUnreachable(sent="no")], name="first")
    async with rig(tmp_path, first, Talks([TextDelta("a"), Usage(100, 20), Finish()], name="second")) as house:
        house.relay.prices = PriceBook({"first/m": [WORDS], "other": [Price("CNY", output_tokens=1000)]})
        work = house.work()
        kinds: Any = frozenset({"t2t"})
        work.candidates = [Candidate("first", ModelCard("m", kinds)), Candidate("second", ModelCard("other", kinds))]
        async for _ in await house.relay.open(work):
            pass
        [record] = house.records
        assert (record.upstream, record.model, record.cost, record.currency) == ("second", "other", 0.02, "CNY")


async def test_vectors_are_priced_too(tmp_path: Path) -> None:
    vectors = Embeddings(((0.5,),), Usage())
    async with rig(tmp_path, Talks([vectors])) as house:
        await priced(house, WORDS).relay.ask(house.work("embedding", EmbeddingRequest("m", ("x" * 8,))))
        [record] = house.records
        assert (record.input_tokens, record.estimated, record.cost) == (3, True, 0.000003)


async def test_conditions_see_what_the_request_says(tmp_path: Path) -> None:
    high, low = Price("USD", image=0.5, when={"quality": ("high",)}), Price("USD", image=0.25)
    async with rig(tmp_path, Talks([*pictures(1), Finish()])) as house:
        await asked(priced(house, high, low), "t2i", PICTURE)
        await asked(house, "t2i", ImageRequest("m", "p"))
        assert [record.cost for record in house.records] == [0.5, 0.25]
