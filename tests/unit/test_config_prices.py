"""Prices as an operator writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.errors import ConfigError
from gateway.types import Price


def read(home: Path, prices: str) -> Any:
    (home / "config.yaml").write_text(f"models: {{prices: {prices}}}")
    return load({}, home).models.price_list


def test_a_price_is_written_alone_or_as_one_of_several(tmp_path: Path) -> None:
    assert read(tmp_path, "{m: {currency: USD, input_tokens: 0.15, cached_tokens: 0, output_tokens: 1}}") == {
        "m": [Price("USD", input_tokens=0.15, cached_tokens=0, output_tokens=1)]
    }
    high = "{currency: CNY, image: 2, when: {size: [1024x1024, 1x1], seconds: 5, audio: true, quality: high}}"
    assert read(tmp_path, f"{{'u/*': [{high}, {{currency: CNY, second: 1, characters: 2, request: 3}}]}}") == {
        "u/*": [
            Price(
                "CNY",
                image=2,
                when={"size": ("1024x1024", "1x1"), "seconds": (5,), "audio": (True,), "quality": ("high",)},
            ),
            Price("CNY", second=1, characters=2, request=3),
        ]
    }
    assert read(tmp_path, "{m: []}") == {"m": []}


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ("{m: {image: 1}}", "models.prices.m[0].currency: is missing"),
        (
            "{m: {currency: US Dollars, image: 1}}",
            "models.prices.m[0].currency: must be a unit of 1 to 16 letters, like USD, CNY, credits or points"
            ' (got "US Dollars")',
        ),
        ("{m: {currency: USD, image: -1}}", "models.prices.m[0].image: must be a number of at least 0 (got -1)"),
        ("{m: {currency: USD, image: true}}", "models.prices.m[0].image: must be a number of at least 0 (got true)"),
        ("{m: {currency: USD, image: x}}", 'models.prices.m[0].image: must be a number of at least 0 (got "x")'),
        ("{m: {currency: USD, imge: 1}}", "models.prices.m[0].imge: unknown key; did you mean 'image'?"),
        (
            "{m: [{currency: USD, image: 1}, {currency: USD}]}",
            "models.prices.m[1]: must say what is charged for: any of input_tokens, cached_tokens, output_tokens, "
            "image, second, characters, request",
        ),
        ("{m: 3}", "models.prices.m: must be a list"),
        (
            "{m: {currency: USD, image: 1, when: {size: {a: 1}}}}",
            "models.prices.m[0].when.size: must be text, a number, true or false, or a list of such",
        ),
        (
            "{m: {currency: USD, image: 1, when: {size: []}}}",
            "models.prices.m[0].when.size: must be text, a number, true or false, or a list of such",
        ),
    ],
)
def test_a_wrong_price_is_told_with_its_path_and_what_would_be_right(tmp_path: Path, prices: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, prices)
    assert str(refused.value) == told
