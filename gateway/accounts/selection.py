"""Whose turn it is: how accounts that are all free are ranked, as values.

| selection | who comes first |
|---|---|
| least_loaded | who does least for its slots and weight; among equals whose turn is longest due |
| weighted | whose turn is longest due: weight 2 has two turns for each one of weight 1, whatever it does |
| round_robin | who was used least recently |
| two_choices | the less loaded of two picked at random |
| sticky | always the same for the same caller, while it is free; a caller's files and caches stay where they are |

In each of them an account of higher priority comes before all others, and who failed lately after everybody else.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.accounts.health import Standing
from gateway.accounts.place import Place
from gateway.accounts.ready import Fits, Ready
from gateway.accounts.ring import Ring
from gateway.config import SelectionName

DRAWS: Final = 8

Order = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Selection:
    """One way of choosing."""

    rank: Callable[[Standing], Order]
    """Lower comes first."""
    stride: Callable[[Standing], float]
    """How far away the next turn is after this one."""
    pick: Callable[[Ready, Fits, random.Random, Ring, str], Place | None]
    """One of those that fit; None where there is none. The last argument is what `sticky` sticks to."""


def _by_load(standing: Standing) -> Order:
    return (standing.in_flight + standing.elsewhere) / (standing.slots * standing.weight), standing.turn


def _by_turn(standing: Standing) -> Order:
    return standing.turn, 0.0


def _by_weight(standing: Standing) -> float:
    return 1.0 / standing.weight


def _alike(standing: Standing) -> float:
    return 1.0


def _first(ready: Ready, fits: Fits, rng: random.Random, ring: Ring, stick: str) -> Place | None:
    return ready.first(fits)


def _of_two(ready: Ready, fits: Fits, rng: random.Random, ring: Ring, stick: str) -> Place | None:
    best = ready.first(fits)
    if best is None:
        return None
    drawn: list[Place] = []
    for _ in range(DRAWS):
        place = ready.draw(rng)
        if place is not None and place not in drawn and ready.peers(place, best) and fits(place):
            drawn.append(place)
            if len(drawn) == 2:
                break
    return min(drawn or [best], key=lambda place: _by_load(place.standing))


def _same_again(ready: Ready, fits: Fits, rng: random.Random, ring: Ring, stick: str) -> Place | None:
    best = ready.first(fits)
    if best is None or not stick:
        return best
    return next((place for place in ring.walk(stick) if ready.peers(place, best) and fits(place)), best)


SELECTIONS: Final[dict[SelectionName, Selection]] = {
    "least_loaded": Selection(_by_load, _by_weight, _first),
    "weighted": Selection(_by_turn, _by_weight, _first),
    "round_robin": Selection(_by_turn, _alike, _first),
    "two_choices": Selection(_by_load, _by_weight, _of_two),
    "sticky": Selection(_by_load, _by_weight, _same_again),
}
