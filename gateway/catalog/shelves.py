"""The models of each upstream by their names, and what is made of them, made anew only where they changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Final, Generic, TypeVar

from gateway.types import ModelCard
from gateway.upstreams.base import Upstream

T = TypeVar("T")
Shelf = Mapping[str, ModelCard]
"""Models by their ids."""

MADE_ANEW_SECONDS: Final = 1.0
"""How long the cards of a provider are gone by that makes them anew whenever it is asked, and makes the same."""


@dataclass(slots=True)
class _Kept:
    upstream: Upstream
    own: Sequence[ModelCard]
    """As it was handed out."""
    cards: tuple[ModelCard, ...]
    """What was in it then."""
    live: Shelf | None
    shelf: Shelf
    until: float = 0.0
    """Monotonic seconds until which nobody is asked."""


class Shelves:
    """A provider may change its cards at any moment. One that hands out the same tuple as before changed nothing."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def of(self, upstream: Upstream, named: Sequence[ModelCard], live: Shelf | None) -> Shelf:
        """The same object as before where nothing changed. `named`: all there is, if anything; `live`: all that the
        provider's own list has, where that is known."""
        kept = self._kept.get(upstream.name)
        same = kept is not None and kept.upstream is upstream and kept.live is live
        if kept is not None and same and not named and self._clock() < kept.until:
            return kept.shelf
        own = named or upstream.cards()
        if kept is not None and same and own is kept.own and isinstance(own, tuple):
            return kept.shelf
        cards = tuple(own)
        if kept is not None and same and cards == kept.cards:
            kept.until = self._clock() + MADE_ANEW_SECONDS
            return kept.shelf
        shelf: Shelf = {card.id: card for card in cards}
        if live is not None and not named:
            shelf = {**live, **{name: card for name, card in shelf.items() if name in live}}
        self._kept[upstream.name] = _Kept(upstream, own, cards, live, shelf)
        return shelf

    def clear(self) -> None:
        self._kept.clear()


class Views(Generic[T]):
    """What was made of parts, for as long as these are the very same objects."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[tuple[object, ...], T]] = {}

    def of(self, name: Hashable, parts: Sequence[object], make: Callable[[], T]) -> T:
        known = self._made.get(name)
        if known is not None and len(known[0]) == len(parts) and all(map(is_, known[0], parts)):
            return known[1]
        made = make()
        self._made[name] = (tuple(parts), made)
        return made
