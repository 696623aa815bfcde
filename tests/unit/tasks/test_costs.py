"""What tasks cost: on their rows, in the usage log and with their assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway import errors
from gateway.db.tables import assets
from gateway.tasks.task import Task
from gateway.types import (
    Finish,
    ImageRequest,
    JobUpdate,
    Media,
    MediaReady,
    ModelCard,
    Price,
    Principal,
    Usage,
    VideoRequest,
)
from tests.unit.scripted import Films, Stops, Talks, chat_request, film, png, said
from tests.unit.tasks.test_generating import ask
from tests.unit.tasks.test_poller import RUNNING, House, house

pytestmark = pytest.mark.anyio

SECOND, IMAGE = Price("CNY", second=0.3), Price("USD", image=0.1)
ADA = Principal("owner", "ada's key")


def priced(its: House, *prices: Price, card: ModelCard | None = None) -> House:
    its.base.relay.prices.renew({"m": prices})
    its.base.relay.prices.card = lambda upstream, model: card
    return its


def done_with(usage: Usage | None, **fields: Any) -> JobUpdate:
    return JobUpdate("succeeded", media=(Media("video", data=film()),), usage=usage, **fields)


async def costs(its: House) -> list[tuple[float | None, str | None]]:
    await its.base.meter.flush()
    async with its.base.database.read() as connection:
        found = await connection.execute(select(assets.c.cost, assets.c.currency).order_by(assets.c.cost))
        return [tuple(row) for row in found]


def recorded(its: House) -> list[tuple[Any, ...]]:
    return [(one.key, one.media_seconds, one.images, one.cost, one.currency) for one in its.base.records]


async def film_of(its: House, request: VideoRequest = VideoRequest("m", "waves", seconds=2)) -> Task:  # noqa: B008
    return await its.tasks.submit(request, its.base.candidates("t2v"), ADA, request_id="req_1")


@pytest.mark.parametrize(
    ("told", "seconds", "cost"),
    [
        (Usage(seconds=2), 2, (0.6, "CNY")),
        (None, 0.5, (0.15, "CNY")),
        (Usage(output_tokens=5000), 0.5, (0.15, "CNY")),
        (Usage(seconds=2, cost=0.7, currency="USD"), 2, (0.7, "USD")),
    ],
)
async def test_a_video_costs_what_it_is_long_unless_its_upstream_says(
    tmp_path: Path, told: Usage | None, seconds: float, cost: tuple[float, str]
) -> None:
    async with house(tmp_path, Films(polls=[done_with(told)])) as its:
        done = await its.done(await film_of(priced(its, SECOND)))
        assert (done.cost, done.currency, done.key_name) == (*cost, "ada's key")
        assert (done.usage or {})["seconds"] == seconds
        assert not {"cost", "currency"} & set(done.usage or ())
        assert recorded(its) == [("ada's key", seconds, 0, *cost)]
        assert await costs(its) == [cost]


async def test_a_job_that_failed_costs_nothing_unless_that_is_told(tmp_path: Path) -> None:
    for told, cost in ((None, None), (Usage(seconds=2), None), (Usage(cost=0.5, currency="USD"), 0.5)):
        failed = JobUpdate("failed", error=errors.GenerationFailed("no"), usage=told)
        async with house(tmp_path / str(cost) / str(told is None), Films(polls=[failed])) as its:
            done = await its.done(await film_of(priced(its, SECOND)))
            assert (done.state, done.cost) == ("failed", cost)
            assert [record.cost for record in its.base.records] == [cost]


@pytest.mark.parametrize(
    ("seconds", "default", "cost"), [(2, None, (2.0, 0.6, "CNY")), (None, 5.0, (5.0, 1.5, "CNY")), (None, None, None)]
)
async def test_a_job_that_cannot_be_stopped_is_paid_for(
    tmp_path: Path, seconds: float | None, default: float | None, cost: tuple[float, float, str] | None
) -> None:
    card = ModelCard("m", frozenset({"t2v"}), default_seconds=default)
    async with house(tmp_path, Stops(polls=[RUNNING], stops=False)) as its:
        task = await film_of(priced(its, SECOND, card=card), VideoRequest("m", "waves", seconds=seconds))
        await its.tasks._cancelled(await its.store.get(task.id), upstream=False)
        done = await its.store.get(task.id)
        [record] = its.base.records
        if cost is None:
            assert (done.cost, record.cost, done.usage) == (None, None, None)
        else:
            assert (record.media_seconds, record.cost, record.currency, record.estimated) == (*cost, True)
            assert (done.cost, done.currency) == cost[1:]


async def test_a_job_that_was_stopped_is_not(tmp_path: Path) -> None:
    async with house(tmp_path, Stops(polls=[RUNNING])) as its:
        task = await film_of(priced(its, SECOND))
        done = await its.tasks.cancel(task.id, ADA)
        assert (done.state, done.cost) == ("cancelled", None)
        assert [record.cost for record in its.base.records] == [None]


def pictures(count: int) -> list[Any]:
    return [*(MediaReady(Media("image", data=png(64 + at))) for at in range(count)), Finish()]


async def test_images_cost_what_their_askings_cost_together(tmp_path: Path) -> None:
    talks = Talks(pictures(2), [*pictures(2)[:1], errors.ContentRefused()], pictures(1))
    async with house(tmp_path, talks) as its:
        done = await its.done(await ask(priced(its, IMAGE), 5, max_n=2))
        assert (done.state, done.cost, done.currency) == ("succeeded", 0.4, "USD")
        assert [record.cost for record in its.base.records] == [0.2, 0.1, 0.1]
        assert await costs(its) == [(0.1, "USD")] * 4


async def test_a_task_charged_for_in_two_currencies_has_no_one_cost(tmp_path: Path) -> None:
    told = [pictures(1)[0], Usage(images=1, cost=5.0, currency="credits")]
    async with house(tmp_path, Talks(pictures(1), told)) as its:
        done = await its.done(await ask(priced(its, IMAGE), 2))
        assert (done.cost, done.currency) == (None, None)
        assert [(record.cost, record.currency) for record in its.base.records] == [(0.1, "USD"), (5.0, "credits")]


async def test_a_text_as_a_task_costs_its_words_and_a_failed_one_none(tmp_path: Path) -> None:
    async with house(tmp_path, Talks([*said("x" * 40)], [errors.ContentRefused()])) as its:
        priced(its, Price("USD", output_tokens=10))
        for cost in (0.0001, None):
            done = await its.done(await ask(its, kind="t2t", request=chat_request()))
            assert done.cost == cost


async def test_who_asked_is_known_to_the_log_by_the_name_of_its_key(tmp_path: Path) -> None:
    async with house(tmp_path, Talks(pictures(1))) as its:
        task = await its.tasks.submit(
            ImageRequest("m", "p"), its.base.candidates("t2i"), ADA, request_id="req_1", kind="t2i"
        )
        await its.done(task)
        assert [(one.key, one.task_id) for one in its.base.records] == [("ada's key", task.id)]
