"""What a model takes of a request: told before anything is spent, and nothing changed without being told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import msgspec
import pytest

from gateway.catalog.fitting import fit, given
from gateway.errors import InvalidRequest, Unsupported
from gateway.types import (
    ImageRequest,
    Input,
    InputRule,
    MediaRequest,
    ModelCard,
    MusicRequest,
    Parameter,
    Size,
    SpeechRequest,
    VideoRequest,
)
from gateway.upstreams.base import Upstream

SECONDS = Parameter("integer", allowed=(5, 10), default=5, unit="s")
CARD = ModelCard(
    "film",
    frozenset({"t2v", "i2v"}),
    parameters={
        "seconds": SECONDS,
        "size": Parameter("size", allowed=("16:9", "9:16", "1:1")),
        "resolution": Parameter("string", allowed=("720P", "1080P"), default="720P"),
        "seed": Parameter("integer", least=0, most=99),
        "steps": Parameter("integer", least=0, most=99),
        "sound": Parameter("boolean", kinds=frozenset({"t2v"})),
        "negative_prompt": Parameter("string", most=10),
    },
    closed=True,
)
ROWS = ModelCard(
    "rows",
    frozenset({"t2v"}),
    parameters={"seconds": SECONDS, "resolution": Parameter("string", allowed=("720P", "1080P"))},
    closed=True,
    together=(
        {"seconds": 5, "resolution": "720P"},
        {"seconds": 10, "resolution": "720P"},
        {"seconds": 5, "resolution": "1080P"},
    ),
)


class Plain(Upstream):
    """Makes what it is asked."""


class Wide(Upstream):
    """Makes pixels of its own, and five seconds where nobody says."""

    made: ClassVar = {"16:9": Size("16:9", 1280, 720), "1:1": Size("1:1", 960, 960)}

    def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
        assert isinstance(request, VideoRequest)
        size = self.made[request.size.ratio] if request.size else None
        return msgspec.structs.replace(request, size=size, seconds=request.seconds or 5.0)


PLAIN = Plain("p", None, None)  # type: ignore[arg-type]
WIDE = Wide("w", None, None)  # type: ignore[arg-type]


def film(**fields: Any) -> VideoRequest:
    return VideoRequest("film", "waves", **fields)


def refused(request: MediaRequest, card: ModelCard = CARD) -> Unsupported:
    with pytest.raises(Unsupported) as told:
        fit(request, card, PLAIN)
    return told.value


def test_what_the_model_takes_passes_spelled_as_it_spells_it() -> None:
    request = film(seconds=10.0, size=Size("16:9"), params={"resolution": "1080p", "steps": 7})
    fitted = fit(request, CARD, PLAIN)
    assert fitted.adjustments == ()
    assert fitted.request == msgspec.structs.replace(request, seconds=10, params={"resolution": "1080P", "steps": 7})


def test_seven_seconds_where_five_and_ten_exist_are_refused_with_what_would_be_right() -> None:
    error = refused(film(seconds=7.0))
    assert error.message == "'seconds' must be 5 or 10 with film, not 7; the nearest is 5"
    assert (error.status, error.code, error.param) == (400, "unsupported_value", "seconds")
    assert (error.allowed, error.nearest) == ((5, 10), "5")


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"size": Size("21:9")}, "size", "must be 16:9, 9:16 or 1:1 with film, not 21:9; the nearest is 16:9"),
        ({"size": Size("3:1", 900, 300)}, "size", "not 900x300; the nearest is 16:9"),
        ({"params": {"resolution": "4k"}}, "resolution", "must be 720P or 1080P with film, not 4k"),
        ({"params": {"steps": 100}}, "steps", "a whole number from 0 to 99 with film, not 100; the nearest is 99"),
        ({"seed": 100}, "seed", "a whole number from 0 to 99"),
        ({"params": {"steps": 1.5}}, "steps", "a whole number"),
        ({"params": {"steps": True}}, "steps", "a whole number"),
        ({"params": {"sound": "yes"}}, "sound", "true or false"),
        ({"params": {"negative_prompt": "far too long"}}, "negative_prompt", "a string of at most 10 characters"),
        ({"params": {"styl": "x"}}, "styl", "film has no 'styl'; it takes negative_prompt, resolution, seconds, seed,"),
        ({"kind": "i2v", "params": {"sound": True}}, "sound", "film has no 'sound'"),
    ],
)
def test_a_refusal_names_the_field_and_what_would_be_right(fields: dict[str, Any], param: str, says: str) -> None:
    error = refused(film(**fields))
    assert error.param == param
    assert says in error.message


def test_nearest_takes_the_nearest_and_tells_it() -> None:
    request = film(seconds=8.0, size=Size("21:9"), params={"resolution": "4k", "steps": 1000})
    fitted = fit(request, CARD, PLAIN, "nearest")
    assert isinstance(fitted.request, VideoRequest)
    assert (fitted.request.seconds, fitted.request.size) == (10, Size("16:9"))
    assert fitted.request.params == {"steps": 99}, "a word has no nearest: it is left out"
    told = {one.parameter: (one.asked, one.used) for one in fitted.adjustments}
    assert told == {"seconds": (8, 10), "size": ("21:9", "16:9"), "resolution": ("4k", None), "steps": (1000, 99)}
    assert all("must be" in one.reason for one in fitted.adjustments)


def test_drop_leaves_out_and_tells_it() -> None:
    fitted = fit(film(seconds=8.0, params={"styl": "x"}), CARD, PLAIN, "drop")
    assert isinstance(fitted.request, VideoRequest)
    assert (fitted.request.seconds, fitted.request.params) == (None, {})
    assert {(one.parameter, one.used) for one in fitted.adjustments} == {("seconds", None), ("styl", None)}


def test_what_is_not_closed_takes_what_nobody_declared_and_what_nobody_knows_takes_all() -> None:
    request = film(seconds=10.0, params={"styl": "x"})
    assert fit(request, replace(CARD, closed=False), PLAIN).request.params == {"styl": "x"}
    assert fit(film(seconds=7.0, params={"styl": "x"}), replace(CARD, parameters={}), PLAIN).adjustments == ()


@pytest.mark.parametrize("hint", [{"quality": "auto"}, {"user": "u-1"}, {"style": "vivid"}, {"background": "auto"}])
def test_what_clients_send_unasked_is_no_wish(hint: dict[str, Any]) -> None:
    fitted = fit(film(params=hint), CARD, PLAIN)
    assert (fitted.request.params, fitted.adjustments) == ({}, ())


def test_a_hint_that_asks_for_something_is_one() -> None:
    assert refused(film(params={"quality": "high"})).code == "unsupported_parameter"


@pytest.mark.parametrize("odd", [["hd"], {"a": 1}, "x", True, 10**400, ["auto"]])
def test_a_hint_may_be_of_any_type(odd: Any) -> None:
    assert refused(film(params={"quality": odd})).param == "quality"
    assert fit(film(params={"user": odd}), CARD, PLAIN).request.params == {}


# --- what belongs to another kind of work ---


@pytest.mark.parametrize(("name", "value"), [("voice", "bob"), ("speed", 2.0), ("format", "zip")])
def test_what_is_of_another_kind_of_work_is_refused_by_a_model_that_takes_no_more(name: str, value: Any) -> None:
    error = refused(film(params={name: value}))
    assert (error.param, error.code) == (name, "unsupported_parameter")
    assert fit(film(params={name: value}), CARD, PLAIN, "drop").adjustments[0].used is None


@pytest.mark.parametrize("card", [replace(CARD, closed=False), ModelCard("open", frozenset({"t2v"}))])
def test_what_is_of_another_kind_of_work_is_left_out_by_all_others_and_told(card: ModelCard) -> None:
    fitted = fit(film(params={"voice": "bob", "styl": "x"}), card, PLAIN)
    assert fitted.request.params == {"styl": "x"}
    [told] = fitted.adjustments
    assert (told.parameter, told.asked, told.used, told.reason) == ("voice", "bob", None, "t2v has no 'voice'")


def test_what_is_of_another_kind_of_work_passes_where_the_model_says_that_it_takes_it() -> None:
    card = replace(CARD, parameters={**CARD.parameters, "voice": Parameter("string", ("bob",))})
    fitted = fit(film(params={"voice": "Bob"}), card, PLAIN)
    assert (fitted.request.params, fitted.adjustments) == ({"voice": "bob"}, ())


@pytest.mark.parametrize("closed", [True, False])
def test_speech_is_made_once(closed: bool) -> None:
    card = ModelCard("voice", frozenset({"tts"}), closed=closed)
    error = refused(SpeechRequest("voice", "Hello", params={"n": 5}), card)
    assert (error.param, error.nearest) == ("n", "1")
    assert error.message.startswith("'n' must be at most 1 with voice, not 5")
    assert fit(SpeechRequest("voice", "Hello"), card, PLAIN).adjustments == ()


# --- values together ---


@pytest.mark.parametrize(
    ("seconds", "resolution"), [(5, "720p"), (10, "720P"), (5, "1080P"), (None, "1080P"), (10, None)]
)
def test_values_that_go_together_pass(seconds: int | None, resolution: str | None) -> None:
    params = {"resolution": resolution} if resolution else {}
    assert fit(film(seconds=seconds, params=params), ROWS, PLAIN).adjustments == ()


def test_values_that_do_not_go_together_are_refused_by_the_one_that_is_wrong() -> None:
    error = refused(film(seconds=10, params={"resolution": "1080P"}), ROWS)
    assert error.param in ("seconds", "resolution")
    assert "with rows and" in error.message
    assert error.allowed in (("720P",), (5,))


def test_the_nearest_row_is_told() -> None:
    fitted = fit(film(seconds=10, params={"resolution": "1080P"}), ROWS, PLAIN, "nearest")
    assert len(fitted.adjustments) == 1
    assert fit(fitted.request, ROWS, PLAIN).adjustments == ()


# --- what the upstream makes of it ---


def test_what_the_caller_left_open_is_filled_in_and_is_no_adjustment() -> None:
    fitted = fit(film(size=Size("16:9")), CARD, WIDE)
    assert isinstance(fitted.request, VideoRequest)
    assert (fitted.request.seconds, fitted.request.size) == (5.0, Size("16:9", 1280, 720))
    assert fitted.adjustments == ()


def test_other_pixels_of_the_same_shape_are_told_whatever_the_caller_says_of_the_unsupported() -> None:
    fitted = fit(film(size=Size("1:1", 1024, 1024)), CARD, WIDE)
    [told] = fitted.adjustments
    assert (told.parameter, told.asked, told.used) == ("size", "1024x1024", "960x960")


def test_too_many_pixels_are_refused_or_made_fewer_unless_the_upstream_makes_them_fewer_itself() -> None:
    big = film(size=Size("16:9", 3840, 2160))
    few = replace(CARD, parameters={"size": Parameter("size", least=1000, most=1_000_000)})
    error = refused(big, few)
    assert "'size' must be a size from 1000 to 1000000 pixels with film, not 3840x2160" in error.message
    assert (error.param, error.code, error.nearest) == ("size", "unsupported_value", "1328x747")
    fitted = fit(big, few, PLAIN, "nearest")
    assert (fitted.request.size, len(fitted.adjustments)) == (Size("16:9", 1328, 747), 1)  # type: ignore[union-attr]
    assert fit(big, few, PLAIN, "drop").request.size is None  # type: ignore[union-attr]
    [told] = fit(big, few, WIDE).adjustments
    assert (told.parameter, told.asked, told.used) == ("size", "3840x2160", "1280x720")


def test_fitting_twice_is_fitting_once() -> None:
    once = fit(film(size=Size("1:1", 1024, 1024), params={"resolution": "1080p"}), CARD, WIDE)
    assert fit(once.request, CARD, WIDE).request == once.request


# --- inputs ---


def test_files_are_counted_and_looked_at() -> None:
    rule = InputRule(1, 2, frozenset({"image/png", "image/jpeg"}), 1000)
    card = ModelCard("edit", frozenset({"i2i"}), inputs={"i2i": rule})

    def ask(*inputs: Input) -> ImageRequest:
        return ImageRequest("edit", "redder", kind="i2i", inputs=inputs)

    fit(ask(Input("u", mime="image/png", size=1000), Input("v")), card, PLAIN)
    for wrong, says in (
        ((), "i2i by edit takes 1 to 2 images, the request has 0"),
        ((Input("u"),) * 3, "the request has 3"),
        ((Input("u", mime="image/gif"),), "takes images of the types jpeg, png, not image/gif"),
        ((Input("u", size=1001),), "at most"),
    ):
        error = refused(ask(*wrong), card)
        assert says in error.message
        assert error.param == "images"


# --- what counts as asked ---


def test_only_what_the_caller_said_counts_as_asked() -> None:
    assert given(film()) == {}
    assert given(ImageRequest("m", "p")) == {}
    assert given(ImageRequest("m", "p", n=2, seed=0)) == {"n": 2, "seed": 0}
    assert given(SpeechRequest("m", "p")) == {}
    assert given(SpeechRequest("m", "p", voice="v", speed=2.0, format="wav")) == {
        "voice": "v", "speed": 2.0, "format": "wav",
    }  # fmt: skip
    assert given(MusicRequest("m", "p", seconds=3.0)) == {"seconds": 3.0}


def test_what_cannot_be_at_all_passes_as_the_upstream_says_it() -> None:
    class Strict(Upstream):
        def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
            raise InvalidRequest("no", param="size")

    with pytest.raises(InvalidRequest, match="no"):
        fit(film(), CARD, Strict("s", None, None), "drop")  # type: ignore[arg-type]
