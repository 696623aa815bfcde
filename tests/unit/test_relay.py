import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.errors import GatewayError
from gateway.http import Timeouts
from gateway.relay import Relayed, may_try_elsewhere
from gateway.types import (
    EmbeddingRequest,
    Embeddings,
    Event,
    Finish,
    Frame,
    ImageRequest,
    Job,
    Media,
    MediaReady,
    TextDelta,
    Usage,
    VideoRequest,
    Whole,
)
from tests.unit.scripted import Films, Talks, chat_request, png, rig, said

pytestmark = pytest.mark.anyio

PICTURE = ImageRequest("m", "a lighthouse")
FILM = VideoRequest("m", "waves")
TEXTS = EmbeddingRequest("m", ("a",))


async def heard(relayed: Relayed) -> list[Event]:
    return [event async for event in relayed]


async def failed(attempt: Awaitable[Any]) -> GatewayError:
    with pytest.raises(GatewayError) as told:
        await attempt
    return told.value


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(2):
        while not met():
            await asyncio.sleep(0)


# --- one attempt ---


async def test_events_come_through_in_order_and_then_all_is_settled(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([TextDelta("a"), TextDelta("b"), Usage(3, 4), Finish()])) as house:
        relayed = await house.relay.open(house.work())
        assert house.in_flight == 1
        assert await heard(relayed) == [TextDelta("a"), TextDelta("b"), Usage(3, 4), Finish()]
        assert house.in_flight == 0
        assert (relayed.usage, relayed.passed) == (Usage(3, 4), False)
        [record] = house.records
        assert (record.status, record.code, record.input_tokens, record.output_tokens) == (200, "ok", 3, 4)
        assert (record.owner, record.upstream, record.attempts, record.request_id) == ("owner", "up", 1, "req_1")


@pytest.mark.parametrize("first", [Frame(b"data: {}\n\n"), Whole(b"{}")])
async def test_an_answer_that_passes_as_it_came_is_known_by_its_first_event(tmp_path: Path, first: Event) -> None:
    async with rig(tmp_path, Talks([first, Finish()])) as house:
        relayed = await house.relay.open(house.work())
        assert relayed.passed
        await heard(relayed)


async def test_an_answer_of_nothing_is_a_fault_of_the_upstream(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([])) as house:
        error = await failed(house.relay.open(house.work()))
        assert (error.code, error.message) == ("bad_upstream_response", "the upstream's answer was empty")
        assert house.in_flight == 0


async def test_the_upstream_is_asked_under_its_own_name_of_the_model(tmp_path: Path) -> None:
    upstream = Talks(said("x"))
    async with rig(tmp_path, upstream) as house:
        work = house.work()
        work.request = ImageRequest("an-alias", "p")
        work.kind = "t2i"
        await heard(await house.relay.open(work))
        assert upstream.asked[0][0].model == "m"


# --- another attempt, before commit ---


async def test_an_account_s_fault_is_tried_on_another(tmp_path: Path) -> None:
    upstream = Talks([errors.RateLimited(retry_after=9)], said("x"))
    async with rig(tmp_path, upstream) as house:
        assert await heard(await house.relay.open(house.work())) == said("x")
        assert sorted(upstream.accounts) == ["a", "b"]
        assert upstream.closed == 2
        assert sorted(house.standings.values()) == ["OK", "RATE_LIMITED"]
        assert [(record.code, record.attempts) for record in house.records] == [("ok", 2)]


@pytest.mark.parametrize("error", [errors.CredentialRejected, errors.QuotaExhausted, errors.Challenged])
async def test_every_account_is_tried_once_and_the_last_word_is_the_upstream_s(
    tmp_path: Path, error: type[GatewayError]
) -> None:
    upstream = Talks([error()])
    async with rig(tmp_path, upstream, accounts=("a", "b", "c", "d")) as house:
        told = await failed(house.relay.open(house.work()))
        assert type(told) is error
        assert sorted(upstream.accounts) == ["a", "b", "c", "d"]
        assert [attempt.outcome for attempt in told.attempts] == [error.code] * 4
        assert house.in_flight == 0
        assert [(record.code, record.attempts) for record in house.records] == [(error.code, 4)]


async def test_a_broken_connection_is_tried_again_where_it_broke(tmp_path: Path) -> None:
    upstream = Talks([errors.UpstreamFailed(sent="unknown")], said("x"))
    async with rig(tmp_path, upstream, accounts=("only",)) as house:
        assert await heard(await house.relay.open(house.work())) == said("x")
        assert upstream.accounts == ["only", "only"]


async def test_an_upstream_that_fails_is_left_alone_after_a_few_tries(tmp_path: Path) -> None:
    upstream = Talks([errors.UpstreamFailed()])
    async with rig(tmp_path, upstream, accounts=tuple("abcdefgh")) as house:
        error = await failed(house.relay.open(house.work()))
        assert error.code == "upstream_failed"
        assert len(set(upstream.accounts)) == 8  # nothing was known of any of them
        upstream.asked.clear()
        refused = await failed(house.relay.open(house.work()))
        assert upstream.asked == []  # now all are known to fail
        assert (refused.status, refused.retry_after) == (503, 2)


async def test_the_next_candidate_is_tried_when_the_first_has_no_account_left(tmp_path: Path) -> None:
    first, second = Talks([errors.CredentialRejected()], name="first"), Talks(said("x"), name="second")
    async with rig(tmp_path, first, second) as house:
        relayed = await house.relay.open(house.work())
        assert (relayed.candidate.upstream, relayed.account.upstream) == ("second", "second")
        await heard(relayed)
        assert len(first.asked) == 2


async def test_one_account_may_be_the_only_one(tmp_path: Path) -> None:
    upstream = Talks([errors.RateLimited()])
    async with rig(tmp_path, upstream) as house:
        error = await failed(house.relay.open(house.work(only="up/b")))
        assert error.code == "upstream_rate_limited"
        assert upstream.accounts == ["b"]


async def test_with_all_resting_the_caller_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([errors.RateLimited(retry_after=30)]), accounts=("only",)) as house:
        await failed(house.relay.open(house.work()))
        error = await failed(house.relay.open(house.work()))
        assert (error.status, error.message) == (429, "no account for 'm': 1 resting, next in 30 s")
        assert error.retry_after == 30


@pytest.mark.parametrize("waits", [(30, 60), (60, 30)])
async def test_where_every_account_refuses_the_caller_is_told_of_the_soonest(
    tmp_path: Path, waits: tuple[int, int]
) -> None:
    upstream = Talks(*([errors.RateLimited(retry_after=wait)] for wait in waits))
    async with rig(tmp_path, upstream) as house:
        first, second = [await failed(house.relay.open(house.work())) for _ in range(2)]
        assert (first.code, len(first.attempts), first.retry_after) == ("upstream_rate_limited", 2, 30)
        assert (second.code, len(second.attempts), second.retry_after) == ("upstream_rate_limited", 0, 30)


@pytest.mark.parametrize("waits", [(30, 60), (60, 30)])
async def test_of_several_candidates_without_an_account_the_soonest_is_named(
    tmp_path: Path, waits: tuple[int, int]
) -> None:
    both = [Talks([errors.RateLimited(retry_after=wait)], name=f"in {wait}") for wait in waits]
    async with rig(tmp_path, *both, accounts=("only",)) as house:
        first, second = [await failed(house.relay.open(house.work())) for _ in range(2)]
        assert (first.upstream, first.retry_after) == (f"in {waits[1]}", 30), "the last word, and the soonest wait"
        assert (second.upstream, second.retry_after) == ("in 30", 30)


async def test_time_helps_where_another_candidate_needs_an_operator(tmp_path: Path) -> None:
    both = Talks([errors.CredentialRejected()], name="off"), Talks([errors.RateLimited(retry_after=30)], name="tired")
    async with rig(tmp_path, *both, accounts=("only",)) as house:
        for _ in range(2):
            refused = await failed(house.relay.open(house.work()))
            assert (refused.status, refused.upstream, refused.retry_after) == (429, "tired", 30)


async def test_the_upstream_s_own_error_goes_before_that_no_account_is_left(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([errors.UpstreamUnreachable(sent="no")]), accounts=("only",)) as house:
        assert (await failed(house.relay.open(house.work()))).code == "upstream_unreachable"


# --- the caller's fault ---


@pytest.mark.parametrize(
    "error", [errors.ContentRefused(), errors.UpstreamRefusedParameter(param="x"), errors.InputUnreachable()]
)
async def test_what_the_caller_did_blames_nobody_and_is_not_repeated(tmp_path: Path, error: GatewayError) -> None:
    upstream = Talks([error])
    async with rig(tmp_path, upstream) as house:
        told = await failed(house.relay.open(house.work()))
        assert (told.status, told.code) == (400, error.code)
        assert len(upstream.asked) == 1
        assert set(house.standings.values()) == {"OK"}
        assert all(status.strikes == 0 for pool in house.relay.pools.values() for status in pool.status())


# --- after commit ---


@pytest.mark.parametrize("error", [errors.RateLimited(), errors.UpstreamFailed(), errors.StreamInterrupted()])
async def test_after_the_first_event_nobody_else_is_tried_and_the_caller_sees_the_failure(
    tmp_path: Path, error: GatewayError
) -> None:
    upstream = Talks([TextDelta("a"), Usage(3, 1), error])
    async with rig(tmp_path, upstream) as house:
        relayed = await house.relay.open(house.work())
        seen = []
        with pytest.raises(type(error)):
            async for event in relayed:
                seen.append(event)
        assert seen == [TextDelta("a"), Usage(3, 1)]
        assert len(upstream.asked) == upstream.closed == 1
        assert house.in_flight == 0
        [record] = house.records
        assert (record.code, record.input_tokens) == (error.code, 3)


async def test_silence_in_the_middle_ends_the_answer(tmp_path: Path) -> None:
    upstream = Talks([TextDelta("a"), asyncio.Event(), TextDelta("never")])
    async with rig(tmp_path, upstream, timeouts=Timeouts(idle=0.02)) as house:
        relayed = await house.relay.open(house.work())
        error = await failed(heard(relayed))
        assert (error.code, error.status) == ("upstream_timeout", 504)
        assert (house.in_flight, upstream.closed) == (0, 1)


async def test_silence_before_the_first_event_is_tried_elsewhere(tmp_path: Path) -> None:
    upstream = Talks([asyncio.Event()], said("x"))
    async with rig(tmp_path, upstream, timeouts=Timeouts(first_event=0.02)) as house:
        assert await heard(await house.relay.open(house.work(request=chat_request(stream=True)))) == said("x")
        assert upstream.closed == 2


async def test_the_total_limit_ends_an_answer_that_never_does(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks([TextDelta("a"), asyncio.Event()]), timeouts=Timeouts(total=0.05)) as house:
        relayed = await house.relay.open(house.work())
        assert (await failed(heard(relayed))).code == "upstream_timeout"


# --- a client that leaves ---


async def test_a_client_that_leaves_before_the_first_event_gives_the_lease_back(tmp_path: Path) -> None:
    upstream = Talks([asyncio.Event()])
    async with rig(tmp_path, upstream) as house:
        waiting = asyncio.ensure_future(house.relay.open(house.work()))
        await until(lambda: upstream.asked)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (house.in_flight, upstream.closed) == (0, 1)
        assert [record.code for record in house.records] == ["client_closed_request"]
        assert set(house.standings.values()) == {"OK"}


async def test_a_client_that_leaves_in_the_middle_gives_the_lease_back(tmp_path: Path) -> None:
    upstream = Talks([TextDelta("a"), Usage(3, 1), asyncio.Event()])
    async with rig(tmp_path, upstream) as house:
        relayed = await house.relay.open(house.work())
        reading = asyncio.ensure_future(heard(relayed))
        await until(lambda: relayed.usage != Usage())
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert (house.in_flight, upstream.closed) == (0, 1)
        assert [(record.code, record.input_tokens) for record in house.records] == [("client_closed_request", 3)]


async def test_an_answer_closed_early_is_settled(tmp_path: Path) -> None:
    upstream = Talks([TextDelta("a"), TextDelta("b")])
    async with rig(tmp_path, upstream) as house:
        relayed = await house.relay.open(house.work())
        assert await anext(aiter(relayed)) == TextDelta("a")
        await relayed.aclose()
        assert (house.in_flight, upstream.closed) == (0, 1)


async def test_an_answer_closed_before_anybody_read_it_is_settled(tmp_path: Path) -> None:
    upstream = Talks([TextDelta("a"), TextDelta("b")])
    async with rig(tmp_path, upstream) as house:
        relayed = await house.relay.open(house.work())
        await relayed.aclose()
        assert (house.in_flight, upstream.closed) == (0, 1)


async def test_a_client_that_leaves_while_it_waits_for_a_slot_takes_nothing(tmp_path: Path) -> None:
    upstream = Talks([TextDelta("a"), asyncio.Event()], said("x"))
    async with rig(tmp_path, upstream, accounts=("only",), max_concurrency=1) as house:
        first = await house.relay.open(house.work())
        second = asyncio.ensure_future(house.relay.open(house.work()))
        await until(lambda: house.relay.pools["up"].waiting)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert house.relay.pools["up"].waiting == 0
        await anext(aiter(first))
        await first.aclose()
        assert house.in_flight == 0


async def test_who_waits_for_a_slot_gets_the_next(tmp_path: Path) -> None:
    async with rig(tmp_path, Talks(said("x")), accounts=("only",), max_concurrency=1) as house:
        first = await house.relay.open(house.work())
        second = asyncio.ensure_future(house.relay.open(house.work()))
        await until(lambda: house.relay.pools["up"].waiting)
        await heard(first)
        assert await heard(await second) == said("x")


# --- what is paid for ---


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (errors.UpstreamTimeout(sent="unknown"), 1),
        (errors.UpstreamFailed(sent="unknown"), 1),
        (errors.UpstreamFailed(sent="yes"), 1),
        (errors.UpstreamGarbled(), 1),
        (errors.UpstreamUnreachable(sent="no"), 2),
        (errors.RateLimited(), 2),
        (errors.ConcurrencyLimited(), 2),
        (errors.CredentialRejected(), 2),
    ],
    ids=lambda one: f"{one.code} {one.sent}" if isinstance(one, GatewayError) else "",
)
async def test_a_paid_create_is_sent_again_only_where_it_was_certainly_not_made(
    tmp_path: Path, error: GatewayError, asked: int
) -> None:
    films, pictures = Films(submits=[error, Job("j")], name="films"), Talks([error], said("x"), name="pictures")
    async with rig(tmp_path, films, pictures) as house:
        for upstream, work in ((films, house.work("t2v", FILM)), (pictures, house.work("t2i", PICTURE))):
            work.candidates = [one for one in work.candidates if one.upstream == upstream.name]
            attempt: Any = house.relay.ask(work) if upstream is films else house.relay.open(work)
            if asked == 1:
                assert (await failed(attempt)).code == error.code
            else:
                done = await attempt
                if isinstance(done, Relayed):
                    await heard(done)
            assert len(upstream.asked) == asked
        assert house.in_flight == 0


async def test_a_paid_create_that_falls_silent_is_not_sent_again(tmp_path: Path) -> None:
    upstream = Films(submits=[asyncio.Event(), Job("j")])
    async with rig(tmp_path, upstream, timeouts=Timeouts(total=0.02)) as house:
        error = await failed(house.relay.ask(house.work("t2v", FILM)))
        assert (error.code, error.sent) == ("upstream_timeout", "unknown")
        assert len(upstream.submitted) == 1


@pytest.mark.parametrize("operation", ["chat", "embed", "transcribe"])
def test_what_costs_nothing_twice_may_run_twice(operation: Any) -> None:
    assert may_try_elsewhere(errors.UpstreamFailed(sent="unknown"), operation)
    assert not may_try_elsewhere(errors.StreamInterrupted(), operation)
    assert not may_try_elsewhere(errors.ContentRefused(), operation)


@pytest.mark.parametrize("operation", ["image", "speech", "music", "submit"])
def test_what_is_paid_for_does_not(operation: Any) -> None:
    assert not may_try_elsewhere(errors.UpstreamFailed(sent="unknown"), operation)
    assert not may_try_elsewhere(errors.UpstreamTimeout(), operation)
    assert may_try_elsewhere(errors.UpstreamUnreachable(sent="no"), operation)
    assert may_try_elsewhere(errors.QuotaExhausted(), operation)


# --- whole answers and media ---


async def test_a_whole_answer_says_who_gave_it_and_is_metered(tmp_path: Path) -> None:
    vectors = Embeddings(((0.5,),), Usage(input_tokens=2))
    upstream = Talks([errors.UpstreamFailed(sent="unknown")], [vectors])
    async with rig(tmp_path, upstream) as house:
        served = await house.relay.ask(house.work("embedding", TEXTS))
        assert (served.value, served.candidate.upstream) == (vectors, "up")
        assert house.in_flight == 0
        assert [(record.code, record.input_tokens) for record in house.records] == [("ok", 2)]


async def test_media_are_ours_before_they_are_told_of(tmp_path: Path) -> None:
    upstream = Talks([MediaReady(Media("image", data=png(80, 40))), Finish()])
    async with rig(tmp_path, upstream) as house:
        made, _ = await heard(await house.relay.open(house.work("t2i", PICTURE)))
        assert isinstance(made, MediaReady)
        assert (made.media.width, made.media.height, made.media.mime) == (80, 40, "image/png")
        assert made.media.key is not None
        stored = b"".join([chunk async for chunk in house.storage.get(made.media.key)])
        assert stored == png(80, 40)


async def test_media_that_are_none_fail_the_answer_and_are_not_made_again(tmp_path: Path) -> None:
    upstream = Talks([MediaReady(Media("image", data=b"<html>no</html>")), Finish()])
    async with rig(tmp_path, upstream) as house:
        relayed = await house.relay.open(house.work("t2i", PICTURE))
        error = await failed(heard(relayed))
        assert (error.code, error.message) == ("result_unavailable", "the upstream's result is not an image")
        assert len(upstream.asked) == 1
        assert house.in_flight == 0


async def test_a_bug_in_an_upstream_gives_the_lease_back(tmp_path: Path) -> None:
    for script in ([KeyError("x")], [TextDelta("a"), KeyError("x")]):
        async with rig(tmp_path, Talks(script)) as house:
            with pytest.raises(KeyError):
                await heard(await house.relay.open(house.work()))
            assert house.in_flight == 0
            assert set(house.standings.values()) == {"OK"}


async def test_an_attempt_after_the_first_is_waited_for_no_longer(tmp_path: Path) -> None:
    silent = Talks([errors.RateLimited()], [asyncio.Event()])
    async with rig(tmp_path, silent, accounts=("a", "b"), timeouts=Timeouts(total=0.05)) as house:
        async with asyncio.timeout(5):
            error = await failed(house.relay.open(house.work()))
        assert error.code == "upstream_timeout"
        assert house.in_flight == 0


async def test_an_answer_that_came_at_the_second_attempt_is_waited_for_no_longer(tmp_path: Path) -> None:
    silent = Talks([errors.RateLimited()], [TextDelta("a"), asyncio.Event()])
    async with rig(tmp_path, silent, accounts=("a", "b"), timeouts=Timeouts(idle=0.05)) as house:
        relayed = await house.relay.open(house.work())
        async with asyncio.timeout(5):
            assert (await failed(heard(relayed))).code == "upstream_timeout"


async def test_media_may_take_longer_between_their_events_than_words(tmp_path: Path) -> None:
    begun = asyncio.Event()
    slow = Talks([TextDelta("a"), begun, MediaReady(Media("image", data=png()))])
    async with rig(tmp_path, slow, timeouts=Timeouts(idle=0.01, total=30)) as house:
        relayed = await house.relay.open(house.work("t2i", PICTURE))
        asyncio.get_running_loop().call_later(0.4, begun.set)
        assert any(isinstance(event, MediaReady) for event in await heard(relayed))
