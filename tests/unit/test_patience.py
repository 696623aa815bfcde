import asyncio

import pytest

from gateway import patience
from gateway.patience import Patience

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ROUND_SECONDS", 0.01)


async def test_a_wait_that_takes_too_long_is_ended_and_known_to_be_ours() -> None:
    ours = Patience()
    ours.until(0.02)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(5)
    assert ours.spent()
    assert not ours.spent()
    await asyncio.sleep(0)  # the cancellation was taken back


async def test_what_lies_between_waits_may_take_as_long_as_it_likes() -> None:
    ours = Patience()
    ours.until(0.02)
    ours.rest()
    await asyncio.sleep(0.1)
    assert not ours.spent()


async def test_every_wait_has_its_own_limit() -> None:
    ours = Patience()
    ours.until(0.02)
    ours.until(5)
    await asyncio.sleep(0.1)
    assert not ours.spent()
    ours.close()


async def test_a_cancellation_by_somebody_else_is_not_ours() -> None:
    async def waits() -> bool:
        ours = Patience()
        ours.until(5)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            return ours.spent()
        return True

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    assert await task is False


async def test_whoever_takes_over_is_the_one_that_is_cancelled() -> None:
    ours = Patience()

    async def other() -> bool:
        ours.hand_over()
        ours.until(0.02)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            return ours.spent()
        return False

    assert await asyncio.create_task(other())


async def test_nothing_is_walked_over_when_nobody_waits() -> None:
    ours = Patience()
    ours.close()
    await asyncio.sleep(0.05)
    rounds = patience._rounds_of(asyncio.get_running_loop())
    assert rounds._timer is None
    assert not rounds._all
