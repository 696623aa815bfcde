"""Which model a request goes to, and where it is tried: as the caller named it, else as the caller prefers, else as
the operator says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, assert_never, get_args

import msgspec

from gateway.catalog.models import Catalog
from gateway.catalog.ordering import in_order, price, speed
from gateway.catalog.preferences import Preference, Preferences
from gateway.catalog.prices import PriceBook
from gateway.catalog.quotes import Quote, quote
from gateway.errors import GatewayError
from gateway.types import NO_WISHES, AnyRequest, Candidate, Kind, MediaRequest, Principal, Wishes

SYNONYMS: Final[Mapping[str, str]] = {"size": "aspect_ratio", "seconds": "duration", "format": "response_format"}
"""Parameters of media that callers know by another name as well. In a chat each name means something else."""
WITHOUT_DATABASE: Final[frozenset[Kind]] = frozenset({"t2t", "embedding", "transcription"})
"""Kinds that are served while the database is away."""
_NULL: Final = b"null"


@dataclass(frozen=True, slots=True)
class Choice:
    """What became of the model that a request names, or does not name."""

    kind: Kind
    candidates: tuple[Candidate, ...]
    """Best first, as far as that shows without the request."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Of the caller's preference, where that was followed."""

    def filled(self, body: Mapping[str, msgspec.Raw]) -> Mapping[str, msgspec.Raw]:
        """A request's body with what it leaves open as its caller prefers it."""
        also = {} if self.kind == "t2t" else SYNONYMS
        new = {name: value for name, value in self.params.items() if not _says(body, name, also)}
        return {**body, **{name: msgspec.Raw(msgspec.json.encode(value)) for name, value in new.items()}}


class Choosing:
    def __init__(self, catalog: Catalog, preferences: Preferences, prices: PriceBook) -> None:
        self.catalog = catalog
        self.preferences = preferences
        self.prices = prices

    async def choose(
        self, model: str, kind: Kind | None, principal: Principal, *, inputs: bool = False, fallback: bool = True
    ) -> Choice:
        """Where a request goes. The database is asked only where it names no model, and then seldom.

        Raises what `Catalog.resolve` does, and DatabaseUnavailable for media where what the caller prefers cannot be
        known: another model might cost another price.
        """
        tags = principal.account_tags
        if self.catalog.is_auto(model):
            kind = kind or "t2t"
            preferred = await self._preferred(principal.id, kind)
            if preferred and (found := self._followed(preferred, kind, inputs, fallback, tags)):
                return found
        resolved = self.catalog.resolve(model, kind, inputs=inputs, fallback=fallback, tags=tags)
        return Choice(resolved.kind, resolved.candidates)

    def in_order(
        self, candidates: tuple[Candidate, ...], request: AnyRequest, wishes: Wishes = NO_WISHES
    ) -> tuple[Candidate, ...]:
        """The places of a choice in the order in which they are to be tried for a request."""
        if len(candidates) < 2:
            return candidates
        match self.catalog.order:
            case "priority":
                return candidates
            case "speed":
                return in_order(candidates, speed)
            case "price":
                return in_order(
                    candidates, price([(place, self.quoted(request, place, wishes)) for place in candidates])
                )
            case never:
                assert_never(never)

    def quoted(self, request: AnyRequest, place: Candidate, wishes: Wishes) -> Quote | None:
        """What a request costs at a place; None where nobody knows, or it does not take it."""
        if isinstance(request, get_args(MediaRequest)):
            try:
                request = self.catalog.fit(request, place, wishes.on_unsupported).request
            except GatewayError:
                return None
        return quote(self.prices.of(place.upstream, place.card.id, place.card), request, place.card)

    async def _preferred(self, owner: str, kind: Kind) -> Preference | None:
        known = self.preferences.at_hand if kind in WITHOUT_DATABASE else self.preferences.of
        return await known(owner, kind)

    def _followed(
        self, preferred: Preference, kind: Kind, inputs: bool, fallback: bool, tags: frozenset[str]
    ) -> Choice | None:
        """What a caller prefers; None where that cannot be served any more."""
        try:
            found = self.catalog.resolve(preferred.model, kind, inputs=inputs, fallback=fallback)
        except GatewayError:
            return None
        own: Sequence[Candidate] = [one for one in found.candidates if one.card.id == found.candidates[0].card.id]
        if self.catalog.waits(own, kind, tags) is None:
            return None
        return Choice(found.kind, found.candidates, preferred.params)


def _says(body: Mapping[str, msgspec.Raw], name: str, also: Mapping[str, str]) -> bool:
    """Whether a body has a value for a parameter, by whichever of its names; null is none."""
    return any(bytes(body.get(one, _NULL)) != _NULL for one in (name, also.get(name, name)))
