"""The trees of an upstream, kept in memory: which leaf a name means, and when a category is to be asked for again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway.errors import GatewayError
from gateway.types import Kind, ModelCard
from gateway.upstreams.ima import models
from gateway.upstreams.ima.products import CATEGORY, Leaf
from gateway.upstreams.ima.specials import ALIASES

FRESH_SECONDS = 300.0
"""Prices change often; a category is asked for again before a create once it is older."""

Ask = Callable[[Kind], Awaitable[tuple[Leaf, ...]]]


@dataclass
class Tree:
    """All categories as far as they are known."""

    clock: Callable[[], float] = time.monotonic
    _leaves: dict[Kind, tuple[Leaf, ...]] = field(default_factory=dict)
    _asked_at: dict[Kind, float] = field(default_factory=dict)
    _locks: dict[Kind, asyncio.Lock] = field(default_factory=dict)
    _named: dict[str, dict[Kind, Leaf]] = field(default_factory=dict)
    _cards: tuple[ModelCard, ...] | None = None

    def cards(self) -> Sequence[ModelCard]:
        """Of the tree; for categories that nothing is known of yet, what is known by name."""
        if self._cards is None:
            found = {name: models.card(name, versions) for name, versions in self._named.items()}
            for card in models.known():
                if untold := card.kinds - self._leaves.keys():
                    found[card.id] = models.beside(found.get(card.id), replace(card, kinds=untold))
            self._cards = tuple(found.values())
        return self._cards

    def leaf(self, name: str, kind: Kind) -> Leaf | None:
        """What a name means for a kind; None where nobody knows (yet)."""
        versions = self._named.get(name) or self._named.get(ALIASES.get(name.lower(), ""), {})
        return versions.get(kind)

    def keep(self, kind: Kind, leaves: tuple[Leaf, ...]) -> None:
        """What a category was just told to be. An empty one takes nothing away that is there."""
        self._asked_at[kind] = self.clock()
        if not leaves and self._leaves.get(kind):
            return
        self._leaves[kind] = leaves
        self._named = models.named(leaf for one in CATEGORY for leaf in self._leaves.get(one, ()))
        self._cards = None

    async def fresh(self, kind: Kind, ask: Ask, *, anew: bool = False) -> None:
        """See to it that a category is known and not old. Many who need it ask once.

        `anew`: it was asked of and turned out wrong. Raises what `ask` does where nothing was known before or what was
        known is wrong.
        """
        known_at = self._asked_at.get(kind)
        async with self._locks.setdefault(kind, asyncio.Lock()):
            now_at = self._asked_at.get(kind)
            if now_at is not None and (now_at != known_at or not (anew or self.clock() - now_at > FRESH_SECONDS)):
                return
            try:
                self.keep(kind, await ask(kind))
            except GatewayError:
                if anew or not self._leaves.get(kind):
                    raise
