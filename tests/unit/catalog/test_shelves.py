"""What upstreams have: looked at anew only where it changed."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.catalog.shelves import MADE_ANEW_SECONDS, Shelves
from gateway.types import ModelCard
from tests.unit.catalog.test_models import Shelf, card, catalog


class Anew(Shelf):
    """Makes its cards whenever it is asked."""

    asked = 0

    def cards(self) -> Sequence[ModelCard]:
        self.asked += 1
        return [card(one.id, *one.kinds) for one in self.own]


def test_the_same_tuple_is_the_same_shelf_and_another_one_is_seen_at_once() -> None:
    shelves, up = Shelves(clock=lambda: 0.0), Shelf("up", card("a"))
    first = shelves.of(up, (), None)
    assert shelves.of(up, (), None) is first
    up.own = (card("a"), card("b"))
    assert list(shelves.of(up, (), None)) == ["a", "b"]
    up.own = (card("b"),)
    assert list(shelves.of(up, (), None)) == ["b"]


def test_cards_made_anew_are_gone_by_for_a_second_once_they_were_the_same() -> None:
    now = [0.0]
    shelves, up = Shelves(clock=lambda: now[0]), Anew("up", card("a"))
    first = shelves.of(up, (), None)
    for _ in range(5):
        assert shelves.of(up, (), None) is first
    assert up.asked == 2
    up.own = (card("b"),)
    now[0] += MADE_ANEW_SECONDS
    assert list(shelves.of(up, (), None)) == ["b"]


def test_what_the_operator_names_and_what_the_list_says_count_at_once() -> None:
    shelves, up = Shelves(clock=lambda: 0.0), Shelf("up", card("a"), card("b"))
    assert list(shelves.of(up, (), None)) == ["a", "b"]
    live = {"new": card("new"), "b": card("b", "t2i")}
    told = shelves.of(up, (), live)
    assert (list(told), told["b"].kinds) == (["new", "b"], {"t2t"})
    assert list(shelves.of(up, (card("named"),), live)) == ["named"]
    assert list(shelves.of(up, (), live)) == ["new", "b"]
    assert list(shelves.of(Shelf("up", card("c")), (), None)) == ["c"]


def test_lists_of_the_catalogue_follow_a_provider_that_changes() -> None:
    up = Shelf("up", card("a"), card("draws", "t2i"))
    found = catalog(up, Shelf("other", card("a")), aliases={"nick": "a"})
    assert [one.id for one in found.cards()] == ["a", "draws", "nick"]
    assert found.card("a").extra["upstreams"] == ["up", "other"]
    assert found.others("t2t") is found.others("t2t")
    up.own = (card("b"),)
    assert [one.id for one in found.cards()] == ["b", "a", "nick"]
    assert [(source.upstream.name, one.id) for source, one in found.others("t2t")] == [("up", "b"), ("other", "a")]
    assert found.others("t2i") == ()
    found.cards().clear()
    assert len(found.cards()) == 3
