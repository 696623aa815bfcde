"""A fake upstream that makes videos at once, as fast as its core allows, and writes down who looked when.

    python videos.py PORT SECONDS

Speaks as much of ark's API as one video needs: create, list by `filter.task_ids`, get, and the result. Every job
succeeds SECONDS after its create. `GET /bench/counts` tells how many calls there were, `GET /bench/calls` each of them.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path
from urllib.parse import parse_qsl

import httptools
import msgspec
import uvloop

sys.path.append(str(Path(__file__).resolve().parents[2]))
from tests.emulators.qwen.media import film

TASKS = "/api/v3/contents/generations/tasks"


class Site:
    """Its jobs, and what was asked of it."""

    def __init__(self, port: int, seconds: float):
        self.port, self.seconds, self.film = port, seconds, film()
        self.jobs: dict[str, dict] = {}
        self.calls: list[tuple[float, list[str]]] = []  # looks: when, and at which jobs
        self.counts = {"creates": 0, "lists": 0, "gets": 0, "downloads": 0, "odd": 0}

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, str, bytes]:
        if path == "/bench/counts":
            return _json(self.counts)
        if path == "/bench/calls":
            made = {job: record["created_at"] for job, record in self.jobs.items()}
            return _json({"made": made, "calls": self.calls})
        if path == TASKS and method == "POST":
            return _json({"id": self._made(msgspec.json.decode(body))})
        if path == TASKS:
            asked = [job for name, job in parse_qsl(query) if name == "filter.task_ids"]
            return _json(self._looked("lists", asked))
        if path.startswith(TASKS):
            found = self._looked("gets", [path.rpartition("/")[2]])["items"]
            return _json(found[0]) if found else (404, "application/json", b"{}")
        if path.startswith("/results/"):
            self.counts["downloads"] += 1
            return 200, "video/mp4", self.film
        self.counts["odd"] += 1
        return 404, "application/json", b"{}"

    def _made(self, asked: dict) -> str:
        self.counts["creates"] += 1
        job = f"cgt-{time.strftime('%Y%m%d%H%M%S')}-{secrets.token_hex(8)}"
        kept = {name: asked.get(name) for name in ("model", "seed", "execution_expires_after")}
        self.jobs[job] = {**kept, "created_at": time.time()}
        return job

    def _looked(self, how: str, asked: list[str]) -> dict:
        now = time.time()
        self.counts[how] += 1
        self.calls.append((now, asked))
        items = [self._record(job, now) for job in asked if job in self.jobs]
        return {"items": items, "total": len(items)}

    def _record(self, job: str, now: float) -> dict:
        kept = self.jobs[job]
        done = now - kept["created_at"] >= self.seconds
        record = {
            "id": job,
            "model": kept["model"],
            "status": "succeeded" if done else "running",
            "created_at": int(kept["created_at"]),
            "updated_at": int(now),
            "service_tier": "default",
            "execution_expires_after": kept["execution_expires_after"],
        }
        if done:
            record |= {
                "content": {"video_url": f"http://127.0.0.1:{self.port}/results/{job}.mp4"},
                "usage": {"completion_tokens": 108_900, "total_tokens": 108_900},
                "seed": kept["seed"],
                "resolution": "1080p",
                "ratio": "16:9",
                "duration": 5,
                "framespersecond": 24,
            }
        return record


def _json(value: object) -> tuple[int, str, bytes]:
    return 200, "application/json", msgspec.json.encode(value)


class Connection(asyncio.Protocol):
    def __init__(self, site: Site):
        self.site, self.parser = site, httptools.HttpRequestParser(self)

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_message_begin(self):
        self.url, self.body = b"", []

    def on_url(self, url):
        self.url += url

    def on_body(self, body):
        self.body.append(body)

    def on_message_complete(self):
        url = httptools.parse_url(self.url)
        path, query = url.path.decode(), (url.query or b"").decode()
        status, mime, body = self.site.answer(self.parser.get_method().decode(), path, query, b"".join(self.body))
        head = f"HTTP/1.1 {status} -\r\nContent-Type: {mime}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


async def main(port: int, seconds: float) -> None:
    site = Site(port, seconds)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(site), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))
