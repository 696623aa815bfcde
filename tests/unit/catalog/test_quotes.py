"""What a request would cost."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.catalog.quotes import USUAL_ANSWER, quote
from gateway.types import (
    AnyRequest,
    EmbeddingRequest,
    ImageRequest,
    ModelCard,
    MusicRequest,
    Price,
    SpeechRequest,
    TranscriptionRequest,
    VideoRequest,
)
from tests.unit.catalog.test_prices import chat

CARD = ModelCard("m", frozenset({"t2v"}), max_n=4, default_seconds=5)
SECOND, IMAGE = Price("CNY", second=0.3), Price("USD", image=0.04)
TOKENS = Price("USD", input_tokens=1, output_tokens=2)
HI = {"messages": [{"role": "user", "content": "hi"}]}  # 32 bytes: nine tokens or so


@pytest.mark.parametrize(
    ("price", "request_", "amount", "exact"),
    [
        (IMAGE, ImageRequest("m", "p", n=3), 0.12, True),
        (Price("USD", image=0.04, request=0.1), ImageRequest("m", "p", n=5), 0.4, True),
        (SECOND, VideoRequest("m", "p", seconds=2.5), 0.75, True),
        (SECOND, VideoRequest("m", "p"), 1.5, True),
        (SECOND, MusicRequest("m", "p", seconds=10), 3.0, True),
        (Price("USD", characters=10), SpeechRequest("m", "12345"), 0.00005, True),
        (SECOND, SpeechRequest("m", "12345"), None, False),
        (TOKENS, ImageRequest("m", "p"), None, False),
        (Price("USD", image=0.04, output_tokens=10), ImageRequest("m", "p"), None, False),
        (Price("USD", request=0.5), VideoRequest("m", "p"), 0.5, True),
        (Price("USD", request=0.5), TranscriptionRequest("m", b"", "a.mp3", "audio/mpeg"), 0.5, True),
        (TOKENS, chat(**HI, max_tokens=10), 0.000029, False),
        (TOKENS, chat(**HI), (9 + 2 * USUAL_ANSWER) / 1e6, False),
        (Price("USD", input_tokens=1), EmbeddingRequest("m", ("12345678",)), 0.000003, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_quote_is_what_comes_of_what_was_asked(
    price: Price, request_: AnyRequest, amount: float | None, exact: bool
) -> None:
    found = quote([price], request_, CARD)
    assert found is not None
    assert (found.amount, found.exact, found.price) == (amount, exact, price)


@pytest.mark.parametrize("prices", [(), (Price("USD", image=1, when={"quality": ("high",)}),)])
def test_without_a_price_there_is_no_quote(prices: Any) -> None:
    assert quote(prices, ImageRequest("m", "p"), CARD) is None


def test_a_length_that_nobody_knows_is_not_guessed() -> None:
    found = quote([SECOND], VideoRequest("m", "p"), ModelCard("m", frozenset({"t2v"})))
    assert found is not None
    assert (found.amount, found.exact) == (None, False)
