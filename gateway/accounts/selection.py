"""Whose turn it is: a pure choice among accounts that are all free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.accounts.health import Standing
from gateway.types import Account


class Place(NamedTuple):
    """An account and how it stands."""

    account: Account
    standing: Standing


def choose(free: Sequence[Place], now: float) -> Place:
    """The least loaded for its slots and weight; among equals the one whose turn is longest due.

    Who was struck lately comes after everybody else, and is still better than nobody. `free` is not empty. With equal
    weights the turn is that of the least recently used; among idle accounts a weight of 2 gets two turns for each one
    of a weight of 1.
    """
    if len(free) == 1:
        return free[0]
    return min([place for place in free if place.standing.calm(now)] or free, key=_load)


def take_turn(standing: Standing, turn: float) -> float:
    """Count one use at the pool's `turn`, and return the turn after it.

    Who was away comes back at the present turn: it is not flooded with the turns it missed.
    """
    turn = max(standing.turn, turn)
    standing.turn = turn + 1.0 / standing.weight
    return turn


def _load(place: Place) -> tuple[float, float]:
    standing = place.standing
    return standing.in_flight / (standing.slots * standing.weight), standing.turn
