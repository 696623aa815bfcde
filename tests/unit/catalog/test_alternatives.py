"""Which other models an error offers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.catalog.alternatives import MOST_FITTED, SOON_SECONDS, Alternatives
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.errors import (
    AllResting,
    ContentRefused,
    GatewayError,
    InvalidRequest,
    NoAccount,
    Overloaded,
    RateLimited,
    Unsupported,
    UpstreamFailed,
)
from gateway.types import (
    Alternative,
    AnyRequest,
    ImageRequest,
    Input,
    InputRule,
    Kind,
    MediaRequest,
    ModelCard,
    Parameter,
    Price,
    Size,
)
from tests.unit.catalog.test_choosing import Accounts
from tests.unit.catalog.test_models import Shelf, StandIn, card, catalog
from tests.unit.scripted import chat_request

QUALITY = {"quality": Parameter("string", allowed=("low", "high"))}
LOW = {"quality": Parameter("string", allowed=("low",))}
SHELF = (
    card("tried", "t2i", parameters=LOW),
    card("low", "t2i", parameters=LOW),
    card("unknown", "t2i"),
    card("high", "t2i", parameters=QUALITY, prices=(Price("USD", image=0.2),)),
    card("also", "t2i", parameters=QUALITY),
    card("third", "t2i", parameters=QUALITY),
    card("text"),
    card("sees", vision=True),
)


def suggested(
    error: GatewayError,
    request: AnyRequest,
    kind: Kind = "t2i",
    *,
    tried: str = "tried",
    found: Catalog | None = None,
    **accounts: Any,
) -> GatewayError:
    found = found or catalog(Shelf("up", *SHELF), wait=Accounts(**accounts))
    book = PriceBook({}, found.known)
    Alternatives(found, book).suggest(error, request, kind, found.resolve(tried, kind).candidates)
    return error


def names(error: GatewayError) -> list[str]:
    return [one.model for one in error.alternatives]


HIGH = ImageRequest("tried", "x", n=2, params={"quality": "high"})


def test_a_value_that_a_model_does_not_take_names_two_that_are_known_to() -> None:
    error = suggested(Unsupported("'quality' must be low", param="quality"), HIGH)
    price = {"amount": 0.4, "currency": "USD", "exact": True}
    assert error.alternatives == (
        Alternative("high", "It takes 'quality' high and can serve now.", price),
        Alternative("also", "It takes 'quality' high and can serve now.", None),
    )
    assert error.message == "'quality' must be low; models that can: high, also"
    again = suggested(error, HIGH)
    assert again.message == "'quality' must be low; models that can: high, also"


@pytest.mark.parametrize("error", [RateLimited(), UpstreamFailed(), NoAccount(), AllResting()])
def test_a_failure_names_others_that_take_the_same_request(error: GatewayError) -> None:
    before = error.message
    assert names(suggested(error, HIGH)) == ["unknown", "high"]
    assert (error.message, error.alternatives[0].why) == (before, "It does t2i and can serve now.")


@pytest.mark.parametrize("error", [ContentRefused(), InvalidRequest("no"), Overloaded()])
def test_what_another_model_would_refuse_too_names_none(error: GatewayError) -> None:
    assert names(suggested(error, HIGH)) == []


def test_only_models_count_that_an_account_can_serve_soon() -> None:
    waits = {"up/unknown": None, "up/high": SOON_SECONDS + 1, "up/also": 20.0}
    error = suggested(UpstreamFailed(), HIGH, **waits)
    assert [(one.model, one.why) for one in error.alternatives] == [
        ("also", "It does t2i and can serve in 20 s."), ("third", "It does t2i and can serve now."),
    ]  # fmt: skip
    assert names(suggested(UpstreamFailed(), HIGH, up=None)) == []


def test_a_refused_request_is_fitted_to_few_of_many_and_no_account_is_looked_for_in_vain() -> None:
    class Counts(Shelf):
        fitted = 0

        def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
            self.fitted += 1
            return msgspec.structs.replace(request, size=Size("1:1", 64, 64))

    shelf = Counts("up", card("tried", "t2i"), *(card(f"m{number}", "t2i") for number in range(500)))
    found = catalog(shelf, wait=Accounts())
    assert names(suggested(UpstreamFailed(), ImageRequest("tried", "x", size=Size("1:1", 9, 9)), found=found)) == []
    assert shelf.fitted == MOST_FITTED
    resting = Accounts(up=SOON_SECONDS + 1)
    found = catalog(shelf, wait=resting)
    assert names(suggested(UpstreamFailed(), HIGH, found=found)) == []
    assert (resting.asked, shelf.fitted) == (1, MOST_FITTED), "where nobody is for any model, none is asked about"


def test_many_models_that_rest_hide_no_other_upstream() -> None:
    many = Shelf("many", card("tried", "t2i"), *(card(f"m{number}", "t2i") for number in range(500)))
    found = catalog(many, Shelf("other", card("free", "t2i")), wait=Accounts(many=None))
    assert names(suggested(UpstreamFailed(), HIGH, found=found)) == ["free"]
    there = Accounts(**{f"many/m{number}": None for number in range(500)})
    assert names(
        suggested(UpstreamFailed(), HIGH, found=catalog(many, Shelf("other", card("free", "t2i")), wait=there))
    ) == ["free"]
    assert there.asked < 10


def test_a_model_that_would_change_the_request_is_none() -> None:
    shelf = Shelf("up", card("tried", "t2i"), card("other", "t2i", parameters={"size": Parameter("size", ("1:1",))}))
    wide = ImageRequest("tried", "x", size=Size("16:9"))
    assert names(suggested(UpstreamFailed(), wide, found=catalog(shelf))) == []
    square = ImageRequest("tried", "x", size=Size("1:1"))
    assert names(suggested(UpstreamFailed(), square, found=catalog(shelf))) == ["other"]


def test_a_model_that_makes_other_pixels_than_asked_for_is_none() -> None:
    class Rounds(Shelf):
        def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
            return msgspec.structs.replace(request, size=Size("1:1", 64, 64))

    found = catalog(Rounds("up", card("tried", "t2i"), card("other", "t2i")))
    asked = ImageRequest("tried", "x", size=Size("1:1", 100, 100))
    assert names(suggested(UpstreamFailed(), asked, found=found)) == []
    exactly = ImageRequest("tried", "x", size=Size("1:1", 64, 64))
    assert names(suggested(UpstreamFailed(), exactly, found=found)) == ["other"]


def test_files_that_one_does_not_take_go_to_one_that_is_known_to() -> None:
    many = {"i2i": InputRule(1, 4)}
    shelf = Shelf("up", card("tried", "i2i"), card("unknown", "i2i"), card("many", "i2i", inputs=many))
    request = ImageRequest("tried", "x", kind="i2i", inputs=(Input("https://a.example"),) * 2)
    error = suggested(Unsupported("one image", param="images"), request, "i2i", found=catalog(shelf))
    assert names(error) == ["many"]
    assert error.alternatives[0].why == "It takes so many images and can serve now."


def test_a_chat_with_an_image_goes_to_one_that_sees() -> None:
    seen = chat_request()
    assert names(suggested(UpstreamFailed(), seen, "t2t", tried="text")) == ["sees"]
    found = catalog(Shelf("up", card("tried"), card("blind"), card("sees", vision=True)))
    body = dict(seen.body) | {"messages": type(seen.body["messages"])(b'[{"content":[{"type":"image_url"}]}]')}
    looks = type(seen)("tried", body)
    assert names(suggested(UpstreamFailed(), looks, "t2t", found=found)) == ["sees"]


def test_the_stand_in_is_no_alternative_to_what_is_real() -> None:
    found = catalog(Shelf("real", card("tried", "t2i")), StandIn("stands", card("own", "t2i")))
    assert names(suggested(UpstreamFailed(), HIGH, found=found)) == []
