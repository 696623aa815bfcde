"""A limit on what a task may cost: for the whole of it, at whichever model makes it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway import errors
from gateway.catalog.prices import PriceBook
from gateway.types import (
    Candidate,
    Fitted,
    ImageRequest,
    Job,
    Media,
    MediaReady,
    MediaRequest,
    OnUnsupported,
    Price,
    VideoRequest,
    Wishes,
)
from tests.unit.scripted import OWNER, Films, Scripted, Talks, chat_request, made, png
from tests.unit.tasks.test_poller import House, house, until

pytestmark = pytest.mark.anyio


def fit(request: MediaRequest, candidate: Candidate, policy: OnUnsupported | None) -> Fitted:
    return Fitted(msgspec.structs.replace(request, model=candidate.card.id))


def priced(its: House, **prices: Price) -> None:
    its.base.relay.fit = fit
    its.base.relay.prices = its.poller.recorder.prices = PriceBook({f"{name}/m": [one] for name, one in prices.items()})


def second(upstream: Scripted) -> Scripted:
    upstream.name = "other"
    return upstream


async def test_who_costs_too_much_is_passed_over_and_the_other_is_waited_for(tmp_path: Path) -> None:
    rests = Films(submits=[errors.RateLimited(retry_after=0.01), errors.RateLimited(retry_after=0.01), Job("j")])
    rests.polls = [made()]
    dear = second(Films(polls=[made()]))
    async with house(tmp_path, rests, dear) as its:
        priced(its, up=Price("USD", request=1), other=Price("USD", request=9))
        wishes = Wishes(max_cost=2.0)
        task = await its.tasks.submit(
            VideoRequest("m", "waves"), its.base.candidates("t2v"), OWNER, request_id="r", wishes=wishes
        )
        assert task.state in ("queued", "running")
        assert isinstance(dear, Films)
        assert dear.submitted == []


async def test_parts_are_not_looked_at_one_by_one(tmp_path: Path) -> None:
    rests = Talks([errors.RateLimited(retry_after=30)])
    dear = second(Talks([MediaReady(Media("image", data=png()))]))
    async with house(tmp_path, rests, dear) as its:
        priced(its, up=Price("USD", image=0.01), other=Price("USD", image=0.04))
        wishes = Wishes(max_cost=0.05)
        await its.tasks.submit(
            ImageRequest("m", "waves", n=4), its.base.candidates("t2i"), OWNER, request_id="r", wishes=wishes
        )
        await until(lambda: rests.asked)
        assert dear.asked == [], "one costs 0.04, but four were asked for"


async def test_text_has_its_limit_too(tmp_path: Path) -> None:
    talks = Talks(["hello"])
    async with house(tmp_path, talks) as its:
        priced(its, up=Price("USD", output_tokens=1_000_000))
        with pytest.raises(errors.TooDear, match="max_cost"):
            await its.tasks.submit(
                chat_request(), its.base.candidates(), OWNER, request_id="r", wishes=Wishes(max_cost=0.01)
            )
        assert talks.asked == []
