"""Which models there are, what they can do, and where a request for one may go.

Cards come from three places: the provider's own table, what the operator named in the stanza, and the upstream's live
list. A name that none of them knows goes to a provider that would take it unseen (`Upstream.adopt`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal, get_args

import msgspec
import structlog

from gateway.catalog.fitting import fit
from gateway.catalog.shelves import Shelf, Shelves, Views
from gateway.catalog.waits import Wait, at_once
from gateway.config.models import Order
from gateway.errors import GatewayError, InvalidRequest, ModelNotFound, NoAccount
from gateway.types import Account, Alternative, Candidate, Fitted, Kind, MediaRequest, ModelCard, OnUnsupported
from gateway.upstreams.base import Upstream

LIST_SECONDS = 600.0
LONGEST_NAME = 256
MOST_NAMED = 3
"""Models that a sentence names."""
MOST_ALTERNATIVES = 2
"""Models that an error offers."""
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


@dataclass(frozen=True, slots=True)
class Option:
    """A model that a name may stand for."""

    resolved: Resolved
    own: tuple[Candidate, ...] = ()
    """Where it is itself, apart from what is tried after it."""
    why: Literal["named", "default", "listed", "there"] = "named"
    """Listed ones are taken while an account can serve now, all others where one ever could."""


@dataclass
class Catalog:
    sources: Sequence[Source]
    """Best first."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    defaults: Mapping[Kind, str] = field(default_factory=dict)
    on_unsupported: OnUnsupported = "reject"
    """Where a request does not say."""
    priorities: Mapping[Kind, Sequence[str]] = field(default_factory=dict)
    """Models for `auto` where there is no default, best first."""
    order: Order = "priority"
    """In which order the places of a model are tried."""
    wait: Wait = at_once
    """When an account could serve."""

    def __post_init__(self) -> None:
        self._live: dict[str, dict[str, ModelCard]] = {}
        self._shelves = Shelves()
        self._of_kind: Views[tuple[tuple[Source, ModelCard], ...]] = Views()
        self._listed: Views[dict[str, ModelCard]] = Views()
        self._options: dict[tuple[str, Kind | None, bool, bool], tuple[Option, ...]] = {}
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
        *,
        on_unsupported: OnUnsupported = "reject",
        priorities: Mapping[Kind, Sequence[str]] | None = None,
        order: Order = "priority",
    ) -> None:
        """Go by other sources and names from now on. Of an upstream that stayed the same its list stays known."""
        before = {source.upstream.name: source for source in self.sources}
        self.sources, self.aliases, self.fallbacks, self.defaults = sources, aliases, fallbacks, defaults
        self.on_unsupported, self.priorities, self.order = on_unsupported, priorities or {}, order
        self._stand_in = all(source.upstream.stand_in for source in sources)
        same = {source.upstream.name for source in sources if _is_of(source, before.get(source.upstream.name))}
        self._live = {name: cards for name, cards in self._live.items() if name in same}
        self._unlisted |= {source.upstream.name for source in sources if source != before.get(source.upstream.name)}
        self._options.clear()
        self._shelves.clear()
        if self._unlisted:
            self._news.set()

    # --- choosing ---

    def resolve(
        self,
        model: str,
        kind: Kind | None = None,
        *,
        inputs: bool = False,
        fallback: bool = True,
        tags: frozenset[str] = frozenset(),
    ) -> Resolved:
        """Candidates for a model and a kind of work.

        `kind` None: what the model does, text first; `inputs`: the request brings images; `tags`: what an account must
        carry. Raises ModelNotFound, InvalidRequest(param="model") where the model cannot do the kind, NoAccount where
        nothing is configured.
        """
        key = (model, kind, inputs, fallback)
        options = self._options.get(key)
        if options is None:
            options = self._found(*key)
            if len(self._options) < 10_000:
                self._options[key] = options
        return options[0].resolved if len(options) == 1 else self._best(options, tags)

    def waits(self, places: Sequence[Candidate], kind: Kind, tags: frozenset[str] = frozenset()) -> float | None:
        """Seconds until an account could serve at one of these places; 0: now, None: never."""
        found = None
        for place in places:
            wait = self.wait(place.upstream, place.card.id, kind, tags)
            if wait == 0:
                return wait
            found = wait if found is None or (wait is not None and wait < found) else found
        return found

    def is_auto(self, model: str) -> bool:
        """Whether a name leaves the choice to the gateway."""
        return self.aliases.get(model, model) in AUTO

    def _found(self, model: str, kind: Kind | None, inputs: bool, fallback: bool) -> tuple[Option, ...]:
        if len(model) > LONGEST_NAME:  # names are remembered, and a stand-in would take any
            raise self._unknown(model)
        name = self.aliases.get(model, model)
        if name in AUTO:
            return self._automatic(model, kind or "t2t", fallback)
        return (self._option(model, name, kind, inputs, fallback),)

    def _option(self, model: str, name: str, kind: Kind | None, inputs: bool, fallback: bool) -> Option:
        """The model of a name. Raises what it is not."""
        candidates = self._candidates(name, kind)
        if not candidates:
            raise self._unknown(model)
        if kind is None:
            kind = _kind_of(candidates[0].card, inputs)
        own = [found for found in candidates if kind in found.card.kinds]
        if not own:
            raise self._unable(model, kind, candidates[0].card)
        others = self.fallbacks.get(name, ()) if fallback else ()
        return Option(Resolved(kind, (*own, *self._after(own, others, kind))), tuple(own))

    def _after(self, own: Sequence[Candidate], names: Sequence[str], kind: Kind) -> Iterator[Candidate]:
        """Where other models are that are tried after one, each place once."""
        seen = {(found.upstream, found.card.id) for found in own}
        for name in names:
            for found in self._candidates(self.aliases.get(name, name), kind):
                if kind in found.card.kinds and (found.upstream, found.card.id) not in seen:
                    seen.add((found.upstream, found.card.id))
                    yield found

    # --- choosing where nobody named a model ---

    def _automatic(self, model: str, kind: Kind, fallback: bool) -> tuple[Option, ...]:
        """The operator's default, then the priority list, then (with no default) the first model of each source."""
        default, listed = self.defaults.get(kind), list(self.priorities.get(kind, ()))
        names = listed if default is None else [default, *listed]
        options = []
        for at, name in enumerate(names):
            name = self.aliases.get(name, name)
            own = [found for found in self._candidates(name, kind) if kind in found.card.kinds]
            if own:
                others = [*self.fallbacks.get(name, ()), *names[at + 1 :]] if fallback else []
                rest = self._after(own, others, kind)
                why: Literal["default", "listed"] = "listed" if default is None or at else "default"
                options.append(Option(Resolved(kind, (*own, *rest)), tuple(own), why))
        if default is None:
            there = (self._option(first, first, kind, False, fallback) for first in self._firsts(kind))
            options += [replace(option, why="there") for option in there]
        elif not options:
            return (self._option(model, self.aliases.get(default, default), kind, False, fallback),)
        if not options:
            said = f"no model is configured for {kind}; name one as 'model'"
            raise InvalidRequest(said, param="model", code="model_not_found")
        return tuple(options)

    def _firsts(self, kind: Kind) -> Iterator[str]:
        """The first model of a kind at each source."""
        for source in self._willing():
            found = next((card.id for card in self._cards(source).values() if kind in card.kinds), None)
            if found is not None:
                yield found

    def _best(self, options: Sequence[Option], tags: frozenset[str]) -> Resolved:
        """The first that can serve as it must; of a list of which none can now, the first that ever could."""
        later = None
        for option in options:
            if option.why == "there" and later is not None:
                break
            wait = self.waits(option.own, option.resolved.kind, tags)
            if wait == 0 or (wait is not None and option.why != "listed"):
                return option.resolved
            if wait is not None and later is None:
                later = option.resolved
        return later or options[0].resolved

    def _willing(self) -> Iterator[Source]:
        """Who serves those that name no model: made-up results are only for who asks for them by name."""
        return (source for source in self.sources if self._stand_in or not source.upstream.stand_in)

    def others(self, kind: Kind) -> tuple[tuple[Source, ModelCard], ...]:
        """Every model of a kind at every source that serves who does not name it, best first."""
        willing = [(source, self._cards(source)) for source in self._willing()]
        return self._of_kind.of(
            kind,
            [part for pair in willing for part in pair],
            lambda: tuple((source, card) for source, cards in willing for card in cards.values() if kind in card.kinds),
        )

    # --- names ---

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

    def _unknown(self, model: str) -> GatewayError:
        if not self.sources:
            return NoAccount("no upstream is configured")
        return ModelNotFound(
            f"no configured upstream serves the model {model[:80]!r}",
            param="model",
            advice="GET /v1/models lists what there is",
        )

    def _unable(self, model: str, kind: Kind, card: ModelCard) -> InvalidRequest:
        able = list(islice(dict.fromkeys(other.id for _, other in self.others(kind)), MOST_NAMED))
        named = able or [other.id for other in self._list().values() if kind in other.kinds][:MOST_NAMED]
        instead = f"; models that can: {', '.join(named)}" if named else ""
        does = ", ".join(sorted(card.kinds))
        error = InvalidRequest(
            f"the model {model[:80]!r} does {does}, not {kind}{instead}", param="model", code="model_cannot"
        )
        error.alternatives = tuple(Alternative(name, f"It does {kind}.") for name in able[:MOST_ALTERNATIVES])
        return error

    # --- listing ---

    def cards(self) -> list[ModelCard]:
        """Every model once, best source first, with who serves it as `extra["upstreams"]`."""
        return list(self._list().values())

    def _list(self) -> Mapping[str, ModelCard]:
        shelves = [(source, self._cards(source)) for source in self.sources]
        parts = [self.aliases, *(part for pair in shelves for part in pair)]
        return self._listed.of("all", parts, lambda: self._all(shelves))

    def _all(self, shelves: Sequence[tuple[Source, Shelf]]) -> dict[str, ModelCard]:
        found: dict[str, ModelCard] = {}
        for source, cards in shelves:
            for card in cards.values():
                before = found.get(card.id)
                upstreams = [*(before.extra["upstreams"] if before else ()), source.upstream.name]
                found[card.id] = replace(before or card, extra={**(before or card).extra, "upstreams": upstreams})
        for alias, model in self.aliases.items():
            if alias not in found and model in found:
                found[alias] = replace(found[model], id=alias, extra={**found[model].extra, "alias_of": model})
        return found

    def card(self, model: str) -> ModelCard:
        """One model. Raises ModelNotFound."""
        if (card := self._list().get(model)) is not None:
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
        name = candidate.card.id
        card = self._cards(source).get(name) or source.upstream.adopt(name, request.kind) or candidate.card
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

    def _cards(self, source: Source) -> Shelf:
        return self._shelves.of(source.upstream, source.named, self._live.get(source.upstream.name))

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
                self._options.clear()
            return


def _is_of(source: Source, other: Source | None) -> bool:
    """Whether two sources are of one upstream, whatever accounts it has."""
    return other is not None and source.upstream is other.upstream


def _kind_of(card: ModelCard, inputs: bool) -> Kind:
    """What a model does when nobody says: text if it can, else by what the request brings."""
    with_images: tuple[Kind, ...] = ("i2i", "i2v") if inputs else ()
    order: tuple[Kind, ...] = ("t2t", *with_images, "t2i", "t2v", "t2m", "tts", *KINDS)
    return next(kind for kind in order if kind in card.kinds)
