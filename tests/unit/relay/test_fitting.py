"""Who is asked where the first does not take a request: the same model elsewhere, and never another in its place."""

from __future__ import annotations

import pytest

from gateway.errors import GatewayError, NoAccount, Unsupported
from gateway.relay import Relay
from gateway.types import NO_WISHES, Candidate, Fitted, ImageRequest, MediaRequest, ModelCard, OnUnsupported

ASKED = ImageRequest("m", "p")
TAKES, REFUSES, GONE = "takes", "refuses", "gone"


def fit(request: MediaRequest, candidate: Candidate, policy: OnUnsupported | None) -> Fitted:
    if candidate.upstream.startswith(REFUSES):
        raise Unsupported("no", param="size")
    if candidate.upstream.startswith(GONE):
        raise NoAccount
    return Fitted(request)


def asked_of(*places: str) -> list[tuple[str, type[GatewayError] | None]]:
    """Who is asked, and what they have against it. A place is written `upstream model`."""
    relay = Relay({}, {}, None, None, None, None, fit=fit)  # type: ignore[arg-type]
    candidates = [Candidate(one.split()[0], ModelCard(one.split()[1], frozenset({"t2i"}))) for one in places]
    return [
        (found.upstream, type(error) if error else None)
        for found, _, error in relay.fitting(ASKED, candidates, NO_WISHES)
    ]


@pytest.mark.parametrize(
    ("places", "asked"),
    [
        (("takes1 m", "takes2 m", "takes3 other"), [("takes1", None), ("takes2", None), ("takes3", None)]),
        (("refuses1 m", "takes2 other"), [("refuses1", Unsupported)]),
        (("refuses1 m", "refuses2 m", "takes3 other"), [("refuses1", Unsupported), ("refuses2", Unsupported)]),
        (("refuses1 m", "takes2 m", "takes3 other"), [("refuses1", Unsupported), ("takes2", None), ("takes3", None)]),
        (
            ("takes1 m", "refuses2 other", "takes3 third"),
            [("takes1", None), ("refuses2", Unsupported), ("takes3", None)],
        ),
        (("gone1 m", "takes2 other"), [("gone1", NoAccount), ("takes2", None)]),
    ],
)
def test_another_model_is_no_answer_to_a_value_that_the_first_does_not_take(
    places: tuple[str, ...], asked: list[tuple[str, type[GatewayError] | None]]
) -> None:
    assert asked_of(*places) == asked
