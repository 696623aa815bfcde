"""How the site answers: envelopes, refusals, pages, and what it refuses in general."""

import json
import uuid
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tests.emulators.qwen.records import Chat, Person

HTML = "<!doctype html><html><head><title>Qwen</title></head><body><div id='root'></div></body></html>"


class Refuse(Exception):
    def __init__(self, code: str, details: str = "", num: Any = None) -> None:
        super().__init__(code)
        self.answer = code, details, num


def ok(body: Any, status: int = 200, actual: int | None = None) -> Response:
    return JSONResponse(body, status, {"x-actual-status-code": str(actual or status)})


def success(data: Any) -> Response:
    return ok({"success": True, "request_id": str(uuid.uuid4()), "data": data})


def refusal(code: str, details: str, num: Any = None, status: int = 200, actual: int | None = None) -> Response:
    data = {"code": code, "details": details, "template": "", "num": num}
    return ok({"success": False, "request_id": str(uuid.uuid4()), "data": data}, status, actual)


def xml(status: int, code: str, signed: str = "") -> Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><StringToSign>{signed}</StringToSign></Error>"
    return Response(text, status, media_type="application/xml")


async def page(request: Request) -> Response:
    return HTMLResponse(HTML, 404)


def need(held: bool, details: str) -> None:
    if not held:
        raise Refuse("Bad_Request", details)


def chat_of(person: Person, chat_id: str) -> Chat:
    if chat_id not in person.chats:
        raise Refuse("Not_Found", "Chat not found")
    return person.chats[chat_id]


def file_of(person: Person, file_id: Any) -> dict[str, Any]:
    if file_id not in person.files:
        raise Refuse("Not_Found", "File not found")
    return person.files[file_id]


async def body_of(request: Request) -> Any:
    data = await request.body()
    with suppress(ValueError):
        return json.loads(data) if data else {}
    return data
