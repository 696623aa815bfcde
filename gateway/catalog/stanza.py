"""Models that the operator names: what the provider knows of one, with the operator's word on top."""

from __future__ import annotations

import time
from dataclasses import replace

from gateway.config import ModelConfig
from gateway.types import Kind, ModelCard
from gateway.upstreams.base import OPERATION_OF, Upstream


def stanza_card(stanza: ModelConfig, upstream: Upstream) -> ModelCard:
    """A card for a model that a stanza names. It is the operator's own where the provider's table does not have it."""
    model = stanza.id
    own = {card.id: card for card in upstream.cards()}.get(model)
    known = own or upstream.adopt(model, None) or ModelCard(model, _all_of(upstream), created=int(time.time()))
    return replace(
        known,
        id=model,
        kinds=frozenset(stanza.kinds) or known.kinds,
        name=stanza.name or known.name,
        parameters={**known.parameters, **{name: one.parameter for name, one in stanza.parameters.items()}},
        closed=known.closed if stanza.closed is None else stanza.closed,
        together=stanza.together or known.together,
        inputs={**known.inputs, **{kind: one.rule for kind, one in stanza.inputs.items()}},
        prices=tuple(one.price for one in stanza.prices) or known.prices,
        estimate=known.estimate if stanza.estimate is None else stanza.estimate,
        default_seconds=known.default_seconds if stanza.default_seconds is None else stanza.default_seconds,
        custom=own is None,
    )


def _all_of(upstream: Upstream) -> frozenset[Kind]:
    """Whatever an upstream can do: so much may a model do that nobody knows."""
    return frozenset(kind for kind, operation in OPERATION_OF.items() if operation in upstream.operations())
