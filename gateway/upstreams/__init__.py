"""The providers, found by looking: every module of this folder, and strangers by the entry point group."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from gateway.upstreams.base import Upstream

ENTRY_POINT_GROUP = "gateway.upstreams"


@cache
def types() -> dict[str, type[Upstream]]:
    """Every provider by the word that a stanza's `type:` names it with."""
    found: dict[str, type[Upstream]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Upstream) and value.type_name:
                found[value.type_name] = value
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        stranger = entry.load()
        found.setdefault(stranger.type_name, stranger)
    return found
