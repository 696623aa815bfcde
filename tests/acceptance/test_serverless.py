"""The gateway as a function: frozen between requests, killed at any time, with nothing in the background."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from gateway.routes import TABLE
from tests.acceptance.function import EXAMPLES, KEY, ROOT, Function
from tests.acceptance.gateway_process import eventually, served
from tests.acceptance.native import SANDBOX, SMALL, size_of
from tests.unit.db.conftest import schema

CRON_SECRET = "a-secret-for-the-cron-1"
VIDEO = {**SMALL, "waitForCompletion": False}
CHAT = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "hi"}]}
POLLS = 20
Start = Callable[[], Function]


class Platform:
    """A function as it is deployed, and the database that its instances share."""

    def __init__(self, name: str, home: Path, url: str) -> None:
        self.name = name
        self.home = home
        self.objects = home.parent / "objects"
        self._url = url.replace("+asyncpg", "").partition("?")[0]
        self._schema = url.partition("search_path=")[2]
        self._instances: list[Function] = []
        self.env = {
            "GATEWAY_BACKGROUND": "false",
            "GATEWAY_DATA_DIR": str(home / "data"),
            "DATABASE_URL": f"{url}&idle_in_transaction_session_timeout=60000",
            "STORAGE_URL": self.objects.as_uri(),
            "API_KEYS": f"{CRON_SECRET},{KEY}",
        }
        self.configure()

    def configure(self, **settings: Any) -> None:
        (self.home / "config.yaml").write_text(json.dumps({"upstreams": [SANDBOX], **settings}))

    def start(self) -> Function:
        """A cold start."""
        self._instances.append(Function(self.name, self.home, self.env))
        return self._instances[-1]

    def close(self) -> None:
        for instance in self._instances:
            if instance.process.poll() is None:
                instance.kill()

    def sql(self, statement: str) -> list[Any]:
        async def run() -> list[Any]:
            connection = await asyncpg.connect(self._url, server_settings={"search_path": self._schema})
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(run())

    def log(self) -> str:
        return (self.home.parent / f"{self.home.name}.log").read_text()


@pytest.fixture
def database_url() -> Iterator[str]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(schema()) as url:
        yield url


@pytest.fixture(params=["aws_lambda", "vercel"])
def platform(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Iterator[Platform]:
    home = tmp_path / "function"
    home.mkdir()
    platform = Platform(request.param, home, database_url)
    yield platform
    platform.close()
    log = platform.log()
    assert "Traceback" not in log, log
    assert KEY not in log
    assert CRON_SECRET not in log


on_lambda = pytest.mark.parametrize("platform", ["aws_lambda"], indirect=True)


def begun(function: Function, **fields: Any) -> str:
    told = function.ask("POST", "/api/chat", VIDEO | fields)
    assert told.status == 200, told.body
    return str(told.json()["task_id"])


def asked_until_done(function: Function, task: str) -> dict[str, Any]:
    for _ in range(POLLS):
        told: dict[str, Any] = function.ask("GET", f"/api/tasks/status/{task}").json()
        if told["status"] != "processing":
            return told
        time.sleep(0.2)
    raise AssertionError(f"still processing: {told}")


def film(function: Function, url: str) -> tuple[int, int]:
    """The size of the film behind a link, fetched from the function itself."""
    told = function.ask("GET", "/files/" + url.partition("/files/")[2], key=None)
    assert (told.status, told.headers["content-type"]) == (200, "video/mp4")
    return size_of(told.body)


# --- tasks ---


def test_a_video_is_finished_by_being_asked_about(platform: Platform) -> None:
    function = platform.start()
    task = begun(function)
    assert platform.sql("select state from tasks") == [("running",)]
    time.sleep(2.0)
    assert platform.sql("select state, polls from tasks") == [("running", 0)], "it is done, and nobody noticed"
    done = asked_until_done(function, task)
    assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
    assert done["video_url"].startswith("https://function.example/files/")
    assert film(function, done["video_url"]) == (128, 72)
    assert platform.sql("select kind, code, media_seconds from usage") == [("t2v", "succeeded", 1.0)]


def test_a_video_is_finished_by_ticks_alone(platform: Platform) -> None:
    function = platform.start()
    begun(function)
    ticks = []
    for _ in range(POLLS):
        ticks.append(function.ask("GET", "/internal/tick", key=CRON_SECRET).json())
        if (due := ticks[-1]["due_in_seconds"]) is None:
            break
        time.sleep(due)
    assert platform.sql("select state from tasks") == [("succeeded",)]
    assert sum(tick["steps"] for tick in ticks) >= 1
    assert ticks[-1] == {"steps": ticks[-1]["steps"], "webhooks": 0, "due_in_seconds": None}


def test_who_waits_gets_the_video_in_the_same_invocation(platform: Platform) -> None:
    function = platform.start()
    done = function.ask("POST", "/api/chat", SMALL)
    assert done.status == 200, done.body
    assert film(function, done.json()["video_url"]) == (128, 72)
    promised = begun(function)
    shown = function.ask("GET", f"/api/tasks/{promised}?wait=20").json()
    assert shown["status"] == "succeeded"
    assert platform.sql("select count(*) from usage") == [(2,)]


def test_another_instance_goes_on_with_what_one_began(platform: Platform) -> None:
    first = platform.start()
    task = begun(first)
    first.kill()
    assert asked_until_done(platform.start(), task)["status"] == "completed"


def test_two_instances_that_ask_at_once_poll_once(platform: Platform) -> None:
    functions = [platform.start() for _ in range(2)]
    task = begun(functions[0])
    platform.sql("update tasks set next_poll_at = 0")
    answers = asyncio.run(_both(*(lambda one=one: asked_until_done(one, task) for one in functions)))
    assert [answer["status"] for answer in answers] == ["completed", "completed"]
    assert platform.sql("select count(*) from outputs") == [(1,)]
    assert platform.sql("select count(*) from usage") == [(1,)]


async def _both(*calls: Callable[[], Any]) -> list[Any]:
    return await asyncio.gather(*(asyncio.to_thread(call) for call in calls))


def test_after_ten_minutes_on_ice_it_goes_on(platform: Platform) -> None:
    """The rows are moved back in time, as they would look when it thaws."""
    function = platform.start()
    task = begun(function)
    times = ("created_at", "submitted_at", "started_at", "deadline", "next_poll_at", "lease_until")
    platform.sql(f"update tasks set {', '.join(f'{name} = {name} - 600' for name in times)}")
    done = asked_until_done(function, task)
    assert (done["status"], done["error"]) == ("completed", None)
    assert asked_until_done(function, begun(function))["status"] == "completed"


def test_an_instance_that_was_killed_while_it_worked_holds_nothing_for_long(platform: Platform) -> None:
    """What it had in hand is another's once its lease is over: fifteen seconds, here moved back."""
    first = platform.start()
    task = begun(first)
    platform.sql(
        "update tasks set lease_owner = 'gone.1', lease_until = extract(epoch from now()) + 10, next_poll_at = 0"
    )
    first.kill()
    second = platform.start()
    assert second.ask("GET", f"/api/tasks/status/{task}").json()["status"] == "processing"
    platform.sql("update tasks set lease_until = lease_until - 101")
    assert second.ask("GET", f"/api/tasks/status/{task}").json()["status"] == "completed"


def test_an_image_as_a_task_is_made_by_the_request_that_asks_for_it(platform: Platform) -> None:
    function = platform.start()
    told = function.ask("POST", "/api/tasks", {"kind": "t2i", "prompt": "a hill", "size": "64x64"})
    assert told.status in (200, 202), told.body
    assert function.ask("GET", f"/api/tasks/{told.json()['id']}").json()["status"] == "succeeded"


# --- webhooks, usage, disk ---


def test_a_webhook_is_sent_by_the_request_that_ends_its_task(platform: Platform) -> None:
    heard: list[Any] = []

    async def ear(scope: Any, receive: Any, send: Any) -> None:
        heard.append(json.loads((await receive())["body"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with served(ear) as url:
        platform.configure(webhooks={"trusted_origins": [url]})
        function = platform.start()
        task = begun(function, webhook={"url": url})
        asked_until_done(function, task)
        assert [(one["type"], one["data"]["id"]) for one in heard] == [("task.succeeded", task)]
        assert platform.sql("select state from deliveries") == [("delivered",)]


def test_the_usage_of_a_chat_is_written_before_the_instance_is_killed(platform: Platform) -> None:
    function = platform.start()
    told = function.ask("POST", "/v1/chat/completions", {**CHAT, "stream": True})
    assert told.body.endswith(b"data: [DONE]\n\n"), "a stream comes as a whole"
    function.kill()
    assert platform.sql("select kind, status from usage") == [("t2t", 200)]


def test_what_a_dead_instance_learnt_of_accounts_the_next_one_knows(platform: Platform) -> None:
    accounts = [
        {"name": "resting", "fault": "rate_limit;retry_after=600", "priority": 1},
        {"name": "rejected", "fault": "bad_key", "priority": 1},
        {"name": "good"},
    ]
    platform.configure(upstreams=[{"name": "sandbox", "type": "sandbox", "chunk_delay": 0, "accounts": accounts}])
    learning = platform.start()
    assert learning.ask("POST", "/v1/chat/completions", CHAT).status == 200
    learning.kill()
    knowing = platform.start()
    shown = json.loads(knowing.ask("GET", "/api/status").body)["accounts"]
    assert {one["name"]: one["status"] for one in shown} == {
        "resting": "RATE_LIMITED",
        "rejected": "INVALID",
        "good": "OK",
    }


def test_nothing_is_written_to_disk(platform: Platform) -> None:
    function = platform.start()
    asked_until_done(function, begun(function))
    image = function.ask("POST", "/v1/images/generations", {"prompt": "a hill", "size": "64x64"})
    assert image.status == 200, image.body
    assert function.ask("GET", "/readyz", key=None).status == 200
    assert [file.name for file in platform.home.rglob("*")] == ["config.yaml"]
    kept = [file for file in platform.objects.rglob("*") if file.is_file()]
    assert {file.suffix for file in kept} >= {".mp4", ".png"}


def test_a_database_that_is_away_is_told_and_the_same_instance_recovers(platform: Platform) -> None:
    there = platform.env["DATABASE_URL"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    platform.env["DATABASE_URL"] = there.replace(":5432", f":{port}")
    if platform.env["DATABASE_URL"] == there:
        pytest.skip("the database is not at port 5432")
    function = platform.start()
    openai, native = (function.ask("POST", path, CHAT) for path in ("/v1/chat/completions", "/api/chat"))
    assert (openai.status, openai.json()["error"]["code"]) == (503, "unavailable")
    assert (native.status, native.json()["code"]) == (503, "unavailable")
    with forwarded(port, 5432):
        assert function.ask("POST", "/v1/chat/completions", CHAT).status == 200


class forwarded:
    """A port that leads to another one while the block lasts."""

    def __init__(self, port: int, to: int) -> None:
        code = (
            "import asyncio, sys\n"
            "async def pipe(r, w):\n"
            "    while data := await r.read(65536): w.write(data); await w.drain()\n"
            "    w.close()\n"
            "async def link(r, w):\n"
            "    r2, w2 = await asyncio.open_connection('127.0.0.1', int(sys.argv[2]))\n"
            "    await asyncio.gather(pipe(r, w2), pipe(r2, w), return_exceptions=True)\n"
            "async def main():\n"
            "    server = await asyncio.start_server(link, '127.0.0.1', int(sys.argv[1]))\n"
            "    print('ready', flush=True)\n"
            "    await server.serve_forever()\n"
            "asyncio.run(main())\n"
        )
        self._command = [sys.executable, "-c", code, str(port), str(to)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


# --- the examples as they stand ---


@on_lambda
def test_the_scheduler_s_event_ticks(platform: Platform) -> None:
    function = platform.start()
    begun(function)
    platform.sql("update tasks set next_poll_at = 0, created_at = created_at - 60")
    time.sleep(0.5)
    text = (EXAMPLES / "aws_lambda" / "tick.json").read_text().replace("ONE-OF-YOUR-API-KEYS", KEY)
    told = function.invoke(json.loads(text))
    assert (told.status, told.json()["steps"]) == (200, 1), told.body
    assert platform.sql("select state from tasks") == [("succeeded",)]


def test_vercel_is_told_of_paths_that_there_are() -> None:
    told = json.loads((EXAMPLES / "vercel" / "vercel.json").read_text())
    ways = {(entry.method, entry.path) for entry in TABLE}
    assert all(("GET", cron["path"]) in ways for cron in told["crons"])
    assert all((EXAMPLES / "vercel" / path).exists() for path in told["functions"])
    assert all((EXAMPLES / "vercel" / f"{rule['destination'][1:]}.py").exists() for rule in told["rewrites"])


@pytest.mark.parametrize("platform", ["vercel"], indirect=True)
def test_the_app_runs_under_a_server_that_runs_the_lifespan(platform: Platform) -> None:
    """As Vercel's runtime does by now: uvicorn, on a socket that it is given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "uvicorn", "index:app", "--fd", str(listener.fileno()), "--lifespan", "auto"]
        places = (str(ROOT), str(EXAMPLES / "vercel" / "api"), os.environ.get("PYTHONPATH"))
        path = os.pathsep.join(filter(None, places))
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, **platform.env}
        with (platform.home.parent / "function.log").open("ab") as log:
            server = subprocess.Popen(command, cwd=platform.home, env=env, stderr=log, pass_fds=[listener.fileno()])
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=30) as http:
                task = http.post("/api/chat", json=VIDEO).json()["task_id"]
                time.sleep(2.0)
                assert platform.sql("select state, polls from tasks") == [("running", 0)]
                assert http.get(f"/api/tasks/status/{task}").json()["status"] == "completed"
                eventually(lambda: platform.sql("select count(*) from usage") == [(1,)])
            server.terminate()
            assert server.wait(10) in (0, -signal.SIGTERM), "uvicorn ends by the signal it was sent"
        finally:
            server.kill()
            server.wait()
