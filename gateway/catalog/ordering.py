"""In which order the places of a request are tried: as configured, the cheapest first, or the fastest first.

Another model is never tried before the one that was asked for: its places come first, then those of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.catalog.quotes import Quote
from gateway.types import Candidate

Key = Callable[[Candidate], tuple[float, ...]]


def in_order(candidates: Sequence[Candidate], key: Key) -> tuple[Candidate, ...]:
    """By a key, within the model of the first and within the others. What is alike stays as it was."""
    first = candidates[0].card.id
    own = [found for found in candidates if found.card.id == first]
    others = [found for found in candidates if found.card.id != first]
    return (*sorted(own, key=key), *sorted(others, key=key))


def speed(candidate: Candidate) -> tuple[float, ...]:
    """The shortest estimate first, none at all last."""
    estimate = candidate.card.estimate
    return (float("inf") if estimate is None else estimate,)


def price(quotes: Sequence[tuple[Candidate, Quote | None]]) -> Key:
    """The cheapest first; then those in another currency than the first that is known, then those nobody knows."""
    known = {(place.upstream, place.card.id): found for place, found in quotes if found and found.amount is not None}
    currency = next((found.price.currency for found in known.values()), "")

    def key(candidate: Candidate) -> tuple[float, ...]:
        found = known.get((candidate.upstream, candidate.card.id))
        if found is None or found.amount is None:
            return (2.0, 0.0)
        return (0.0, found.amount) if found.price.currency == currency else (1.0, 0.0)

    return key
