"""Runs an ASGI app on a real socket inside the test's own event loop; every emulator is served by it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send


@asynccontextmanager
async def serve(app: ASGIApp) -> AsyncIterator[str]:
    """Serves `app` on a free port of 127.0.0.1 and yields its base URL, e.g. "http://127.0.0.1:43211".

    A handler may call `request.scope["reset"]()`: the connection is cut at once with an RST, as a crashing upstream
    would. On leaving, connections are cut, requests still being answered are cancelled and the server is awaited, so
    nothing outlives the test.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or pieces wait for each other and die in a reset
    config = uvicorn.Config(
        _resettable(app), lifespan="off", log_config=None, access_log=False, ws="none", proxy_headers=False
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="emulator")
    try:
        while not server.started:
            if running.done():
                running.result()
                raise RuntimeError("the emulator's server stopped before it started")
            await asyncio.sleep(0.001)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await running
        listener.close()


def _resettable(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        scope["reset"] = lambda: _reset(transport)
        with suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return wrapped


def _reset(transport: Any) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Server(uvicorn.Server):
    """Leaves the process's signal handlers alone, since it runs inside a test, and stops at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
