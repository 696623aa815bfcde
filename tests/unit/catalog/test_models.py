from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.catalog.models import Catalog, Source
from gateway.errors import GatewayError, UpstreamFailed
from gateway.http import Outbound
from gateway.types import Account, Candidate, Kind, ModelCard
from gateway.upstreams.base import Options, Upstream
from tests.unit.scripted import accounts_of

pytestmark = pytest.mark.anyio

IMAGES: tuple[Kind, ...] = ("t2i", "i2i")


def card(model: str, *kinds: Kind, **fields: Any) -> ModelCard:
    return ModelCard(model, frozenset(kinds or ("t2t",)), **fields)


class Shelf(Upstream):
    """An upstream with a table of models that can chat and draw."""

    def __init__(self, name: str, *own: ModelCard, adopts: str = "") -> None:
        super().__init__(name, Options(), Outbound())
        self.own, self.adopts = own, adopts

    def chat(self, request: Any, account: Account) -> Any:
        raise NotImplementedError

    def image(self, request: Any, account: Account) -> Any:
        raise NotImplementedError

    def cards(self) -> Sequence[ModelCard]:
        return self.own

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        return card(model, kind or "t2t") if self.adopts and model.startswith(self.adopts) else None


class Listed(Shelf):
    """Tells its list, too; `lists` are the answers in order."""

    def __init__(self, name: str, *own: ModelCard, lists: Sequence[Any], adopts: str = "") -> None:
        super().__init__(name, *own, adopts=adopts)
        self.lists = list(lists)
        self.asked: list[str] = []

    async def models(self, account: Account) -> Sequence[ModelCard]:
        self.asked.append(account.name)
        found = self.lists.pop(0)
        if isinstance(found, Exception):
            raise found
        return list(found)


class StandIn(Shelf):
    stand_in = True


def source(upstream: Upstream, *named: ModelCard, accounts: Sequence[str] = ("a", "b")) -> Source:
    return Source(upstream, accounts_of(upstream.name, *accounts), named=named)


def catalog(*upstreams: Upstream | Source, **fields: Any) -> Catalog:
    return Catalog([one if isinstance(one, Source) else source(one) for one in upstreams], **fields)


def at(candidates: Sequence[Candidate]) -> list[str]:
    return [f"{one.upstream}/{one.card.id}" for one in candidates]


def where(found: Catalog, *asked: Any, **fields: Any) -> list[str]:
    return at(found.resolve(*asked, **fields).candidates)


def refused(found: Catalog, *asked: Any) -> GatewayError:
    with pytest.raises(GatewayError) as told:
        found.resolve(*asked)
    return told.value


# --- choosing ---


def test_a_model_is_tried_wherever_it_is_best_first() -> None:
    found = catalog(Shelf("one", card("m")), Shelf("two", card("n")), Shelf("three", card("m")))
    assert where(found, "m") == ["one/m", "three/m"]
    assert where(found, "two/n") == ["two/n"]
    assert where(found, "three/m") == ["three/m"]


def test_a_name_with_a_slash_need_not_name_an_upstream() -> None:
    found = catalog(Shelf("one", card("maker/m")))
    assert where(found, "maker/m") == where(found, "one/maker/m") == ["one/maker/m"]


def test_an_alias_is_another_name() -> None:
    found = catalog(Shelf("one", card("m")), aliases={"fast": "m", "gone": "x"})
    assert where(found, "fast") == ["one/m"]
    assert refused(found, "gone").code == "model_not_found"


def test_a_fallback_follows_unless_it_is_not_wanted_or_cannot() -> None:
    found = catalog(
        Shelf("one", card("m", *IMAGES), card("n", "t2i"), card("text")),
        fallbacks={"m": ["text", "n"]},
        aliases={"nick": "m"},
    )
    assert where(found, "m", "t2i") == where(found, "nick", "t2i") == ["one/m", "one/n"]
    assert where(found, "m", "i2i") == ["one/m"]
    assert where(found, "m", "t2i", fallback=False) == ["one/m"]


@pytest.mark.parametrize("name", ["", "auto"])
def test_who_names_no_model_gets_the_default_or_the_first_that_can(name: str) -> None:
    one, two = Shelf("one", card("m")), Shelf("two", card("n"), card("draws", "t2i"))
    assert where(catalog(one, two), name) == ["one/m"]
    assert where(catalog(one, two), name, "t2i") == ["two/draws"]
    assert where(catalog(one, two, defaults={"t2t": "n"}), name) == ["two/n"]
    assert where(catalog(one, two, defaults={"t2t": "nick"}, aliases={"nick": "n"}), name) == ["two/n"]


@pytest.mark.parametrize(
    ("kinds", "inputs", "kind"),
    [
        (("t2t", "t2i"), False, "t2t"),
        (("t2t", "t2i"), True, "t2t"),
        (("t2i", "i2i"), False, "t2i"),
        (("t2i", "i2i"), True, "i2i"),
        (("t2v", "i2v"), False, "t2v"),
        (("t2v", "i2v"), True, "i2v"),
        (("tts",), False, "tts"),
        (("embedding",), False, "embedding"),
    ],
)
def test_a_kind_that_nobody_names_follows_from_the_model_and_the_inputs(kinds: Any, inputs: bool, kind: Kind) -> None:
    found = catalog(Shelf("one", card("m", *kinds)))
    assert found.resolve("m", inputs=inputs).kind == kind


def test_an_unknown_model_is_told_so_shortly() -> None:
    error = refused(catalog(Shelf("one", card("m"))), "x" * 1000)
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert error.message == f"no configured upstream serves the model {'x' * 80!r}"
    assert error.advice == "GET /v1/models lists what there is"


def test_a_name_that_nobody_could_mean_is_not_even_offered_to_who_takes_any() -> None:
    found = catalog(StandIn("any", adopts="x"))
    assert len(where(found, "x" * 256)) == 1
    assert refused(found, "x" * 257).code == "model_not_found"
    assert len(found._options) == 1


def test_a_model_that_cannot_is_told_with_those_that_can() -> None:
    found = catalog(Shelf("one", card("m"), *(card(f"draws-{number}", "t2i") for number in range(5))))
    error = refused(found, "m", "t2i")
    assert (error.status, error.code, error.param) == (400, "model_cannot", "model")
    assert error.message == "the model 'm' does t2t, not t2i; models that can: draws-0, draws-1, draws-2"
    assert refused(found, "m", "t2v").message == "the model 'm' does t2t, not t2v"


def test_a_kind_that_no_model_does_is_told_so() -> None:
    error = refused(catalog(Shelf("one", card("m"))), "auto", "t2v")
    assert (error.status, error.code) == (400, "model_not_found")
    assert error.message == "no model is configured for t2v; name one as 'model'"


def test_with_no_upstream_at_all_there_is_no_account() -> None:
    error = refused(catalog(), "m")
    assert (error.status, error.code, error.message) == (503, "no_account_available", "no upstream is configured")


# --- names that no table has ---


def test_a_name_that_nobody_knows_goes_to_who_would_take_it_unseen() -> None:
    found = catalog(Shelf("one", card("m")), Shelf("two", adopts="new-"))
    assert where(found, "new-model") == ["two/new-model"]
    assert where(found, "new-model", "t2i") == ["two/new-model"]
    assert refused(found, "old-model").code == "model_not_found"


def test_an_upstream_with_named_models_takes_no_other() -> None:
    two = Shelf("two", card("m"), card("n"), adopts="new-")
    found = catalog(source(two, card("m")))
    assert where(found, "m") == ["two/m"]
    for name in ("n", "new-model", "two/n"):
        assert refused(found, name).code == "model_not_found"


def test_the_stand_in_takes_every_name_only_while_it_is_alone() -> None:
    alone, real = StandIn("stands", card("own"), adopts="any"), Shelf("real", card("m"))
    assert where(catalog(alone), "any-model") == ["stands/any-model"]
    assert where(catalog(alone), "auto") == ["stands/own"]
    with_real = catalog(real, alone)
    assert refused(with_real, "any-model").code == "model_not_found"
    assert where(with_real, "own") == where(with_real, "stands/own") == ["stands/own"]


def test_the_stand_in_answers_nobody_who_did_not_ask_for_it() -> None:
    found = catalog(Shelf("real", card("m")), StandIn("stands", card("own", "t2i")))
    assert refused(found, "auto", "t2i").message == "no model is configured for t2i; name one as 'model'"


# --- lists ---


def test_every_model_is_listed_once_with_who_serves_it() -> None:
    found = catalog(Shelf("one", card("m", name="M")), Shelf("two", card("m"), card("n")), aliases={"nick": "n"})
    assert [(one.id, one.extra["upstreams"]) for one in found.cards()] == [
        ("m", ["one", "two"]), ("n", ["two"]), ("nick", ["two"]),
    ]  # fmt: skip
    assert found.card("nick").extra["alias_of"] == "n"
    assert found.card("m").name == "M"


def test_one_model_is_shown_by_any_of_its_names() -> None:
    found = catalog(Shelf("one", card("m", context_length=9), adopts="new-"))
    assert (found.card("one/m").id, found.card("one/m").context_length) == ("one/m", 9)
    assert found.card("new-model").extra["upstreams"] == ["one"]
    for name in ("unknown", ""):
        with pytest.raises(GatewayError) as told:
            found.card(name)
        assert told.value.code == "model_not_found"


async def test_a_live_list_says_what_there_is_and_the_table_what_is_known_of_it() -> None:
    up = Listed(
        "up", card("known", context_length=9), card("retired"), lists=[[card("known"), card("new")]], adopts="x"
    )
    found = catalog(up)
    assert where(found, "retired") == ["up/retired"]
    await found.refresh(found.sources[0])
    assert {one.id for one in found.cards()} == {"known", "new"}
    assert found.card("known").context_length == 9
    assert where(found, "new") == ["up/new"]
    for gone in ("retired", "x-unseen"):
        assert refused(found, gone).code == "model_not_found"


async def test_a_list_that_cannot_be_had_leaves_what_was_known() -> None:
    up = Listed("up", card("known"), lists=[UpstreamFailed(), UpstreamFailed(), [card("new")], UpstreamFailed(), []])
    found = catalog(up)
    await found.refresh(found.sources[0])
    assert where(found, "known") == ["up/known"]
    await found.refresh(found.sources[0])
    assert where(found, "new") == ["up/new"]
    await found.refresh(found.sources[0])
    assert where(found, "new") == ["up/new"]
    assert up.asked == ["a", "b", "a", "a", "b"]


async def test_an_upstream_with_named_models_is_not_asked_for_its_list() -> None:
    up = Listed("up", lists=[])
    found = catalog(source(up, card("m")))
    await found.refresh(found.sources[0])
    assert up.asked == []


async def test_lists_are_kept_fresh_until_that_ends() -> None:
    up = Listed("up", lists=[[card("new")]])
    found = catalog(up, Shelf("other"))
    keeping = asyncio.create_task(found.keep_fresh())
    async with asyncio.timeout(2):
        while not found.cards():
            await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert where(found, "new") == ["up/new"]


# --- other sources ---


def renewed(found: Catalog, *upstreams: Upstream | Source, **fields: Any) -> None:
    sources = [one if isinstance(one, Source) else source(one) for one in upstreams]
    found.renew(sources, *(fields.get(name, {}) for name in ("aliases", "fallbacks", "defaults")))


def test_other_sources_are_gone_by_at_once() -> None:
    one, two = Shelf("one", card("m")), Shelf("two", card("m"), card("n"))
    found = catalog(one, aliases={"nick": "m"}, fallbacks={"m": ["x"]}, defaults={"t2t": "m"})
    assert where(found, "nick") == where(found, "auto") == where(found, "m") == ["one/m"]
    assert refused(found, "n").code == "model_not_found"
    renewed(found, two, one, aliases={"other": "m"}, fallbacks={"n": ["m"]}, defaults={"t2t": "n"})
    assert where(found, "m") == ["two/m", "one/m"]
    assert where(found, "n") == where(found, "auto") == ["two/n", "two/m", "one/m"]
    assert where(found, "other") == ["two/m", "one/m"]
    assert refused(found, "nick").code == "model_not_found"
    renewed(found, one)
    assert where(found, "m") == ["one/m"]
    assert refused(found, "two/m").code == "model_not_found"


def test_the_stand_in_steps_back_when_somebody_comes_and_forward_when_nobody_is_left() -> None:
    alone, real = StandIn("stands", card("own"), adopts="any"), Shelf("real", card("m"))
    found = catalog(alone)
    assert where(found, "any-model") == ["stands/any-model"]
    renewed(found, real, alone)
    assert refused(found, "any-model").code == "model_not_found"
    assert where(found, "auto") == ["real/m"]
    renewed(found, alone)
    assert where(found, "any-model") == ["stands/any-model"]


async def test_the_list_of_an_upstream_that_stays_stays_known() -> None:
    up, other = Listed("up", lists=[[card("new")]]), Listed("other", lists=[[card("far")]])
    found = catalog(up, other)
    for one in found.sources:
        await found.refresh(one)
    renewed(found, source(up, accounts=["c"]), Listed("other", card("own"), lists=[]))
    assert where(found, "new") == ["up/new"]
    assert where(found, "own") == ["other/own"]
    assert refused(found, "far").code == "model_not_found", "it was the list of another"


async def test_a_list_that_comes_too_late_is_not_believed() -> None:
    class Slow(Listed):
        asking, answer = asyncio.Event(), asyncio.Event()

        async def models(self, account: Account) -> Sequence[ModelCard]:
            self.asking.set()
            await self.answer.wait()
            return await super().models(account)

    slow = Slow("up", lists=[[card("old")]])
    found = catalog(slow)
    asking = asyncio.create_task(found.refresh(found.sources[0]))
    await slow.asking.wait()
    renewed(found, Shelf("up", card("m")))
    slow.answer.set()
    await asking
    assert where(found, "m") == ["up/m"]
    assert refused(found, "old").code == "model_not_found"


async def test_who_is_new_or_has_other_accounts_is_asked_for_its_list_at_once_and_nobody_else() -> None:
    up, other, new = (Listed(name, lists=[[card(name)]] * 3) for name in ("up", "other", "new"))
    found = catalog(up, other)
    keeping = asyncio.create_task(found.keep_fresh())

    async def asked(*names: list[str]) -> None:
        async with asyncio.timeout(2):
            while [up.asked, other.asked, new.asked] != list(names):
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert [up.asked, other.asked, new.asked] == list(names)

    await asked(["a"], ["a"], [])
    renewed(found, up, other)
    await asked(["a"], ["a"], [])
    renewed(found, up, source(other, accounts=["c"]), new)
    await asked(["a"], ["a", "c"], ["a"])
    assert where(found, "new") == ["new/new"]
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
