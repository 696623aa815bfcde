import asyncio

import pytest

from gateway.drain import Drain

pytestmark = pytest.mark.anyio


async def request(drain: Drain, until: asyncio.Event) -> str:
    try:
        with drain.track():
            await until.wait()
    except asyncio.CancelledError as cut:
        return f"{cut} {drain.expired}"
    return "done"


async def started(drain: Drain, until: asyncio.Event) -> asyncio.Task[str]:
    task = asyncio.create_task(request(drain, until))
    while not drain.live:
        await asyncio.sleep(0)
    return task


async def test_finish_waits_for_live_requests_and_cancels_none_that_end() -> None:
    drain, until = Drain(), asyncio.Event()
    task = await started(drain, until)
    asyncio.get_running_loop().call_later(0.01, until.set)
    assert await drain.finish(grace=5) == 0
    assert (await task, drain.draining, drain.expired) == ("done", True, False)


async def test_request_that_outlives_grace_is_cancelled_once_and_knows_why() -> None:
    drain = Drain()
    task = await started(drain, asyncio.Event())
    assert await drain.finish(grace=0.01) == 1
    assert await task == "shutting_down True"


async def test_cancellation_before_grace_is_over_is_not_the_drains() -> None:
    drain = Drain()
    task = await started(drain, asyncio.Event())
    drain.begin()
    task.cancel("left")
    assert await task == "left False"


async def test_nothing_alive_ends_at_once() -> None:
    assert await Drain().finish(grace=60) == 0


async def test_task_tracked_twice_lives_until_the_outer_one_ends() -> None:
    drain = Drain()
    with drain.track():
        with drain.track():
            assert drain.live == 1
        assert drain.live == 1
    assert drain.live == 0


async def test_what_is_left_of_the_grace_is_counted_from_its_beginning() -> None:
    drain = Drain()
    assert drain.left(30.0) == 0.0
    drain.begin()
    assert 29.0 < drain.left(30.0) <= 30.0
    assert drain.left(0.0) == 0.0
