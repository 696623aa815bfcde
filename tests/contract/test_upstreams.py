"""What every provider keeps, whichever it is: each one that is found is held to it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from gateway.errors import UpstreamUnreachable
from gateway.http import Outbound
from gateway.types import Account
from gateway.upstreams import types
from gateway.upstreams.base import OPERATION_OF, Options, Upstream

pytestmark = pytest.mark.anyio

SECRET = "sk-canary-0123456789"
GENERATORS = ("chat", "image", "speech", "music")
COROUTINES = ("embed", "transcribe", "submit", "poll", "cancel", "upload", "models", "probe", "balance")


def options(model: type[Options]) -> Options:
    """The model's own defaults."""
    return model()


@pytest.fixture(params=sorted(types()))
def kind(request: pytest.FixtureRequest) -> type[Upstream]:
    return types()[request.param]


@pytest.fixture
def upstream(kind: type[Upstream]) -> Upstream:
    return kind("mine", options(kind.options_model), Outbound())


def test_it_is_found_by_its_own_name(kind: type[Upstream]) -> None:
    assert types()[kind.type_name] is kind
    assert re.fullmatch(r"[a-z][a-z0-9_]*", kind.type_name)


@pytest.mark.parametrize("name", sorted(name for name, kind in types().items() if not kind.stand_in))
def test_it_says_where_what_it_knows_comes_from_and_of_when(name: str) -> None:
    kind = types()[name]
    said = sys.modules[kind.__module__].__doc__ or ""
    assert re.search(r"\bsources?\b", said, re.IGNORECASE)
    assert re.search(r"\b20\d\d-\d\d-\d\d\b", said)


def test_it_can_do_something_and_what_it_begins_it_can_follow(kind: type[Upstream]) -> None:
    can = kind.operations()
    assert can & set(OPERATION_OF.values())
    assert "submit" not in can or "poll" in can
    assert "poll" not in can or "submit" in can
    assert "cancel" not in can or "submit" in can


def test_it_can_be_asked_about_without_spending(kind: type[Upstream]) -> None:
    assert kind.operations() & {"probe", "models"}


def own(kind: type[Upstream], names: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    yield from ((name, getattr(kind, name)) for name in names if name in kind.operations())


def test_its_operations_are_called_as_the_contract_says(kind: type[Upstream]) -> None:
    for name, method in own(kind, (*GENERATORS, *COROUTINES, "fetch")):
        assert list(inspect.signature(method).parameters) == list(  # type: ignore[arg-type]
            inspect.signature(getattr(Upstream, name)).parameters
        ), name
    for name, method in own(kind, COROUTINES):
        assert inspect.iscoroutinefunction(method), name
    for name, method in own(kind, (*GENERATORS, "fetch")):
        assert not inspect.iscoroutinefunction(method), f"{name} answers events, not a coroutine of them"


def test_its_quotas_come_back_at_an_hour_of_a_zone_that_there_is(kind: type[Upstream]) -> None:
    assert 0 <= kind.quota_reset.hour <= 23
    assert ZoneInfo(kind.quota_reset.zone)


async def test_what_spends_nothing_finds_an_upstream_that_is_not_there(kind: type[Upstream]) -> None:
    """And blames no account for it. A provider inside is always there."""
    if kind.stand_in:
        return
    http = Outbound()
    await http.start()
    upstream = kind("mine", options(kind.options_model), http)
    account = Account("mine/a", "a", "mine", credential=SECRET, base_url="http://127.0.0.1:1")
    try:
        for name in sorted({"probe", "models"} & kind.operations()):
            with pytest.raises(UpstreamUnreachable):
                await getattr(upstream, name)(account)
    finally:
        await http.close()


def test_its_models_are_of_kinds_that_it_can_do(upstream: Upstream) -> None:
    cards = upstream.cards()
    assert len({card.id for card in cards}) == len(cards)
    for card in cards:
        assert card.id
        assert card.kinds
        assert {OPERATION_OF[kind] for kind in card.kinds} <= upstream.operations()
        assert card.estimate is None or card.estimate >= 0
        assert card.max_n >= 1


@pytest.mark.parametrize("asked", [None, *OPERATION_OF])
def test_a_model_that_it_adopts_is_of_kinds_that_it_can_do(upstream: Upstream, asked: object) -> None:
    for name in ("some-model", "x-image-1", "x-video-pro", "tts-1", "text-embedding-3", "whisper-1"):
        card = upstream.adopt(name, asked)  # type: ignore[arg-type]
        if card is not None:
            assert card.id == name
            assert {OPERATION_OF[kind] for kind in card.kinds} <= upstream.operations()


def test_its_keys_are_checked_and_an_unknown_one_is_refused(kind: type[Upstream]) -> None:
    for model in (kind.options_model, kind.account_options_model):
        assert issubclass(model, Options)
        with pytest.raises(ValidationError, match="no_such_key"):
            model.model_validate({"no_such_key": 1})
        made = options(model)
        for name in type(made).model_fields:
            with pytest.raises(ValidationError):
                setattr(made, name, None)


def test_its_variables_are_named_as_variables_are(kind: type[Upstream]) -> None:
    for name in (*kind.env_credentials, *([kind.env_base_url] if kind.env_base_url else ())):
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", name)
    assert kind.stand_in or kind.needs_credential is False or kind.env_credentials
    assert kind.reads_headers == tuple(name.lower() for name in kind.reads_headers)
    assert kind.max_concurrency >= 1
    assert not kind.base_url.endswith("/")


def test_a_credential_is_in_no_words_about_an_account(kind: type[Upstream]) -> None:
    account = Account(
        id="mine/a",
        name="a",
        upstream="mine",
        credential=SECRET,
        base_url=kind.base_url,
        proxy=f"http://user:{SECRET}@proxy:8080",
        options=options(kind.account_options_model),
    )
    assert SECRET not in f"{account!r} {account} {[account]}"


async def test_what_it_cannot_do_it_refuses_in_a_sentence(kind: type[Upstream], upstream: Upstream) -> None:
    missing = set(OPERATION_OF.values()) - kind.operations()
    for name in sorted(missing):
        with pytest.raises(Exception, match="'mine' cannot ") as told:
            answer = getattr(upstream, name)(None, None)
            await answer
        assert told.value.code == "unsupported_operation"  # type: ignore[attr-defined]
