"""SIGHUP: the gateway goes by another config, and nobody who is being served notices."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import pytest

from gateway.access.sealing import Sealer
from gateway.accounts.book import Book
from gateway.config import AccountConfig
from gateway.db.engine import Database
from tests.acceptance.ark_gateway import REDIS, database
from tests.acceptance.gateway_process import Gateway, compatible, eventually, lines, running, served
from tests.acceptance.process import Process
from tests.acceptance.tap import Tap
from tests.emulators.openai_compatible import REPLY, TEXT, Emulator

A, B, C = (f"sk-emulator-reload-{name}" for name in "abc")
OPS = {"name": "ops", "key": "key-of-the-operator-1", "role": "admin"}
SHOP = {"name": "shop", "key": "key-of-the-shop-00001"}
CHAT = {"model": TEXT, "messages": [{"role": "user", "content": "Hello"}]}
MASTER = "0123456789abcdef0123456789abcdef"
PROMPTLY = 10.0
"""Well before a process looks that has a bus to hear by."""
SANDBOX = {"name": "sandbox", "type": "sandbox"}


class Live(NamedTuple):
    """A gateway before an emulator whose answers can be held."""

    gateway: Gateway
    emulator: Emulator
    tap: Tap
    url: str

    def reload(self, *upstreams: Any, keys: Any = (OPS, SHOP), **config: Any) -> dict[str, Any]:
        """Write another config and have it gone by. Returns what the log says of that."""
        (self.gateway.home / "config.yaml").write_text(json.dumps(config_of(*upstreams, keys=keys, **config)))
        return hang_up(self.gateway)

    def stanza(self, *credentials: str, **fields: Any) -> dict[str, Any]:
        """Accounts named after the last letter of their credentials."""
        stanza = compatible(self.url, *credentials, **fields)
        for account in stanza["accounts"]:
            account["name"] = account["api_key"][-1]
        return stanza

    def by(self, key: dict[str, str], **body: Any) -> httpx.Response:
        with self.gateway.client(headers={"authorization": f"Bearer {key['key']}"}) as http:
            return http.post("/v1/chat/completions", json={**CHAT, **body})

    @property
    def served_by(self) -> list[str]:
        """The letters of the accounts that chats went to."""
        chats = [one for one in self.emulator.requests if one.path == "/v1/chat/completions"]
        return [one.headers["authorization"][-1] for one in chats]


def config_of(*upstreams: Any, keys: Any = (OPS, SHOP), **config: Any) -> dict[str, Any]:
    return {"access": {"keys": keys}, "upstreams": upstreams, **config}


def log_of(gateway: Gateway, event: str) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]
    return [line for line in told if line["event"].startswith(event)]


def hang_up(gateway: Gateway, event: str = "config reloaded") -> dict[str, Any]:
    before = len(log_of(gateway, event))
    gateway.stop(signal.SIGHUP)
    return eventually(lambda: log_of(gateway, event)[before:])[0]


@contextmanager
def serving(home: Path, **fields: Any) -> Iterator[Live]:
    emulator = Emulator(keys=[A, B, C])
    tap = Tap(emulator.app, "/chat/completions")
    with served(tap) as url:
        live = Live(Gateway(home), emulator, tap, url)
        config = config_of(live.stanza(A), **fields)
        with running(home, config, secrets=[A, B, C, OPS["key"], SHOP["key"]]) as gateway:
            gateway.key = OPS["key"]
            yield live._replace(gateway=gateway)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with serving(tmp_path) as live:
        yield live


class Streaming:
    """A chat of the shop's that streams, in a thread."""

    def __init__(self, live: Live) -> None:
        live.tap.shut(after=2)
        self.answer: httpx.Response | None = None
        self._thread = threading.Thread(target=lambda: setattr(self, "answer", live.by(SHOP, stream=True)))
        self._thread.start()
        eventually(lambda: live.tap.seen["held"])

    def ended(self) -> httpx.Response:
        self._thread.join(20)
        assert self.answer is not None
        return self.answer


def test_a_reload_reaches_all_but_who_is_being_served(live: Live) -> None:
    stream = Streaming(live)
    stanza = live.stanza(B)
    stanza["accounts"][0] |= {"max_concurrency": 3, "label": "the new one"}
    told = live.reload(stanza, keys=[OPS])
    assert {name: told[name] for name in told if name.partition("_")[0] in ("accounts", "keys")} == {
        "accounts_added": ["emulator/b"], "accounts_removed": ["emulator/a"], "keys_removed": ["shop"],
    }  # fmt: skip

    assert live.by(SHOP).status_code == 401
    assert [live.by(OPS).status_code for _ in range(4)] == [200] * 4
    assert live.served_by == ["a", "b", "b", "b", "b"], "who was removed gets nothing new"
    accounts = live.gateway.accounts()
    assert {name: (row["slots"], row["label"]) for name, row in accounts.items() if row["upstream"] == "emulator"} == {
        "emulator/b": (3, "the new one")
    }

    assert live.tap.seen["left"] == 0
    live.tap.open()
    answer = stream.ended()
    *chunks, last = lines(answer)
    assert (answer.status_code, last) == (200, "[DONE]")
    assert "".join(choice["delta"].get("content") or "" for one in chunks for choice in one["choices"]) == REPLY
    assert live.by(SHOP).status_code == 401


def test_who_stays_keeps_the_slots_that_are_taken(live: Live) -> None:
    stream = Streaming(live)
    stanza = live.stanza(A)
    stanza["accounts"][0]["max_concurrency"] = 1
    live.reload(stanza, pool={"slot_wait": 0})
    assert live.gateway.accounts()["emulator/a"]["in_flight"] == 1
    refused = live.by(OPS)
    assert refused.status_code == 503
    assert "1 busy" in refused.json()["error"]["message"], "the stream has its only slot"
    live.reload(live.stanza(A, B), pool={"slot_wait": 0})
    assert live.by(OPS).status_code == 200
    live.tap.open()
    assert lines(stream.ended())[-1] == "[DONE]"
    eventually(lambda: live.gateway.in_flight() == 0)


def test_a_broken_config_changes_nothing(live: Live) -> None:
    file = live.gateway.home / "config.yaml"
    good = file.read_text()
    boss = {**SHOP, "role": "boss"}
    file.write_text(json.dumps(config_of({**live.stanza(C), "priority": "high"}, keys=[OPS, boss])))
    told = hang_up(live.gateway, "config not reloaded")
    assert told["level"] == "error"
    assert "upstreams[0].priority: must be" in told["problem"]
    assert "access.keys[1].role: must be one of" in told["problem"]
    assert live.by(SHOP).status_code == 200

    for broken in ("{", json.dumps(config_of({**live.stanza(C), "type": "nothing"}, keys=[OPS]))):
        file.write_text(broken)
        hang_up(live.gateway, "config not reloaded")
        assert live.by(SHOP).status_code == 200, "all of it or nothing"
    assert set(live.served_by) == {"a"}

    file.write_text(good)
    assert "accounts_added" not in hang_up(live.gateway)
    assert live.by(SHOP).status_code == 200


def test_what_needs_a_restart_is_named_and_left_as_it_is(live: Live) -> None:
    live.reload(
        live.stanza(A),
        server={"drain_seconds": 1, "max_body": 10},
        log={"level": "error"},
        redis_url="redis://nowhere:1",
    )
    told = eventually(lambda: log_of(live.gateway, "needs a restart"))[0]
    assert (told["event"], told["level"]) == (
        "needs a restart: server.max_body, server.drain_seconds, redis_url, log.level",
        "warning",
    )
    assert live.by(SHOP).status_code == 200
    live.reload(live.stanza(A))
    assert len(log_of(live.gateway, "needs a restart")) == 1


def test_models_and_upstreams_come_and_go(live: Live) -> None:
    alias = {"aliases": {"quick": TEXT}}
    assert live.by(OPS, model="quick").status_code == 404
    live.reload(live.stanza(A), {**live.stanza(B), "name": "other"}, models=alias)
    assert live.by(OPS, model="quick").status_code == 200
    assert live.by(OPS, model=f"other/{TEXT}").status_code == 200
    assert live.served_by == ["a", "b"]
    live.reload({**live.stanza(C), "name": "third"})
    assert live.by(OPS, model="quick").status_code == 404
    assert live.by(OPS, model=f"other/{TEXT}").status_code == 404
    assert live.by(OPS, model=f"third/{TEXT}").status_code == 200
    assert set(live.gateway.accounts()) == {"third/c", "sandbox/default"}


def test_a_new_upstream_s_list_of_models_is_asked_for_at_once(live: Live) -> None:
    def asked(credential: str) -> bool:
        lists = [one for one in live.emulator.requests if one.path == "/v1/models"]
        return any(one.headers["authorization"].endswith(credential) for one in lists)

    eventually(lambda: asked(A))
    live.emulator.models = (*live.emulator.models, "brand-new")
    live.reload(live.stanza(A), {**live.stanza(B), "name": "other"})
    eventually(lambda: asked(B))
    with live.gateway.client() as http:
        eventually(lambda: "brand-new" in {row["id"] for row in http.get("/v1/models").json()["data"]})


def test_the_first_upstream_takes_over_from_the_sandbox(live: Live) -> None:
    live.reload()
    with live.gateway.client() as http:
        assert http.get("/api/status").json()["sandbox"] is True
        assert live.by(OPS, model="whatever-there-is").status_code == 200
        live.reload(live.stanza(A))
        assert http.get("/api/status").json()["sandbox"] is False
    assert live.by(OPS, model="whatever-there-is").status_code == 404


def test_a_job_whose_upstream_is_gone_ends_with_a_name_for_that(live: Live) -> None:
    studio = {**SANDBOX, "name": "studio"}
    live.reload(studio)
    video = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1, "waitForCompletion": False}
    with live.gateway.client(headers={"authorization": f"Bearer {OPS['key']}"}) as http:
        slow = {"x-sandbox-fault": "slow_job;seconds=60"}
        task = http.post("/api/chat", json=video, headers=slow).json()["task_id"]

        def state() -> dict[str, Any]:
            told: dict[str, Any] = http.get(f"/api/tasks/{task}").json()
            return told

        eventually(lambda: state()["status"] == "running")
        live.reload(live.stanza(A))
        eventually(lambda: state()["status"] == "failed", 15)
        assert state()["error"]["code"] == "account_gone"


def test_many_hangups_come_to_one_config(live: Live) -> None:
    file = live.gateway.home / "config.yaml"
    for number in range(1, 21):
        file.write_text(json.dumps(config_of(live.stanza(A), models={"aliases": {f"name-{number}": TEXT}})))
        live.gateway.stop(signal.SIGHUP)
    eventually(lambda: live.by(OPS, model="name-20").status_code == 200)
    assert live.by(OPS, model="name-19").status_code == 404
    assert 1 <= len(eventually(lambda: log_of(live.gateway, "config reloaded"))) <= 20
    assert log_of(live.gateway, "config not reloaded") == []


def test_accounts_that_another_process_adds_are_seen(tmp_path: Path) -> None:
    async def change(what: Callable[[Book], Any]) -> None:
        other = Database(rows.url.replace("postgresql:", "postgresql+asyncpg:"))
        await other.start()
        try:
            await what(Book(other, Sealer(MASTER)))
        finally:
            await other.close()

    added = AccountConfig.model_validate({"name": "b", "api_key": B})
    with database("postgresql", tmp_path) as rows, serving(tmp_path, database_url=rows.url, master_key=MASTER) as live:
        anyio.run(change, lambda book: book.add("emulator", added))
        eventually(lambda: "emulator/b" in live.gateway.accounts(), 15)
        live.reload(live.stanza(C))
        assert set(live.gateway.accounts()) == {"emulator/b", "emulator/c", "sandbox/default"}
        anyio.run(change, lambda book: book.remove("emulator/b"))
        eventually(lambda: "emulator/b" not in live.gateway.accounts(), 15)


def test_an_account_that_is_added_in_one_process_serves_in_the_other_at_once(tmp_path: Path) -> None:
    space = {"redis_url": REDIS, "master_key": MASTER}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        database("postgresql", tmp_path) as rows,
        serving(tmp_path / "a", database_url=rows.url, **space) as one,
        serving(tmp_path / "b", database_url=rows.url, **space) as other,
    ):
        account = {"upstream": "emulator", "name": "b", "api_key": B}
        with one.gateway.client() as http:
            assert http.post("/api/accounts", json=account).status_code in (200, 201)
        assert "emulator/b" in one.gateway.accounts()
        eventually(lambda: "emulator/b" in other.gateway.accounts(), PROMPTLY)
        with one.gateway.client() as http:
            assert http.delete("/api/accounts/emulator/b").status_code in (200, 204)
        eventually(lambda: "emulator/b" not in other.gateway.accounts(), PROMPTLY)


# --- the signal itself ---


def test_a_hangup_during_the_start_waits_for_its_end() -> None:
    process = Process(startup=0.5)
    try:
        assert process.line() == ["starting"]
        process.stop(signal.SIGHUP)
        assert process.line()[0] == "ready"
        assert process.line() == ["hangup"]
        process.stop(signal.SIGHUP)
        assert process.line() == ["hangup"]
        process.stop()
        assert process.end() == (0, "closed\n", "")
    finally:
        process.popen.kill()


def test_a_hangup_before_the_config_is_read_ends_nothing(tmp_path: Path) -> None:
    with running(tmp_path, {"upstreams": []}) as gateway:
        gateway.stop()
        gateway.ended()
        gateway.launch()
        eventually(lambda: hangups_held(gateway.process.pid))
        gateway.stop(signal.SIGHUP)
        gateway.ready()
        eventually(lambda: log_of(gateway, "config reloaded"))


def hangups_held(pid: int) -> bool:
    """Whether SIGHUP waits until the process takes it."""
    held = re.search(r"SigBlk:\t([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return held is not None and bool(int(held[1], 16) & 1 << (signal.SIGHUP - 1))


@pytest.mark.parametrize("ignored", [False, True])
def test_closing_its_terminal_ends_it_unless_that_was_told_not_to(ignored: bool) -> None:
    ours, its = pty.openpty()

    def at_the_terminal() -> None:
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)
        if ignored:  # as nohup does it
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.tiny_app", "{}"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=at_the_terminal,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        assert process.stdout.readline().startswith("ready")
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "hangup\n"
        os.close(its)
        os.close(ours)
        if ignored:
            assert process.stdout.readline() == "hangup\n"
            process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "closed\n"
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
