"""Which price holds for a request, and what comes of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.prices import PriceBook, cost, exact, parameter, price_of, shares, total
from gateway.types import (
    ChatRequest,
    Cost,
    EmbeddingRequest,
    ImageRequest,
    ModelCard,
    Price,
    Size,
    SpeechRequest,
    Usage,
    VideoRequest,
)

PICTURE = ImageRequest("m", "p", size=Size("1:1", 1024, 1024), params={"quality": "high", "audio": True, "steps": 5})
AMOUNTS = st.floats(0, 1e9).map(lambda amount: exact(Decimal(repr(amount))))


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest("m", {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()})


# --- what comes of a price ---


@pytest.mark.parametrize(
    ("price", "usage", "amount"),
    [
        (Price("USD", input_tokens=2.5, output_tokens=10), Usage(7, 3), 0.0000475),
        (Price("USD", input_tokens=0.1), Usage(3_000_000), 0.3),
        (Price("USD", input_tokens=2, cached_tokens=0.5), Usage(1_000_000, cached_tokens=400_000), 1.4),
        (Price("USD", input_tokens=2), Usage(1_000_000, cached_tokens=400_000), 2.0),
        (Price("USD", input_tokens=2, cached_tokens=0.5), Usage(10, cached_tokens=1_000_000), 0.000005),
        (Price("CNY", image=0.1), Usage(images=3), 0.3),
        (Price("CNY", second=0.3), Usage(seconds=2.5), 0.75),
        (Price("points", characters=15), Usage(characters=200), 0.003),
        (Price("USD", request=0.01), Usage(), 0.01),
        (Price("USD", request=0.01, image=0.04), Usage(images=2), 0.09),
        (Price("USD", image=0), Usage(images=2), 0.0),
        (Price("USD", image=0), Usage(), 0.0),
        (Price("USD", image=0, second=0.2), Usage(images=2), 0.0),
    ],
    ids=repr,
)
def test_a_cost_is_exactly_what_the_price_says(price: Price, usage: Usage, amount: float) -> None:
    assert cost(price, usage) == Cost(amount, price.currency)


@pytest.mark.parametrize("price", [Price("USD", image=0.04), Price("USD", input_tokens=1, output_tokens=2)])
def test_what_was_not_measured_costs_nobody_knows_what(price: Price) -> None:
    assert cost(price, Usage(seconds=3)) is None


def test_several_requests_are_charged_for_as_several() -> None:
    assert cost(Price("USD", request=0.1), Usage(), 3) == Cost(0.3, "USD")


@given(st.floats(0, 1e6), st.integers(0, 10**9), st.floats(0, 1e6), st.integers(0, 10**9))
def test_a_cost_is_the_sum_of_its_parts_and_has_few_digits(rate: float, read: int, other: float, written: int) -> None:
    both = cost(Price("USD", input_tokens=rate, output_tokens=other), Usage(read, written))
    whole = Decimal(repr(rate)) * read / 10**6 + Decimal(repr(other)) * written / 10**6
    if both is None:
        assert (rate or other) and not (read or written)
        return
    assert abs(Decimal(repr(both.amount)) - whole) <= max(whole * Decimal("1e-11"), Decimal("1e-12"))
    assert len(f"{Decimal(repr(both.amount)).normalize():f}".replace(".", "").strip("0")) <= 12


# --- parts ---


@given(AMOUNTS, st.integers(1, 500))
def test_shares_are_the_whole_together_and_differ_by_the_last_digit_at_most(amount: float, count: int) -> None:
    parts = shares(amount, count)
    decimals = [Decimal(repr(part)) for part in parts]
    assert (len(parts), sum(decimals)) == (count, Decimal(repr(amount)))
    assert max(decimals) - min(decimals) <= Decimal(repr(amount)) * Decimal("1e-11")


def test_shares_of_nothing_and_among_nobody() -> None:
    assert shares(0.0, 3) == [0.0, 0.0, 0.0]
    assert shares(0.1, 3) == [0.0333333333334, 0.0333333333333, 0.0333333333333]
    assert shares(1.0, 0) == []


@given(st.lists(AMOUNTS, max_size=20))
def test_a_total_is_the_sum_of_its_parts(parts: list[float]) -> None:
    assert total(parts) == exact(sum((Decimal(repr(part)) for part in parts), Decimal(0)))


def test_tenths_add_up() -> None:
    assert total([0.1, 0.2]) == 0.3
    assert exact(Decimal("123456789.1234567")) == 123456789.123
    assert exact(Decimal("0.0000000000004")) == 0.0


# --- which price ---


@pytest.mark.parametrize(
    ("request_", "name", "value"),
    [
        (PICTURE, "size", "1024x1024"),
        (PICTURE, "ratio", "1:1"),
        (PICTURE, "quality", "high"),
        (PICTURE, "audio", True),
        (PICTURE, "kind", "t2i"),
        (PICTURE, "seconds", None),
        (ImageRequest("m", "p", size=Size("16:9")), "size", "16:9"),
        (ImageRequest("m", "p"), "size", None),
        (ImageRequest("m", "p"), "ratio", None),
        (VideoRequest("m", "p", seconds=5), "seconds", 5),
        (SpeechRequest("m", "p", voice="alloy"), "voice", "alloy"),
        (chat(messages=[], service_tier="flex"), "service_tier", "flex"),
        (chat(messages=[], service_tier="flex"), "messages", None),
        (chat(messages=[]), "service_tier", None),
        (EmbeddingRequest("m", ("a",), dimensions=256), "dimensions", 256),
        (EmbeddingRequest("m", ("a",)), "texts", None),
    ],
)
def test_prices_ask_for_what_a_request_says(request_: Any, name: str, value: Any) -> None:
    assert parameter(request_, name) == value


def test_the_first_price_that_holds_counts() -> None:
    high = Price("USD", image=0.08, when={"quality": ("high", "hd"), "size": ("1024x1024",)})
    low = Price("USD", image=0.02, when={"quality": ("low",)})
    plain = Price("USD", image=0.04)
    assert price_of([low, high, plain], PICTURE) is high
    assert price_of([low, plain, high], PICTURE) is plain
    assert price_of([low], PICTURE) is None
    assert price_of([high], ImageRequest("m", "p", params={"quality": "hd"})) is None


def test_true_is_no_number_and_a_number_is_one_however_it_is_written() -> None:
    for wanted, holds in ((True, True), (1.0, False), ("true", False)):
        assert (price_of([Price("USD", image=1, when={"audio": (wanted,)})], PICTURE) is not None) == holds
    for wanted, holds in ((5.0, True), (5, True), ("5", False)):
        assert (price_of([Price("USD", image=1, when={"steps": (wanted,)})], PICTURE) is not None) == holds


# --- the book ---


def book(**cards: tuple[Price, ...]) -> PriceBook:
    one, two, three, four, five = (Price("USD", image=number) for number in range(1, 6))
    own = {"m": [one], "up/m": [two], "gpt-4*": [three], "gpt-4o-*": [four], "*/free*": [five]}
    known = {name: ModelCard(name, frozenset({"t2i"}), prices=prices) for name, prices in cards.items()}
    return PriceBook(own, lambda upstream, model: known.get(model) if upstream == "up" else None)


@pytest.mark.parametrize(
    ("upstream", "model", "image"),
    [
        ("up", "m", 2),
        ("other", "m", 1),
        ("up", "gpt-4", 3),
        ("up", "gpt-4o-mini", 4),
        ("up", "free-for-all", 5),
        ("up", "gpt+4", None),
        ("up", "a-gpt-4", None),
    ],
)
def test_the_operator_s_prices_go_from_the_very_model_to_the_widest_pattern(
    upstream: str, model: str, image: float | None
) -> None:
    found = book().of(upstream, model)
    assert [price.image for price in found] == ([] if image is None else [image])


def test_the_operator_s_word_goes_before_the_card_s() -> None:
    mine = (Price("CNY", image=9),)
    prices = book(m=mine, other=mine)
    assert [price.currency for price in prices.of("up", "m")] == ["USD"]
    assert prices.of("up", "other") == mine
    assert prices.of("elsewhere", "other") == ()
    at_hand = ModelCard("x", frozenset({"t2i"}), prices=mine)
    assert prices.of("up", "x", at_hand) == mine


def test_other_prices_are_gone_by_at_once() -> None:
    prices = book()
    assert prices.of("up", "m")[0].image == 2
    prices.renew({"m": [Price("USD", image=7)]})
    assert prices.of("up", "m")[0].image == 7
    assert prices.of("up", "gpt-4") == ()


def test_what_an_upstream_tells_goes_before_the_price() -> None:
    told = Usage(images=1, cost=0.1 + 0.2, currency="USD")
    assert book().priced(told, "up", "m", PICTURE).cost == 0.3
    priced = book().priced(Usage(images=2), "up", "m", PICTURE)
    assert (priced.cost, priced.currency, priced.images) == (4.0, "USD", 2)
    for usage, model in ((Usage(), "m"), (Usage(images=1), "unheard-of")):
        assert book().priced(usage, "up", model, PICTURE) is usage
