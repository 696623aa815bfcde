"""What processes that share a database also share, and may lose."""

from __future__ import annotations

from gateway.state.base import Bus
from gateway.state.slots import Slots


def open_bus(url: str | None, namespace: str) -> Bus | None:
    """What carries texts between the processes of one `namespace`, where a URL names it. Nothing is connected yet.

    Raises ConfigError for a URL that can never work.
    """
    if url is None:
        return None
    from gateway.state.redis import RedisBus  # not needed, and its memory not taken, without a URL

    return RedisBus(url, namespace)


def open_slots(url: str | None, namespace: str) -> Slots | None:
    """What keeps the limits of accounts over the processes of one `namespace`. As `open_bus`."""
    if url is None:
        return None
    from gateway.state.redis_slots import RedisSlots

    return RedisSlots(url, namespace)
