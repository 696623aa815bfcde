"""What failed at one model is made by the next, where that cannot make it twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import errors
from gateway.types import (
    Account,
    Candidate,
    Event,
    Fitted,
    ImageRequest,
    Job,
    JobUpdate,
    Media,
    MediaReady,
    MediaRequest,
    Usage,
    VideoRequest,
    Wishes,
)
from tests.unit.scripted import OWNER, Films, made, png
from tests.unit.tasks.test_poller import House, house

pytestmark = pytest.mark.anyio

BROKE = JobUpdate("failed", error=errors.GenerationFailed("the studio burned down"))
FILM = VideoRequest("m", "waves")


async def two(its: House, request: VideoRequest = FILM, **fields: object):  # type: ignore[no-untyped-def]
    """A task that the first of two upstreams may make, and after it the second."""
    candidates = [*its.base.candidates("t2v")]
    assert [one.upstream for one in candidates] == ["up", "other"]
    return await its.tasks.submit(request, candidates, OWNER, request_id="req_1", **fields)  # type: ignore[arg-type]


def films(**scripts: object) -> tuple[Films, Films]:
    first, second = Films(**scripts), Films(polls=[made()])  # type: ignore[arg-type]
    second.name = "other"
    return first, second


async def test_a_job_that_failed_is_made_by_the_next_and_both_are_told(tmp_path: Path) -> None:
    first, second = films(polls=[BROKE])
    async with house(tmp_path, first, second) as its:
        done = await its.done(await two(its))
        assert (done.state, done.upstream, done.error) == ("succeeded", "other", None)
        assert [(one["upstream"], one["outcome"]) for one in done.attempts] == [
            ("up", "ok"), ("up", "generation_failed"), ("other", "ok"),
        ]  # fmt: skip
        assert (len(first.submitted), len(second.submitted)) == (1, 1)
        codes = [(one.upstream, one.code) for one in its.base.records]
        assert codes == [("up", "generation_failed"), ("other", "succeeded")]


@pytest.mark.parametrize(
    "error",
    [
        errors.ContentRefused("not that"),
        errors.UpstreamRefusedParameter("no such size"),
        errors.ResultUnavailable("it is made but cannot be had"),
    ],
)
async def test_what_the_caller_did_or_what_is_made_already_is_not_tried_elsewhere(
    tmp_path: Path, error: errors.GatewayError
) -> None:
    first, second = films(polls=[JobUpdate("failed", error=error)])
    async with house(tmp_path, first, second) as its:
        done = await its.done(await two(its))
    assert (done.state, (done.error or {})["code"]) == ("failed", error.code)
    assert second.submitted == []


async def test_a_caller_may_forbid_it(tmp_path: Path) -> None:
    first, second = films(polls=[BROKE])
    async with house(tmp_path, first, second) as its:
        done = await its.done(await two(its, wishes=Wishes(fallback=False)))
    assert (done.state, second.submitted) == ("failed", [])


async def test_the_last_one_s_failure_ends_it(tmp_path: Path) -> None:
    first, second = films(polls=[BROKE])
    second.polls = [JobUpdate("failed", error=errors.GenerationFailed("and here too"))]
    async with house(tmp_path, first, second) as its:
        done = await its.done(await two(its))
        assert (done.state, (done.error or {})["message"]) == ("failed", "and here too")
        await asyncio.sleep(0)
        assert (len(first.submitted), len(second.submitted)) == (1, 1)


async def test_what_the_failed_one_cost_is_recorded_with_it(tmp_path: Path) -> None:
    first, second = films(
        polls=[JobUpdate("failed", error=errors.GenerationFailed(), usage=Usage(cost=2.0, currency="USD"))]
    )
    async with house(tmp_path, first, second) as its:
        await its.done(await two(its))
        costs = [(one.upstream, one.cost, one.currency) for one in its.base.records]
    assert costs[0] == ("up", 2.0, "USD")


async def test_all_that_was_charged_is_the_task_s_cost(tmp_path: Path) -> None:
    dear = JobUpdate("failed", error=errors.GenerationFailed(), usage=Usage(cost=2.0, currency="USD"))
    first, second = films(polls=[dear])
    second.polls = [replace(made(), usage=Usage(cost=0.5, currency="USD"))]
    async with house(tmp_path, first, second) as its:
        done = await its.done(await two(its))
    assert (done.cost, done.currency) == (2.5, "USD")


async def test_where_the_next_one_cannot_even_begin_the_first_failure_is_told(tmp_path: Path) -> None:
    first, second = films(polls=[BROKE])
    async with house(tmp_path, first, second) as its:

        async def gone(request: VideoRequest, account: Account) -> Job:
            raise errors.CredentialRejected

        second.submit = gone  # type: ignore[method-assign]
        done = await its.done(await two(its))
    assert (done.state, (done.error or {})["code"]) == ("failed", "generation_failed")


async def test_who_does_not_take_the_request_is_passed_over(tmp_path: Path) -> None:
    first, second = films(polls=[BROKE])
    async with house(tmp_path, first, second) as its:

        def picky(request: MediaRequest, candidate: Candidate, policy: object) -> Fitted:
            if candidate.upstream == "other":
                raise errors.Unsupported("no such length", param="seconds")
            return Fitted(request)

        its.base.relay.fit = picky
        done = await its.done(await two(its))
    assert (done.state, (done.error or {})["code"], second.submitted) == ("failed", "generation_failed", [])


async def test_images_go_to_the_next_one_too(tmp_path: Path) -> None:
    class Fails(Films):
        async def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
            self.asked = request
            raise errors.GenerationFailed("no luck")
            yield

    class Makes(Films):
        async def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
            for _ in range(request.n):
                yield MediaReady(Media("image", data=png()))

    first, second = Fails(), Makes()
    second.name = "other"
    async with house(tmp_path, first, second) as its:
        candidates = [*its.base.candidates("t2i")]
        task = await its.tasks.submit(ImageRequest("m", "sea", n=2), candidates, OWNER, request_id="req_1")
        done = await its.done(task)
    assert (done.state, done.upstream) == ("succeeded", "other")
    assert [output.state for output in done.outputs] == ["succeeded", "succeeded"]
