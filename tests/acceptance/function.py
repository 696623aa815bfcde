"""The gateway as a function: the handlers of examples/ in a process that is frozen whenever it is not answering.

Run as a program it is the platform's side inside that process: it imports the handler and answers a line of JSON for
each line of JSON that it is sent.
"""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
KEY = "a-key-for-the-function-1"


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Function:
    """One instance, from its cold start to its end."""

    def __init__(self, platform: str, home: Path, env: Mapping[str, str]) -> None:
        self.platform = platform
        here = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.log = (home.parent / f"{home.name}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.function", platform],
            cwd=home,
            env={**here, "PYTHONPATH": path, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        self._said()
        self.freeze()

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = KEY, **headers: str) -> Told:
        """One invocation; before it and after it nothing in the process moves."""
        said = {"host": "function.example", "content-type": "application/json", "x-forwarded-proto": "https", **headers}
        if key is not None:
            said["authorization"] = f"Bearer {key}"
        path, _, query = path.partition("?")
        return self.invoke(event(method, path, query, said, "" if body is None else json.dumps(body)))

    def invoke(self, sent: Mapping[str, Any]) -> Told:
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(sent).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self._said())
        self.freeze()
        text = answer.get("body", "")
        whole = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
        return Told(answer["statusCode"], answer.get("headers", {}), whole)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """As platforms do: without a word."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe is not None:
                pipe.close()

    def _said(self) -> bytes:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the function ended: {Path(self.log.name).read_text()[-3000:]}"
        return line


def event(method: str, path: str, query: str, headers: Mapping[str, str], body: str) -> dict[str, Any]:
    """An event as API Gateway (version 2) and function URLs make it."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": dict(headers),
        "requestContext": {"http": {"method": method, "path": path, "sourceIp": "198.51.100.7"}},
        "body": body,
        "isBase64Encoded": False,
    }


# --- inside the process ---


def aws_lambda() -> Any:
    sys.path.insert(0, str(EXAMPLES / "aws_lambda"))
    import handler  # type: ignore[import-not-found]

    return lambda sent: handler.handler(sent, object())


def vercel() -> Any:
    """No lifespan, and a new event loop for every request."""
    sys.path.insert(0, str(EXAMPLES / "vercel" / "api"))
    import index  # type: ignore[import-not-found]

    return lambda sent: asyncio.run(_cycle(index.app, sent))


async def _cycle(app: Any, sent: dict[str, Any]) -> dict[str, Any]:
    http = sent["requestContext"]["http"]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": http["method"],
        "scheme": "https",
        "path": http["path"],
        "raw_path": http["path"].encode(),
        "root_path": "",
        "query_string": sent["rawQueryString"].encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent["headers"].items()],
        "client": (http["sourceIp"], 0),
        "server": ("function.example", 443),
    }
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": sent["body"].encode(), "more_body": False})
    answer: dict[str, Any] = {"isBase64Encoded": True}
    body = b""

    async def send(message: dict[str, Any]) -> None:
        nonlocal body
        if message["type"] == "http.response.start":
            answer["statusCode"] = message["status"]
            answer["headers"] = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            inbox.put_nowait({"type": "http.disconnect"})

    await app(scope, inbox.get, send)
    return {**answer, "body": base64.b64encode(body).decode()}


def main() -> None:
    said, sys.stdout = sys.stdout, sys.stderr
    answer = {"aws_lambda": aws_lambda, "vercel": vercel}[sys.argv[1]]()
    print("ready", file=said, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=said, flush=True)


if __name__ == "__main__":
    main()
