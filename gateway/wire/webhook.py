"""Where a caller wants to hear of its task: `webhook_url` and `webhook_events`, or `webhook: {url, events}`."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Mapping
from typing import get_args

import msgspec
from yarl import URL

from gateway.errors import GatewayError, InvalidRequest
from gateway.http import PUBLIC_PORTS, fetchable, is_public
from gateway.types import Webhook, WebhookEvent
from gateway.wire import body as wire_body

MAX_URL = 2048
EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)

Body = Mapping[str, msgspec.Raw]


def webhook_of(body: Body, trusted: Collection[URL] = ()) -> Webhook | None:
    """The webhook that a body names; None where it names none. `trusted`: origins that need not be public.

    Raises InvalidRequest, with the code `invalid_url` for a URL that nothing could be sent to.
    """
    nested = wire_body.read(body, "webhook", dict[str, msgspec.Raw])
    if nested is None:
        return _webhook(body, "webhook_url", "webhook_events", trusted)
    if any(bytes(body.get(name, b"null")) != b"null" for name in ("webhook_url", "webhook_events")):
        raise InvalidRequest("give 'webhook' or 'webhook_url', not both", param="webhook")
    named = {f"webhook.{name}": raw for name, raw in nested.items()}
    found = _webhook(named, "webhook.url", "webhook.events", trusted)
    if found is None:
        raise _url_missing("webhook.url", "webhook")
    return found


def origins(urls: Iterable[str]) -> frozenset[URL]:
    """Scheme, host and port of each, in the one spelling they are compared by."""
    return frozenset(URL(url).origin() for url in urls)


def spelled(url: str) -> str:
    """A URL the way it will be dialled: one receiver is not two for a capital letter. As given where it is none."""
    try:
        return str(URL(url))
    except ValueError:
        return url


def origin_of(url: str) -> str:
    """The beginning of a spelled URL that names the receiver; the whole of what is no URL."""
    try:
        return str(fetchable(url).origin())
    except GatewayError:
        return url


def _webhook(body: Body, url_name: str, events_name: str, trusted: Collection[URL]) -> Webhook | None:
    url = wire_body.text(body, url_name)
    events = wire_body.read(body, events_name, list[str])
    if url is None and events is not None:
        raise _url_missing(url_name, events_name)
    if url is None:
        return None
    found = _checked(url, url_name, trusted)
    return Webhook(found) if events is None else Webhook(found, _events(events, events_name))


def _url_missing(name: str, given: str) -> InvalidRequest:
    said = f"'{name}' is required where '{given}' is given"
    return InvalidRequest(said, param=name, code="missing_required_parameter")


def _checked(url: str, name: str, trusted: Collection[URL]) -> str:
    """A URL in its one spelling. Names are looked up and checked when they are dialled, not here."""
    parsed = None
    if len(url) <= MAX_URL and url.isprintable() and not set(url) & set(" \\#"):
        try:
            parsed = fetchable(url)
        except InvalidRequest:
            parsed = None
    if parsed is None:
        raise InvalidRequest(
            f"'{name}' must be an absolute http:// or https:// URL of at most {MAX_URL} characters, "
            "without user name and fragment",
            param=name,
            code="invalid_url",
        )
    if parsed.origin() not in trusted and (parsed.port not in PUBLIC_PORTS or _is_private(parsed.host or "")):
        raise InvalidRequest(f"'{name}' must lead to a public address, port 80 or 443", param=name, code="invalid_url")
    return str(parsed)


def _events(found: list[str], name: str) -> tuple[WebhookEvent, ...]:
    known = tuple(event for event in EVENTS if event in found)
    wrong = next((event for event in found if event not in EVENTS), None)
    if wrong is not None or not known:
        said = f"'{name}' {wrong[:40]!r} is unknown" if wrong is not None else f"'{name}' must name at least one event"
        raise InvalidRequest(f"{said}: use any of {', '.join(EVENTS)}", param=name)
    return known


def _is_private(host: str) -> bool:
    """Whether a host says by itself that it is not public: a private address however it is written, or localhost."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not is_public(name)
    except ValueError:
        pass
    try:
        return not is_public(socket.inet_ntoa(socket.inet_aton(name)))
    except OSError:
        return False
