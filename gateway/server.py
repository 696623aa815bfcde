"""The process that listens: uvicorn with an orderly end.

sys.exit(serve(app, host="127.0.0.1", port=3264, drain=drain))
"""

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import HANDLED_SIGNALS

from gateway.drain import LAST_WORDS_SECONDS, Drain
from gateway.protocol import Limits, Protocol

if sys.platform != "win32":
    import resource

__all__ = ["Limits", "Protocol", "Server", "serve"]

BACKLOG: Final = 2048
KEEP_ALIVE_SECONDS: Final = 75
GRACE_SECONDS: Final = 30.0
ABANDON_SECONDS: Final = 1.5
"""How long anything may hold the process up once it has to be gone."""
CLOSING_SECONDS: Final = 2.5
"""What the application's own shutdown gets, on top of the grace that requests left unused."""
FLUSH_POLL_SECONDS: Final = 0.02
GC_THRESHOLDS: Final = (20_000, 20, 50)
"""A relay makes little garbage that needs collecting: looking for it at every 700 objects is a cost for nothing."""
DESCRIPTORS: Final = 65_536


def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    drain: Drain,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    grace: float = GRACE_SECONDS,
    pre_stop: float = 0.0,
    keep_alive: int = KEEP_ALIVE_SECONDS,
    trusted_proxies: Sequence[str] = (),
    on_ready: Callable[[str, int], None] = lambda _host, _port: None,
    on_hangup: Callable[[], None] = lambda: None,
) -> int:
    """Serve `app` until a signal ends it, and return the exit code of the process. Call it in the main thread.

    Seconds: `grace` for requests alive when the signal comes, `pre_stop` between the signal and closing the port, so
    that load balancers look away first, `keep_alive` for idle connections. `X-Forwarded-*` is believed only from
    `trusted_proxies` (addresses or networks). `on_ready(host, port)` is told the real address once it is open.
    `on_hangup()` is called on the event loop for a SIGHUP; one that comes earlier waits until the port is open.
    """
    try:
        sockets = _bind(host, port)
    except OSError as error:
        return _refuse_to_start(host, port, error)
    config = Config(
        app,
        http=Protocol.within(_affordable(limits)),
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        workers=1,
        backlog=BACKLOG,
        timeout_keep_alive=keep_alive,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
    )
    server = Server(config, drain=drain, grace=grace, pre_stop=pre_stop, on_ready=on_ready, on_hangup=on_hangup)
    with server.signals(), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        try:
            runner.run(server.serve(sockets))
        except asyncio.CancelledError:
            pass  # abandoned; the exit code says how
        except OSError as error:  # another process took the port between bind and listen
            return _refuse_to_start(host, port, error)
        except SystemExit:  # uvicorn has logged why the application would not start
            return 1
        return server.exit_code


def _affordable(limits: Limits) -> Limits:
    """Allow the process the descriptors it needs, and connections half of them: each stream needs another upstream."""
    if sys.platform == "win32":
        return limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # a system may promise more than it gives
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return limits
    return replace(limits, connections=min(limits.connections, soft // 2))


def _bind(host: str, port: int) -> list[socket.socket]:
    """A bound socket for every address of `host`, before anything is started that a taken port would waste."""
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(infos):
        real = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (address[0], real, *address[2:])))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                _close(sockets)
                raise
            failure = error  # such as ::1 for localhost on a machine without IPv6
    if failure is not None and not sockets:
        raise failure
    return sockets


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    # The protocol is named: asyncio turns Nagle's algorithm off only on sockets that say they are TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _refuse_to_start(host: str, port: int, error: OSError) -> int:
    reasons = {
        errno.EADDRINUSE: "it is already in use; stop the other program or choose another port with PORT",
        errno.EACCES: "this user may not; choose a port above 1023 with PORT",
        errno.EADDRNOTAVAIL: "this machine has no such address; choose another with HOST",
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    sys.stderr.write(f"cannot listen on {host} port {port}: {reason}\n")
    return 1


class Server(uvicorn.Server):
    """uvicorn's server with an end of its own: live requests finish or are told, and the exit code says it went well.

    First signal: readiness turns red, after `pre_stop` seconds nothing new is accepted, idle connections close, live
    requests get `grace` seconds, the rest is cancelled, the application closes, exit code 0.
    A second one, or any before the server listens: everything is cancelled, the process is gone within two seconds.
    A third: it is gone.
    SIGHUP ends nothing, unless the terminal that it was started from was closed.
    """

    def __init__(
        self,
        config: Config,
        *,
        drain: Drain,
        grace: float,
        pre_stop: float,
        on_ready: Callable[[str, int], None],
        on_hangup: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self.exit_code = 0
        self._drain, self._grace, self._pre_stop = drain, grace, pre_stop
        self._on_ready, self._on_hangup = on_ready, on_hangup
        self._ready = self._hung_up = False
        self._terminal = False
        """Whether closing a terminal is to end it: it was started from one, and not by `nohup`."""
        self._main: asyncio.Task[object] | None = None
        self._abandoned = False

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._main = asyncio.current_task()
        if not self.should_exit:
            await self._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What startup made lives as long as the process: no later collection needs to walk it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._on_ready(host, port)
        self._ready = True
        if self._hung_up:
            self._on_hangup()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain.begin()
        await asyncio.sleep(self._pre_stop)
        loop = asyncio.get_running_loop()
        over = loop.time() + self._grace + LAST_WORDS_SECONDS
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        await self._drain.finish(self._grace)
        await self._flush(over)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(max(over, loop.time()) + CLOSING_SECONDS):
                await self.lifespan.shutdown()
        self._leave_within(ABANDON_SECONDS)

    async def _flush(self, over: float) -> None:
        """Let answers already given reach their readers: a transport drops what it holds when the loop ends."""
        loop = asyncio.get_running_loop()
        while self.server_state.connections and loop.time() < over:  # noqa: ASYNC110 - uvicorn keeps a bare set
            await asyncio.sleep(FLUSH_POLL_SECONDS)

    # Signals. These run between any two instructions: they set values and wake the loop, nothing else.

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Handle the stopping signals until the loop is closed, and never raise them again as uvicorn does."""
        before: dict[int, Any] = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        if sys.platform != "win32":
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self.handle_hangup)
            self._terminal = before[signal.SIGHUP] is not signal.SIG_IGN and _has_terminal()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        try:
            yield
        finally:
            _alarm_off()
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        again, self.should_exit = self.should_exit, True
        self._drain.begin()
        if again or not self.started:
            self._abandon(128 + sig if again else 0)

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        if self._terminal and not _has_terminal():
            if not self.should_exit:  # a shell that goes may tell it once more
                self.handle_exit(sig, frame)
            return
        if not self._ready:
            self._hung_up = True
        elif self._main is not None and not self._main.done():
            self._main.get_loop().call_soon_threadsafe(self._on_hangup)

    def _abandon(self, code: int) -> None:
        if self._abandoned:
            os._exit(code)
        self._abandoned, self.exit_code = True, code
        self._drain.expire()
        self._leave_within(ABANDON_SECONDS)
        if self._main is None or self._main.done():
            return
        if hasattr(self, "lifespan"):
            # Cancelling the application is our doing: uvicorn logs it as a crash unless told that it failed.
            self.lifespan.startup_failed = self.lifespan.shutdown_failed = True
        self._main.get_loop().call_soon_threadsafe(self._main.cancel)

    def _leave_within(self, seconds: float) -> None:
        """End the process whatever still runs then: a task deaf to cancellation, a thread nobody can stop."""
        _alarm(seconds, self.exit_code)


def _has_terminal() -> bool:
    """Whether the process still has a terminal that could send it signals."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


if sys.platform == "win32":

    def _alarm(seconds: float, code: int) -> None:
        timer = threading.Timer(seconds, os._exit, (code,))
        timer.daemon = True
        timer.start()

    def _alarm_off() -> None:
        """The thread ends with the process."""

else:

    def _alarm(seconds: float, code: int) -> None:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(code))
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _alarm_off() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
