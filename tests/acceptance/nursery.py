"""Gateways that begin at once, for tests that need many: one process imports everything, and every gateway is its fork.

    with nursery("gateway.tasks.submission.SETTLED_SECONDS=10") as begin:
        Gateway(home, config, begin=begin).start()

What is forked is `mediagate serve` and nothing else, in a session and with an environment of its own; only the second
that Python takes to import it is saved. Constants that make a gateway wait long may be named with a shorter value: what
it does is the same, only sooner.
"""

import ast
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.acceptance.gateway_process import ROOT, Begin

IMPORTED = (
    "gateway.app",
    "gateway.banner",
    "gateway.cli",
    "gateway.server",
    "gateway.state.redis",
    "asyncpg",
    "uvloop",
)


class Forked:
    """A gateway that is not our child, held by its pidfd: a number that is used again cannot be mistaken for it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code is its parent's to know: 0 stands for any."""
        return 0 if select.select([self._fd], [], [], 0)[0] else None

    def wait(self, timeout: float | None = None) -> int:
        if not select.select([self._fd], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("mediagate serve", timeout or 0.0)
        return 0

    def send_signal(self, sig: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._fd)


@contextmanager
def nursery(*constants: str) -> Iterator[Begin]:
    """What begins gateways, each `module.NAME=value` changed in all of them."""
    command = [sys.executable, "-m", "tests.acceptance.nursery", *constants]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as mother:
        assert mother.stdin is not None
        assert mother.stdout is not None
        asked, told = mother.stdin, mother.stdout
        assert told.readline() == "ready\n"

        def begin(home: Path, env: Mapping[str, str]) -> Forked:
            (home / "out").write_bytes(b"")
            (home / "log").touch()
            asked.write(json.dumps({"home": str(home), "env": dict(env)}) + "\n")
            asked.flush()
            forked = Forked(int(told.readline()))
            asked.write("held\n")  # a child that ended at once is kept until now, and so is its number
            asked.flush()
            return forked

        try:
            yield begin
        finally:
            asked.close()


# --- inside the mother ---


def _main(constants: list[str]) -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("gateway.upstreams").types()
    for constant in constants:
        place, _, value = constant.partition("=")
        module, _, name = place.rpartition(".")
        assert hasattr(importlib.import_module(module), name), f"there is no {place}"
        setattr(importlib.import_module(module), name, ast.literal_eval(value))
    _tell("ready")
    while line := sys.stdin.readline():
        pid = os.fork()
        if not pid:
            _serve(**json.loads(line))
        _tell(pid)
        sys.stdin.readline()
        _reap()


def _tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _serve(home: str, env: dict[str, str]) -> None:
    """`mediagate serve`, as it would be in a process that was begun for it."""
    os.setsid()
    os.chdir(home)
    for name, number, how in (
        (os.devnull, 0, os.O_RDONLY),
        ("out", 1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ("log", 2, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        file = os.open(name, how, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["mediagate", "serve"]
    importlib.import_module("gateway.cli").main()
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1:])
