"""Models that the operator names."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.catalog.fitting import fit
from gateway.catalog.stanza import stanza_card
from gateway.config import ModelConfig
from gateway.types import ImageRequest, InputRule, ModelCard, Parameter, Price
from tests.unit.catalog.test_models import Shelf, card


def made(shelf: Shelf, model: str, **said: Any) -> ModelCard:
    return stanza_card(ModelConfig.model_validate({"id": model, **said}), shelf)


def test_the_operator_s_word_goes_over_the_provider_s() -> None:
    up = Shelf("up", card("m", context_length=9, estimate=3.0), adopts="new-")
    assert made(up, "m") == card("m", context_length=9, estimate=3.0)
    found = made(up, "m", kinds=["t2i"], name="My model", estimate=0)
    assert found == card("m", "t2i", context_length=9, name="My model", estimate=0.0)
    assert made(up, "new-x") == card("new-x", custom=True)


def test_a_model_that_nobody_knows_can_what_its_upstream_can() -> None:
    found = made(Shelf("up"), "x")
    assert (found.kinds, found.created > 0, found.custom) == (frozenset({"t2t", "t2i", "i2i"}), True, True)


def test_a_model_is_declared_with_all_that_is_known_of_it() -> None:
    found = made(
        Shelf("up"),
        "mine",
        parameters={"steps": {"type": "integer", "least": 1, "most": 50, "default": 20, "kinds": ["text_to_image"]}},
        closed=True,
        together=[{"size": "1:1", "quality": "high"}],
        inputs={"i2i": {"least": 1, "most": 2, "formats": ["jpg", "image/webp"], "max_bytes": 5}},
        prices={"currency": "USD", "image": 0.1},
        default_seconds=5,
    )
    steps = Parameter("integer", least=1, most=50, default=20, kinds=frozenset({"t2i"}))
    assert found.parameters == {"steps": steps}
    assert (found.closed, found.together) == (True, ({"size": "1:1", "quality": "high"},))
    assert found.inputs == {"i2i": InputRule(1, 2, frozenset({"image/jpeg", "image/webp"}), 5)}
    assert (found.prices, found.default_seconds) == ((Price("USD", image=0.1),), 5.0)


def test_what_the_table_says_stays_where_the_operator_says_nothing() -> None:
    own = card("m", "t2i", parameters={"a": Parameter("string"), "b": Parameter("string")}, closed=True)
    found = made(Shelf("up", own), "m", parameters={"b": {"type": "integer"}})
    assert found.parameters == {"a": Parameter("string"), "b": Parameter("integer")}
    assert (found.closed, found.custom) == (True, False)
    assert made(Shelf("up", own), "m", closed=False).closed is False


def test_a_default_of_the_operator_s_is_taken_where_nothing_is_asked() -> None:
    up = Shelf("up")
    mine = made(up, "mine", kinds=["t2i"], parameters={"quality": {"default": "low"}, "seed": {"type": "integer"}})
    assert fit(ImageRequest("mine", "x"), mine, up).request == ImageRequest("mine", "x", params={"quality": "low"})
    asked = ImageRequest("mine", "x", params={"quality": "high"})
    fitted = fit(asked, mine, up)
    assert (fitted.request, fitted.adjustments) == (asked, ())


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ({"type": "colour"}, "must be one of boolean, integer"),
        ({"type": "integer", "allowed": [1, 2.5]}, "allowed holds 2.5, which is no integer"),
        ({"type": "size", "allowed": ["16/9"]}, "allowed holds '16/9', which is no size"),
        ({"type": "size", "allowed": ["0:9"]}, "allowed holds '0:9', which is no size"),
        ({"allowed": ["a"], "default": "b"}, "default must be one of allowed"),
        ({"type": "boolean", "default": 1}, "default must be of the type boolean"),
        ({"type": "number", "least": 2, "most": 1}, "least must not be above most"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(parameter: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ModelConfig.model_validate({"id": "m", "parameters": {"p": parameter}})
