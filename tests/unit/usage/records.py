"""Records of a made-up month, the same every time."""

from __future__ import annotations

import random
from typing import Any

from gateway.db.engine import Database
from gateway.types import UsageRecord
from gateway.usage import Meter

BEGIN = 1_793_491_200.0
"""2026-11-01 in UTC."""
DAY = 86_400.0
ADA, BOB = "owner-of-ada", "owner-of-bob"


def record(at: float, number: int = 1, **fields: Any) -> UsageRecord:
    base: dict[str, Any] = {
        "at": at, "request_id": f"req_{number:06}", "owner": ADA, "key": "ada", "kind": "t2t", "model": "m",
        "upstream": "up", "account": "up/a", "status": 200, "code": "ok", "input_tokens": 0, "output_tokens": 0,
        "images": 0, "media_seconds": 0.0, "seconds": 1.0, "attempts": 1,
    }  # fmt: skip
    return UsageRecord(**(base | fields))


def month(count: int = 400, seed: int = 1) -> list[UsageRecord]:
    dice = random.Random(seed)
    return [_one(dice, number) for number in range(count)]


def _one(dice: random.Random, number: int) -> UsageRecord:
    owner, key = dice.choice([(ADA, "ada"), (ADA, "ada-old"), (BOB, "bob")])
    status, code = dice.choice([(200, "ok"), (200, "ok"), (429, "upstream_rate_limited"), (502, "upstream_failed")])
    amount = round(dice.random() * 10 ** -dice.randrange(8), 12)
    priced = dice.choice([(amount, dice.choice(["USD", "CNY"])), (None, None)])
    return record(
        BEGIN + dice.randrange(int(30 * DAY * 4)) / 4,
        number,
        owner=owner,
        key=key,
        kind=dice.choice(["t2t", "t2i", "t2v"]),
        model=dice.choice(["m", "n", "=cmd()"]),
        upstream=dice.choice(["up", "down"]),
        status=status,
        code=code,
        input_tokens=dice.randrange(10**6),
        cached_tokens=dice.randrange(10**3),
        output_tokens=dice.randrange(10**6),
        images=dice.randrange(4),
        media_seconds=dice.randrange(40) / 4,
        characters=dice.randrange(100),
        estimated=dice.random() < 0.5,
        seconds=dice.randrange(4000) / 128,
        attempts=dice.randrange(1, 4),
        cost=priced[0],
        currency=priced[1],
        task_id=dice.choice([None, "task_1"]),
    )


async def logged(database: Database, *records: UsageRecord) -> None:
    meter = Meter(database)
    for one in records:
        meter.record(one)
    await meter.flush()
