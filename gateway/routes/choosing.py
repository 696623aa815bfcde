"""Where a request goes, for whom it comes from."""

from __future__ import annotations

from starlette.requests import Request

from gateway.catalog.choosing import Choice
from gateway.routes.house import house_of, principal_of
from gateway.types import Kind


async def choose(
    request: Request, model: str, kind: Kind | None = None, *, inputs: bool = False, fallback: bool = True
) -> Choice:
    """As `Choosing.choose`, for the caller of a request."""
    choosing = house_of(request).choosing
    return await choosing.choose(model, kind, principal_of(request), inputs=inputs, fallback=fallback)
