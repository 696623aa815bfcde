"""`continue_from`: going on from an earlier result, by the id of an asset, a response or a task.

What it comes to is in the words of the API itself: an image goes in as one of `files`, a turn of a chat as `parentId`,
and where there are no chats, as the messages before this one. So it survives restarts, and goes on at the account that
holds a chat, as these do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request

from gateway.errors import Conflict, InvalidRequest
from gateway.routes.house import house_of, principal_of
from gateway.types import ChatRequest, Kind
from gateway.wire import body as wire_body
from gateway.wire import native, openai_chat

FIELD: Final = "continue_from"
_MADE = re.compile(r"\[image (asset_[0-9a-f]{32})\]")
_IMAGES: Final = ("images", "image", "first_frame", "last_frame", "reference_images")

Body = Mapping[str, msgspec.Raw]


async def continued(request: Request, body: Body, *, in_chat: bool = True, kind: Kind | None = None) -> Body:
    """The body with what `continue_from` names put in. `in_chat`: whether answers belong to conversations here.
    `kind`: what is made here whatever the body says; None: as it says.

    Raises InvalidRequest, also for what has nothing that the kind could go on from, NotFound for what is not the
    caller's, and Conflict for a task that goes on.
    """
    name = wire_body.text(body, FIELD) if FIELD in body else None
    if name is None:
        return body
    if name.startswith("asset_"):
        return await _with_image(request, body, name)
    if name.startswith("task_"):
        return await _from_task(request, body, name, kind)
    if name.startswith("resp_"):
        return await _from_turn(request, body, name, in_chat, kind)
    raise InvalidRequest(f"'{FIELD}' must be the id of an asset, a response or a task", param=FIELD)


async def _with_image(request: Request, body: Body, asset_id: str) -> Body:
    given = next((name for name in _IMAGES if name in body), None)
    if given is not None:
        raise InvalidRequest(f"'{FIELD}' brings an image itself: leave out '{given}'", param=given)
    asset = await house_of(request).library.get(asset_id, principal_of(request).id)
    if asset.family != "image":
        raise InvalidRequest(
            f"only images and texts can be gone on from; {asset_id} is {_a(asset.family)}", param=FIELD
        )
    files = wire_body.read_any(body, "files", list[Any]) or []
    found = {**body, "files": _raw([*files, asset_id])}
    if native.kind(body) is None and not wire_body.text(body, "model"):
        found["chatType"] = _raw("i2i")
    return found


async def _from_turn(request: Request, body: Body, turn_id: str, in_chat: bool, kind: Kind | None) -> Body:
    """On in the conversation; what was made there goes in where something is to be made again."""
    conversation = await house_of(request).conversations.open(principal_of(request).id, None, turn_id)
    said = openai_chat.text(conversation.earlier[-1].get("content")) if conversation.earlier else ""
    made = _MADE.findall(said)
    if made and (kind or _kind(request, body, "t2i")) != "t2t":
        body = await _with_image(request, body, made[-1])
    if in_chat:
        return {**body, "parentId": _raw(turn_id)}
    if (kind or _kind(request, body, "t2t")) == "t2t":
        return _after(body, conversation.earlier)
    if not made:
        raise _no_image(turn_id)
    return body


async def _from_task(request: Request, body: Body, task_id: str, kind: Kind | None) -> Body:
    task = await house_of(request).tasks.get(task_id, principal_of(request))
    if not task.final:
        raise Conflict("the task goes on", code="task_not_final", task_id=task_id, advice="Wait for its end first")
    if task.answer is not None and isinstance(task.request, ChatRequest):
        if (kind or _kind(request, body, "t2t")) != "t2t":
            raise _no_image(task_id)
        asked = openai_chat.messages(task.request)
        return _after(body, [*asked, {"role": "assistant", "content": task.answer}])
    made = [output.asset_id for output in task.outputs if output.asset_id]
    if not made:
        raise InvalidRequest("the task made nothing to go on from", param=FIELD)
    return await _with_image(request, body, made[-1])


def _no_image(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name} has no image to go on from", param=FIELD)


def _kind(request: Request, body: Body, usual: Kind) -> Kind:
    """What the body asks for, by its kind or its model."""
    kind, model = native.kind(body), wire_body.text(body, "model")
    if kind is not None:
        return kind
    return house_of(request).catalog.resolve(model).kind if model else usual


def _after(body: Body, earlier: list[dict[str, Any]]) -> Body:
    messages = wire_body.read(body, "messages", list[dict[str, Any]]) or []
    return {**body, "messages": _raw([*earlier, *messages])}


def _a(family: str) -> str:
    return f"an {family}" if family[0] in "aeiou" else f"a {family}"


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
