"""An application with nothing in it but what a server can get wrong: `python -m tests.acceptance.tiny_app '{…}'`.

The JSON holds `host`, `port`, `grace`, `pre_stop`, `startup` (seconds the start takes) and `limits`.
Prints `starting`, `ready <host> <port>`, `hangup` for each SIGHUP, `closed`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope, Send

from gateway.drain import Drain
from gateway.server import Limits, serve

Query = dict[str, str]


class TinyApp:
    """Each path is one way to be busy."""

    def __init__(self, drain: Drain, startup: float) -> None:
        self.drain = drain
        self.startup = startup
        self.routes: dict[str, Callable[[Query, Scope, Receive, Send], Awaitable[None]]] = {
            "/echo": self.echo,
            "/early": self.early,
            "/late": self.late,
            "/stream": self.stream,
            "/slow": self.slow,
            "/deaf": self.deaf,
            "/blocked": self.blocked,
            "/thread": self.thread,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.lifespan(receive, send)
        with self.drain.track():
            query = dict(parse_qsl(scope["query_string"].decode()))
            return await self.routes[scope["path"]](query, scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        print("starting", flush=True)  # noqa: T201
        await asyncio.sleep(self.startup)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("closed", flush=True)  # noqa: T201
        await send({"type": "lifespan.shutdown.complete"})

    async def echo(self, _query: Query, scope: Scope, receive: Receive, send: Send) -> None:
        """What arrived: path, body length, names of the headers, and whether readiness is red."""
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                print("left", flush=True)  # noqa: T201
                return
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        names = [name.decode() for name, _ in scope["headers"]]
        answer = {"path": scope["path"], "size": size, "headers": names, "draining": self.drain.draining}
        await answer_json(send, answer)

    async def early(self, query: Query, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Answers without reading the body."""
        await answer_json(send, {"early": True}, (b"connection", query["connection"].encode()), status=413)

    async def late(self, query: Query, scope: Scope, receive: Receive, send: Send) -> None:
        """Asks for the body only after a while."""
        await asyncio.sleep(float(query["seconds"]))
        await self.echo(query, scope, receive, send)

    async def stream(self, query: Query, _scope: Scope, _receive: Receive, send: Send) -> None:
        """`count` numbered chunks, `gap` seconds apart, with a last word when the drain cuts it short."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for number in range(int(query["count"])):
                await send(chunk(f"{number}\n"))
                await asyncio.sleep(float(query["gap"]))
        except asyncio.CancelledError:
            if not self.drain.expired:
                raise
            await send(chunk("shutting_down\n"))
        await send(chunk("end\n", more=False))

    async def slow(self, query: Query, _scope: Scope, _receive: Receive, send: Send) -> None:
        await asyncio.sleep(float(query["seconds"]))
        await answer_json(send, {"slow": True})

    async def deaf(self, _query: Query, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Swallows every cancellation."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(chunk("0\n"))
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    async def blocked(self, query: Query, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Holds the whole event loop."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(chunk("0\n"))
        await asyncio.sleep(0.05)
        time.sleep(float(query["seconds"]))

    async def thread(self, query: Query, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Leaves a thread behind that nobody can stop."""
        asyncio.get_running_loop().run_in_executor(None, time.sleep, float(query["seconds"]))
        await answer_json(send, {"thread": True})


def chunk(text: str, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


async def answer_json(send: Send, answer: dict[str, Any], *more: tuple[bytes, bytes], status: int = 200) -> None:
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(options: dict[str, Any]) -> int:
    drain = Drain()
    return serve(
        TinyApp(drain, options.get("startup", 0.0)),
        host=options.get("host", "127.0.0.1"),
        port=options.get("port", 0),
        drain=drain,
        limits=Limits(**options.get("limits", {})),
        grace=options.get("grace", 5.0),
        pre_stop=options.get("pre_stop", 0.0),
        on_ready=lambda host, port: print("ready", host, port, flush=True),  # noqa: T201
        on_hangup=lambda: print("hangup", flush=True),  # noqa: T201
    )


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
