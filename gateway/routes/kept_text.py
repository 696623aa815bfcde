"""Answers in text that become assets: where a request asks to `store` them, or the operator keeps them all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import structlog
from starlette.requests import Request

from gateway.assets.library import Origin
from gateway.errors import Unavailable
from gateway.relay import Relayed
from gateway.routes.house import house_of, note, principal_of, request_id_of
from gateway.types import ChatRequest, Event
from gateway.wire import openai_chat

log = structlog.get_logger(__name__)


def kept(request: Request, chat: ChatRequest) -> KeptText | None:
    """What keeps the answer; None where nobody wants it kept. Raises InvalidRequest where `store` is no boolean."""
    if openai_chat.to_be_kept(chat, house_of(request).config.library.keep_text):
        return KeptText(request, chat)
    return None


class KeptText:
    """One answer on its way: its text is noted, and kept once it ended well."""

    def __init__(self, request: Request, chat: ChatRequest) -> None:
        self._request = request
        self._prompt = openai_chat.asked(chat)
        self._said: list[str] = []
        self.asset_id: str | None = None
        """Set once it is kept."""

    async def heard(self, relayed: Relayed, events: AsyncIterator[Event]) -> AsyncGenerator[Event]:
        """The same events. An answer cut short is no asset; one that cannot be kept now is still an answer."""
        async for event in events:
            self._said.append(openai_chat.said(event))
            yield event
        if text := "".join(self._said).strip():
            await self._keep(relayed, text)

    async def _keep(self, relayed: Relayed, text: str) -> None:
        origin = Origin(
            owner=principal_of(self._request).id,
            kind="t2t",
            model=relayed.candidate.card.id,
            upstream=relayed.upstream,
            account=relayed.account,
            prompt=self._prompt,
            request_id=request_id_of(self._request),
        )
        try:
            written = await house_of(self._request).relay.ingest.write(text, origin)
        except Unavailable as error:
            note(self._request, text_not_kept=error.code)
            log.warning("text not kept", code=error.code, detail=error.detail)
            return
        self.asset_id = written.asset_id
        house_of(self._request).meter.charge(written.asset_id, relayed.usage, relayed.took)
        note(self._request, asset=written.asset_id)
