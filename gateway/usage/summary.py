"""The usage log summed up: by time, key, model and the like."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, case, cast, func, select

from gateway.db.engine import Database
from gateway.db.tables import usage
from gateway.errors import InvalidRequest
from gateway.usage.ledger import Wanted
from gateway.usage.periods import Period, Unit, label, periods

By = Literal["hour", "day", "month", "key", "model", "upstream", "kind", "status"]
UNITS: Final[tuple[Unit, ...]] = ("hour", "day", "month")
MOST_ROWS: Final = 10_000
MOST_DAYS: Final[dict[Unit, int]] = {"hour": 62, "day": 800, "month": 36_500}
"""Of time that may be told in such steps."""
DAILY_UP_TO: Final = 800
"""Days that are summed up one by one; of a longer time, it is months."""
HOLD_SECONDS: Final = 0.1
"""For how long a transaction goes on from one period to the next: on SQLite everybody else waits for it."""
DAY: Final = 86_400.0
PICO: Final = Decimal(10**12)
_TOLD: Final = Context(prec=15)
"""As many digits as a JSON reader keeps."""


@dataclass(slots=True)
class Sum:
    """What the records of one group come to."""

    by: tuple[str | int, ...]
    """As asked for, one value each."""
    requests: int = 0
    errors: int = 0
    """Those that ended with a status of 400 or more."""
    unpriced: int = 0
    """Those that ended well and whose cost nobody knows."""
    estimated: int = 0
    """Those whose tokens the gateway counted."""
    attempts: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    characters: int = 0
    media_seconds: float = 0.0
    seconds: float = 0.0
    """That they took, together."""
    picos: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """What they cost, by currency, as whole billionths of a thousandth: sums of fractions would not be exact."""

    @property
    def cost(self) -> dict[str, float]:
        """By currency."""
        return {name: float(_TOLD.divide(Decimal(picos), PICO)) for name, picos in sorted(self.picos.items())}

    def add(self, row: Any) -> None:
        for name in MEASURES:
            before = getattr(self, name)
            setattr(self, name, before + type(before)(getattr(row, name) or 0))  # PostgreSQL's sums are decimals
        if row.currency is not None:
            self.picos[row.currency] += int(row.whole or 0) * int(PICO) + int(row.fraction or 0)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


_WHOLE = cast(usage.c.cost, BigInteger)
MEASURES: Final[dict[str, ColumnElement[Any]]] = {
    "requests": func.count(),
    "errors": _count(usage.c.status >= 400),
    "unpriced": _count((usage.c.status < 400) & usage.c.cost.is_(None)),
    "estimated": _count(usage.c.estimated),
    **{
        name: func.sum(usage.c[name])
        for name in ("attempts", "input_tokens", "cached_tokens", "output_tokens", "images", "characters")
    },
    "media_seconds": func.sum(usage.c.media_seconds),
    "seconds": func.sum(usage.c.seconds),
}
_COST = (
    func.sum(_WHOLE).label("whole"),
    func.sum(cast(func.round((usage.c.cost - _WHOLE) * float(PICO)), BigInteger)).label("fraction"),
)


class Summary:
    """One asking: which records, grouped by what, days as in which zone."""

    def __init__(self, wanted: Wanted, by: Sequence[By], zone: ZoneInfo) -> None:
        self.wanted = wanted
        self.by = tuple(by)
        self.zone = zone
        self._unit: Unit | None = next((unit for unit in UNITS if unit in self.by), None)
        self._columns = [usage.c[name] for name in self.by if name not in UNITS]
        self._sums: dict[tuple[str | int, ...], Sum] = {}

    async def read(self, database: Database) -> list[Sum]:
        """The sums, in the order of what they are grouped by. Raises InvalidRequest where they would be too many."""
        span = await self._span(database)
        left = iter(self._periods(*span)) if span else iter(())
        query = self._query()
        while (period := next(left, None)) is not None:
            begun = asyncio.get_running_loop().time()
            async with database.read() as connection:
                while period is not None:
                    given = {"start": period.start, "end": period.end}
                    self._take(period, (await connection.execute(query, given)).all())
                    if asyncio.get_running_loop().time() - begun > HOLD_SECONDS:
                        break
                    period = next(left, None)
        return [self._sums[by] for by in sorted(self._sums)]

    async def _span(self, database: Database) -> tuple[float, float] | None:
        """When what is asked for begins and ends; None where there is nothing."""
        mine = [usage.c.owner == self.wanted.owner] if self.wanted.owner is not None else []
        async with database.read() as connection:
            first = (await connection.execute(select(func.min(usage.c.at)).where(*mine))).scalar()
            last = (await connection.execute(select(func.max(usage.c.at)).where(*mine))).scalar()
        if first is None or last is None:
            return None
        since, until = self.wanted.since, self.wanted.until
        start = first if since is None else max(first, since)
        end = last + 1.0 if until is None else min(last + 1.0, until)
        return (start, end) if start < end else None

    def _periods(self, since: float, until: float) -> Iterator[Period]:
        days = (until - since) / DAY
        if self._unit is not None and days > MOST_DAYS[self._unit]:
            most = MOST_DAYS[self._unit]
            raise InvalidRequest(
                f"'group_by' {self._unit} tells {most} days at most: name a 'from' and a 'to', or a longer step",
                param="from",
            )
        step: Unit = "hour" if self._unit == "hour" else "day" if days <= DAILY_UP_TO else "month"
        return periods(step, since, until, self.zone)

    def _query(self) -> Select[Any]:
        measured = [measure.label(name) for name, measure in MEASURES.items()]
        return (
            select(*self._columns, usage.c.currency, *measured, *_COST)
            .where(usage.c.at >= bindparam("start"), usage.c.at < bindparam("end"), *self.wanted.conditions())
            .group_by(*self._columns, usage.c.currency)
        )

    def _take(self, period: Period, rows: Sequence[Any]) -> None:
        when = label(self._unit, period, self.zone) if self._unit else ""
        for row in rows:
            by = tuple(when if name in UNITS else getattr(row, name) for name in self.by)
            found = self._sums.get(by)
            if found is None:
                if len(self._sums) >= MOST_ROWS:
                    raise InvalidRequest(
                        f"that is more than {MOST_ROWS} rows: ask for less time, or group by less", param="group_by"
                    )
                found = self._sums[by] = Sum(by)
            found.add(row)
