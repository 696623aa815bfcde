"""Which models there are, what they can do, and where a request for one may go.

Cards come from three places: the provider's own table, what the operator named in the stanza, and the upstream's live
list. A name that none of them knows goes to a provider that would take it unseen (`Upstream.adopt`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import get_args

import msgspec
import structlog

from gateway.catalog.fitting import fit
from gateway.errors import GatewayError, InvalidRequest, ModelNotFound, NoAccount
from gateway.types import Account, Candidate, Fitted, Kind, MediaRequest, ModelCard, OnUnsupported
from gateway.upstreams.base import OPERATION_OF, Upstream

LIST_SECONDS = 600.0
LONGEST_NAME = 256
KINDS: tuple[Kind, ...] = get_args(Kind)
AUTO = frozenset({"", "auto"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """An upstream as the catalogue sees it."""

    upstream: Upstream
    accounts: Sequence[Account]
    priority: int = 0
    named: Sequence[ModelCard] = ()
    """What the stanza names. If anything, then nothing else is served from there."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a request may go, best first."""

    kind: Kind
    candidates: tuple[Candidate, ...]


@dataclass
class Catalog:
    sources: Sequence[Source]
    """Best first."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    defaults: Mapping[Kind, str] = field(default_factory=dict)
    on_unsupported: OnUnsupported = "reject"
    """Where a request does not say."""

    def __post_init__(self) -> None:
        self._live: dict[str, dict[str, ModelCard]] = {}
        self._resolved: dict[tuple[str, Kind | None, bool, bool], Resolved] = {}
        self._stand_in = all(source.upstream.stand_in for source in self.sources)
        self._unlisted: set[str] = set()
        """Upstreams whose lists are to be asked for at once."""
        self._news = asyncio.Event()

    def renew(
        self,
        sources: Sequence[Source],
        aliases: Mapping[str, str],
        fallbacks: Mapping[str, Sequence[str]],
        defaults: Mapping[Kind, str],
    ) -> None:
        """Go by other sources and names from now on. Of an upstream that stayed the same its list stays known."""
        before = {source.upstream.name: source for source in self.sources}
        self.sources, self.aliases, self.fallbacks, self.defaults = sources, aliases, fallbacks, defaults
        self._stand_in = all(source.upstream.stand_in for source in sources)
        same = {source.upstream.name for source in sources if _is_of(source, before.get(source.upstream.name))}
        self._live = {name: cards for name, cards in self._live.items() if name in same}
        self._unlisted |= {source.upstream.name for source in sources if source != before.get(source.upstream.name)}
        self._resolved.clear()
        if self._unlisted:
            self._news.set()

    # --- choosing ---

    def resolve(self, model: str, kind: Kind | None = None, *, inputs: bool = False, fallback: bool = True) -> Resolved:
        """Candidates for a model and a kind of work.

        `kind` None: what the model does, text first; `inputs`: the request brings images. Raises ModelNotFound,
        InvalidRequest(param="model") where the model cannot do the kind, NoAccount where nothing is configured.
        """
        key = (model, kind, inputs, fallback)
        found = self._resolved.get(key)
        if found is None:
            found = self._resolve(*key)
            if len(self._resolved) < 10_000:
                self._resolved[key] = found
        return found

    def _resolve(self, model: str, kind: Kind | None, inputs: bool, fallback: bool) -> Resolved:
        if len(model) > LONGEST_NAME:  # names are remembered, and a stand-in would take any
            raise self._unknown(model)
        name = self.aliases.get(model, model)
        if name in AUTO:
            kind = kind or "t2t"
            name = self._default(kind)
        candidates = self._candidates(name, kind)
        if not candidates:
            raise self._unknown(model)
        if kind is None:
            kind = _kind_of(candidates[0].card, inputs)
        able = [found for found in candidates if kind in found.card.kinds]
        if not able:
            raise self._unable(model, kind, candidates[0].card)
        for other in self.fallbacks.get(name, ()) if fallback else ():
            able += [found for found in self._candidates(other, kind) if kind in found.card.kinds]
        return Resolved(kind, tuple(able))

    def _candidates(self, name: str, kind: Kind | None) -> list[Candidate]:
        known = [
            Candidate(source.upstream.name, card)
            for source, bare in self._named(name)
            if (card := self._cards(source).get(bare)) is not None
        ]
        if known:
            return known
        return [
            Candidate(source.upstream.name, card)
            for source, bare in self._named(name)
            if not source.named
            and (self._stand_in or not source.upstream.stand_in)
            and source.upstream.name not in self._live
            and (card := source.upstream.adopt(bare, kind)) is not None
        ]

    def _named(self, name: str) -> list[tuple[Source, str]]:
        """Every source with the name it would know: `<upstream>/<model>` names one of them."""
        prefix, _, bare = name.partition("/")
        for source in self.sources:
            if bare and prefix == source.upstream.name:
                return [(source, bare)]
        return [(source, name) for source in self.sources]

    def _default(self, kind: Kind) -> str:
        if kind in self.defaults:
            return self.aliases.get(self.defaults[kind], self.defaults[kind])
        for source in self.sources:
            if source.upstream.stand_in and not self._stand_in:
                continue  # made-up results only for who asks for them by name
            for card in self._cards(source).values():
                if kind in card.kinds:
                    return card.id
        raise InvalidRequest(
            f"no model is configured for {kind}; name one as 'model'", param="model", code="model_not_found"
        )

    def _unknown(self, model: str) -> GatewayError:
        if not self.sources:
            return NoAccount("no upstream is configured")
        return ModelNotFound(
            f"no configured upstream serves the model {model[:80]!r}",
            param="model",
            advice="GET /v1/models lists what there is",
        )

    def _unable(self, model: str, kind: Kind, card: ModelCard) -> InvalidRequest:
        able = [other.id for other in self.cards() if kind in other.kinds][:3]
        instead = f"; models that can: {', '.join(able)}" if able else ""
        does = ", ".join(sorted(card.kinds))
        return InvalidRequest(
            f"the model {model[:80]!r} does {does}, not {kind}{instead}", param="model", code="model_cannot"
        )

    # --- listing ---

    def cards(self) -> list[ModelCard]:
        """Every model once, best source first, with who serves it as `extra["upstreams"]`."""
        found: dict[str, ModelCard] = {}
        for source in self.sources:
            for card in self._cards(source).values():
                before = found.get(card.id)
                upstreams = [*(before.extra["upstreams"] if before else ()), source.upstream.name]
                found[card.id] = replace(before or card, extra={**(before or card).extra, "upstreams": upstreams})
        for alias, model in self.aliases.items():
            if alias not in found and model in found:
                found[alias] = replace(found[model], id=alias, extra={**found[model].extra, "alias_of": model})
        return list(found.values())

    def card(self, model: str) -> ModelCard:
        """One model. Raises ModelNotFound."""
        for card in self.cards():
            if card.id == model:
                return card
        if not model:
            raise self._unknown(model)
        try:
            first = self.resolve(model).candidates[0]
        except InvalidRequest as exc:
            raise self._unknown(model) from exc
        return replace(first.card, id=model, extra={**first.card.extra, "upstreams": [first.upstream]})

    def fit(self, request: MediaRequest, candidate: Candidate, policy: OnUnsupported | None = None) -> Fitted:
        """A request as a candidate takes it, by what is known of it at this moment.

        Raises Unsupported, or InvalidRequest for what cannot be, and NoAccount where its upstream is gone.
        """
        source = next((one for one in self.sources if one.upstream.name == candidate.upstream), None)
        if source is None:
            raise NoAccount(f"the upstream {candidate.upstream!r} is no longer configured")
        card = self._cards(source).get(candidate.card.id) or candidate.card
        return fit(
            msgspec.structs.replace(request, model=candidate.card.id),
            card,
            source.upstream,
            policy or self.on_unsupported,
        )

    def known(self, upstream: str, model: str) -> ModelCard | None:
        """What is known of a model at one upstream."""
        cards = (self._cards(source).get(model) for source in self.sources if source.upstream.name == upstream)
        return next(cards, None)

    def _cards(self, source: Source) -> Mapping[str, ModelCard]:
        if source.named:
            return {card.id: card for card in source.named}
        own = {card.id: card for card in source.upstream.cards()}
        live = self._live.get(source.upstream.name)
        return own if live is None else {**live, **{name: card for name, card in own.items() if name in live}}

    # --- the live lists ---

    async def keep_fresh(self) -> None:
        """Ask every upstream that can tell for its list, again and again; one that is new at once. Runs until
        cancelled."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            everyone = clock() >= due
            if everyone:
                due = clock() + LIST_SECONDS
            self._news.clear()
            wanted, self._unlisted = self._unlisted, set()
            asked = [source for source in self.sources if everyone or source.upstream.name in wanted]
            await asyncio.gather(*(self.refresh(source) for source in asked))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._news.wait()

    async def refresh(self, source: Source) -> None:
        """Learn one upstream's list; a failure leaves what was known."""
        upstream = source.upstream
        if source.named or "models" not in upstream.operations() or upstream.stand_in:
            return
        for account in source.accounts[:3]:
            try:
                cards = await upstream.models(account)
            except GatewayError as error:
                log.warning("model list failed", upstream=upstream.name, account=account.name, code=error.code)
                continue
            if cards and any(_is_of(current, source) for current in self.sources):
                self._live[upstream.name] = {card.id: card for card in cards}
                self._resolved.clear()
            return


def stanza_card(model: str, kinds: Sequence[Kind], upstream: Upstream, name: str = "") -> ModelCard:
    """A card for a model that a stanza names: what the provider knows of it, with the operator's word on top."""
    known = {card.id: card for card in upstream.cards()}.get(model) or upstream.adopt(model, None)
    can = frozenset(kind for kind in KINDS if OPERATION_OF[kind] in upstream.operations())
    card = known or ModelCard(id=model, kinds=can, created=int(time.time()))
    return replace(card, id=model, kinds=frozenset(kinds) or card.kinds, name=name or card.name)


def _is_of(source: Source, other: Source | None) -> bool:
    """Whether two sources are of one upstream, whatever accounts it has."""
    return other is not None and source.upstream is other.upstream


def _kind_of(card: ModelCard, inputs: bool) -> Kind:
    """What a model does when nobody says: text if it can, else by what the request brings."""
    with_images: tuple[Kind, ...] = ("i2i", "i2v") if inputs else ()
    order: tuple[Kind, ...] = ("t2t", *with_images, "t2i", "t2v", "t2m", "tts", *KINDS)
    return next(kind for kind in order if kind in card.kinds)
