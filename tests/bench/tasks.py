"""Measure the task engine: how many videos it takes on and brings in, and how it looks at many jobs of one account.

Part of run.py. One gateway on each database, a fake upstream that makes videos at once (videos.py), and a client here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import RssPeak, cpu_seconds, free_port, rss, stat
from targets import ROOT, Target

HERE = Path(__file__).resolve().parent
TESTS = ("tasks", "polls")
POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://root@127.0.0.1:5432/test")
KEY = "sk-bench-0123456789"
MODEL = "seedance-1-0-pro-250528"
JOB_SECONDS = 2.0
"""How long the upstream takes for a video of `tasks`; those of `polls` outlast the test."""
NO_NEWS_SECONDS = 30.0
"""Tasks count as lost once no result was fetched for so long, or OVER_SECONDS after the last create."""
FULL_SECONDS = 15.0
ANSWER_SECONDS = 60.0
OVER_SECONDS = 300.0

CONFIG = """
access: {{keys: [{{name: bench, key: %s, role: developer}}]}}
upstreams:
  - name: ark
    type: ark
    base_url: http://127.0.0.1:{up}/api/v3
    models: [%s]
    accounts: [%s]
"""


def add_options(p) -> None:
    p.add_argument(
        "--databases", default="sqlite,postgresql", help="for tasks and polls; postgresql is TEST_POSTGRES_URL"
    )
    p.add_argument("--task-seconds", type=float, default=0, help="how long tasks are created (default 5, --full 15)")
    p.add_argument("--task-connections", type=int, default=32, help="creates at once")
    p.add_argument("--task-accounts", type=int, default=16, help="accounts that share them")
    p.add_argument("--polled-jobs", type=int, default=1000, help="jobs that run at once, all of one account")
    p.add_argument("--poll-seconds", type=float, default=30, help="how long they are watched being looked at")


def run(bench) -> dict[str, dict[str, list[dict]]]:
    """Rounds by test and database."""
    args = bench.args
    only = set(filter(None, args.only.split(",")))
    results: dict[str, dict[str, list[dict]]] = {}
    ours, chosen = os.sched_getaffinity(0), _cpus(args.client_cpus)
    os.sched_setaffinity(0, chosen)  # the client is this process
    try:
        for test in (test for test in TESTS if not only or test in only):
            rounds = args.rounds or (3 if args.full and test == "tasks" else 1)
            for number in range(rounds):
                for kind in filter(None, args.databases.split(",")):
                    with _database(kind, bench.work) as database:
                        if database is not None:
                            measured = _tasks(bench, database) if test == "tasks" else _polls(bench, database)
                            measured["load_average"] = os.getloadavg()[0]
                            results.setdefault(test, {}).setdefault(kind, []).append(measured)
                            _say(
                                f"{test} round {number + 1}/{rounds} {kind}: {_line(test, measured)}, load {os.getloadavg()[0]:.1f}"
                            )
    finally:
        os.sched_setaffinity(0, ours)
    return results


def _cpus(listed: str) -> set[int]:
    """As taskset reads them."""
    ends = [part.partition("-") for part in listed.split(",")]
    return {cpu for low, _, high in ends for cpu in range(int(low), int(high or low) + 1)}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- databases -------------------------------------------------------------------------


@dataclass
class Database:
    kind: str
    url: str
    file: Path | None = None
    name: str = ""  # of the schema, and of the gateway's connections

    def rows(self, query: str) -> list[tuple]:
        """To be asked once the gateway is gone."""
        if self.file:
            with contextlib.closing(sqlite3.connect(self.file)) as connection:
                return connection.execute(query).fetchall()
        return [tuple(row) for row in asyncio.run(_postgres(f"SET search_path TO {self.name}", query))]

    def cpu(self) -> float | None:
        """CPU-seconds of the server's processes that work for the gateway, where they run on this machine."""
        if self.file:
            return None
        query = f"SELECT pid FROM pg_stat_activity WHERE application_name = '{self.name}'"
        found = [s for row in asyncio.run(_postgres(query)) if (s := stat(row[0]))]
        return sum(int(s[11]) + int(s[12]) for s in found) / os.sysconf("SC_CLK_TCK") if found else None


@contextlib.contextmanager
def _database(kind: str, work: Path) -> Iterator[Database | None]:
    """An empty one; None, and a line about it, where there is none to be had."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    if kind == "sqlite":
        file = work / f"{name}.db"
        yield Database(kind, f"sqlite:///{file}", file, name)
        return
    try:
        asyncio.run(_postgres(f"CREATE SCHEMA {name}"))
    except Exception as error:
        place = POSTGRES.rpartition("@")[2]
        _say(f"postgresql left out: none at {place} ({type(error).__name__}); set TEST_POSTGRES_URL to measure on one")
        yield None
        return
    try:
        separator = "&" if "?" in POSTGRES else "?"
        yield Database(kind, f"{POSTGRES}{separator}search_path={name}&application_name={name}", None, name)
    finally:
        asyncio.run(_postgres(f"DROP SCHEMA {name} CASCADE"))


async def _postgres(*statements: str) -> list[Any]:
    """What the last one finds."""
    import asyncpg

    connection = await asyncpg.connect(POSTGRES, timeout=5)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetch(statements[-1])
    finally:
        await connection.close()


# --- what runs -------------------------------------------------------------------------


@dataclass
class Scene:
    """A gateway on a database, and its upstream."""

    database: Database
    gateway: Any
    upstream: int  # its port

    def told(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.upstream}/bench/{what}", timeout=30) as answer:
            return json.loads(answer.read())

    def used(self) -> tuple[float, float | None]:
        """CPU-seconds so far: the gateway's, and the database server's."""
        return cpu_seconds(self.gateway.pid), self.database.cpu()


@contextlib.contextmanager
def _scene(bench, database: Database, job_seconds: float, accounts: int) -> Iterator[Scene]:
    port = free_port()
    names = ", ".join(f"{{{{name: a{n}, api_key: sk-ark-{n}, max_concurrency: 256}}}}" for n in range(accounts))
    target = Target(
        argv=[sys.executable, "-m", "gateway", "serve", "--port", "{port}"],
        headers=[f"Authorization: Bearer {KEY}"],
        env={
            "GATEWAY_CONFIG": "{work}/tasks.yaml",
            "GATEWAY_DATA_DIR": "{work}/var",
            "DATABASE_URL": database.url.replace("{", "{{").replace("}", "}}"),
            "PYTHONPATH": str(ROOT),
        },
        files={"tasks.yaml": CONFIG % (KEY, MODEL, names)},
        ready="/readyz",
    )
    command = ["taskset", "-c", bench.args.client_cpus, sys.executable, str(HERE / "videos.py")]
    upstream = subprocess.Popen([*command, str(port), str(job_seconds)])
    try:
        _answers(f"http://127.0.0.1:{port}/bench/counts")
        gateway = bench.launched(database.name, target, port)
        try:
            yield Scene(database, gateway, port)
        finally:
            gateway.stop()
    finally:
        upstream.terminate()
        upstream.wait()


def _answers(url: str, limit: float = 20) -> None:
    end = time.monotonic() + limit
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


# --- the client ------------------------------------------------------------------------


class Caller:
    """One connection that is kept."""

    def __init__(self, port: int):
        self.port = port
        self.reader: asyncio.StreamReader | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        if self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        return int(lines[0].split(b" ")[1]), await self.reader.readexactly(length)

    def close(self) -> None:
        if self.reader is not None:
            self.writer.close()


@dataclass
class Created:
    """What the creates came to."""

    ids: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.time)
    over: float = 0.0


async def _create(port: int, connections: int, *, seconds: float = 600.0, most: int = 10**9) -> Created:
    """Create tasks, each connection the next as soon as its last was answered, for so long or so many."""
    made, asked, name = Created(), 0, uuid.uuid4().hex  # no two requests alike: those are looked up and made way for
    end = time.monotonic() + seconds

    async def work() -> None:
        nonlocal asked
        caller = Caller(port)
        while time.monotonic() < end and asked < most:
            asked += 1
            body = {
                "model": MODEL,
                "kind": "t2v",
                "prompt": f"A red fox in the snow, {name}, take {asked}",
                "seconds": 5,
            }
            begin = time.perf_counter()
            try:
                asking = caller.ask("POST", "/api/tasks", json.dumps(body).encode())
                status, answer = await asyncio.wait_for(asking, ANSWER_SECONDS)
            except (OSError, EOFError, TimeoutError) as error:
                caller.close()
                status, answer, caller = 0, repr(error).encode(), Caller(port)
            if status == 202:
                made.latencies.append(time.perf_counter() - begin)
                made.ids.append(json.loads(answer)["id"])
            else:
                made.errors.append(f"{status} {answer[:200].decode(errors='replace')}")
        caller.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    made.over = time.time()
    return made


async def _until_over(scene: Scene, expected: int) -> None:
    """Until all have their end. The upstream is watched, and the gateway asked only once all results were fetched."""
    begun = news = time.monotonic()
    seen, caller = -1, Caller(scene.gateway.port)
    while time.monotonic() < min(news + NO_NEWS_SECONDS, begun + OVER_SECONDS):
        fetched = scene.told("counts")["downloads"]
        if fetched != seen:
            seen, news = fetched, time.monotonic()
        if fetched >= expected:
            status, answer = await caller.ask("GET", "/api/tasks?status=processing&limit=1")
            if status == 200 and not json.loads(answer)["data"]:
                break
        await asyncio.sleep(0.25)
    caller.close()


# --- tasks: from the create to the result ----------------------------------------------


def _tasks(bench, database: Database) -> dict:
    args = bench.args
    seconds = args.task_seconds or (FULL_SECONDS if args.full else 5)
    with _scene(bench, database, JOB_SECONDS, args.task_accounts) as scene:
        asyncio.run(_create(scene.gateway.port, 4, most=40))  # warm
        asyncio.run(_until_over(scene, 40))
        before, idle = scene.used(), rss(scene.gateway.pid)
        warm, watch = scene.told("counts"), RssPeak(scene.gateway.pid)
        watch.start()
        made = asyncio.run(_create(scene.gateway.port, args.task_connections, seconds=seconds))
        midway = scene.used()
        asyncio.run(_until_over(scene, warm["downloads"] + len(made.ids)))
        after, peak, counts = scene.used(), watch.stop(), scene.told("counts")
        known = set(scene.told("calls")["made"])
    return {
        "seconds": seconds,
        "created": len(made.ids),
        "created_per_s": len(made.ids) / (made.over - made.begun),
        "create_ms": {q: 1000 * _quantile(made.latencies, p) for q, p in (("p50", 0.5), ("p99", 0.99))},
        "refused": made.errors,
        "cpu_creating": midway[0] - before[0],
        "cpu_per_1k": 1000 * (after[0] - before[0]) / max(1, len(made.ids)),
        "database_cpu_per_1k": _per_1k(before[1], after[1], len(made.ids)),
        "rss_idle": idle,
        "rss_peak": peak,
        "upstream": {name: counts[name] - warm[name] for name in counts},
        **_accounted(database, made, known),
    }


def _accounted(database: Database, made: Created, known: set[str]) -> dict:
    """The database's own word, and the upstream's, on what became of every task that was promised."""
    rows = database.rows("SELECT id, state, job, created_at, finished_at, error FROM tasks")
    results = database.rows(
        "SELECT outputs.task_id, count(*) FROM outputs JOIN assets ON assets.id = outputs.asset_id GROUP BY 1"
    )
    jobs = [json.loads(row[2])["id"] for row in rows if row[2]]
    mine, here = set(made.ids), {row[0] for row in rows}
    good = {row[0] for row in rows if row[1] == "succeeded"} & {task for task, count in results if count == 1}
    ends = sorted(row[4] - made.begun for row in rows if row[0] in mine and row[4])
    late = [row[4] - row[3] for row in rows if row[0] in mine and row[4]]
    tenth = len(ends) // 10
    return {
        "finished": len(good & mine),
        "finished_per_s": len(ends) / ends[-1] if ends else None,
        "finished_per_s_middle": (len(ends) - 2 * tenth) / (ends[-1 - tenth] - ends[tenth]) if tenth else None,
        "last_finish": ends[-1] if ends else None,
        "life_p50": statistics.median(late) if late else None,
        "lost": len(mine - here) + sum(row[0] in mine and row[4] is None for row in rows),
        "failed": sum(row[0] in mine and row[4] is not None and row[0] not in good for row in rows),
        "twice": len(known - set(jobs)) + len(jobs) - len(set(jobs)),
        "failures": sorted({row[5] for row in rows if row[5]})[:5],
    }


# --- polls: many jobs of one account ---------------------------------------------------


def _polls(bench, database: Database) -> dict:
    args = bench.args
    with _scene(bench, database, 86_400.0, accounts=1) as scene:
        made = asyncio.run(_create(scene.gateway.port, args.task_connections, most=args.polled_jobs))
        begun, before = time.time(), scene.used()
        time.sleep(args.poll_seconds)
        over, after, memory = time.time(), scene.used(), rss(scene.gateway.pid)
        told = scene.told("calls")
    looks = [(moment, jobs) for moment, jobs in told["calls"] if begun <= moment < over]
    jobs = sum(len(asked) for _, asked in looks)
    wait = over - begun
    late, gaps, never = _lateness(told["made"], told["calls"], begun, over)
    return {
        "seconds": wait,
        "jobs": len(told["made"]),
        "refused": made.errors,
        "looks": [[round(moment - begun, 2), len(asked)] for moment, asked in looks],
        "calls_per_s": len(looks) / wait,
        "calls_in_a_second": _busiest([moment for moment, _ in looks]),
        "jobs_per_call": jobs / max(1, len(looks)),
        "jobs_per_s": jobs / wait,
        "never": never,
        "gap_p50": statistics.median(gaps) if gaps else None,
        "late": {q: _quantile(late, p) for q, p in (("p50", 0.5), ("p99", 0.99))},
        "cpu_share": (after[0] - before[0]) / wait,
        "cpu_per_1k": 1000 * (after[0] - before[0]) / max(1, jobs),
        "database_cpu_per_1k": _per_1k(before[1], after[1], jobs),
        "rss": memory,
    }


def _lateness(made: dict[str, float], calls: list, begun: float, over: float) -> tuple[list[float], list[float], int]:
    """Seconds by which looks came later than they were due, the seconds between looks, and jobs nobody looked at.

    Due is what the schedule says without its jitter, or what the account's rate allows where that is more. A look that
    is overdue in the end counts by how late it is by then.
    """
    due, last = _schedule(len(made)), dict(made)
    late, gaps, looked = [], [], set()
    for moment, jobs in calls:
        for job in jobs:
            if begun <= moment < over:
                looked.add(job)
                gaps.append(moment - last[job])
                late.append(moment - last[job] - due(last[job] - made[job]))
            last[job] = moment
    overdue = (over - moment - due(moment - made[job]) for job, moment in last.items())
    return [*late, *(seconds for seconds in overdue if seconds > 0)], gaps, len(made.keys() - looked)


def _schedule(jobs: int):
    """Seconds to the next look by a job's age, when so many jobs share an account."""
    sys.path.append(str(ROOT))
    from gateway.tasks.schedule import interval
    from gateway.upstreams.ark import Ark

    class Even(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    dice, most = Even(), jobs / (Ark.polls_per_second * Ark.poll_batch)
    return lambda age: max(most, interval(Ark, 5.0, age, dice))


def _busiest(moments: list[float]) -> int:
    """The most calls within any second."""
    found = first = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - 1:
            first += 1
        found = max(found, last - first + 1)
    return found


def _quantile(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _per_1k(before: float | None, after: float | None, count: int) -> float | None:
    return None if before is None or after is None else 1000 * (after - before) / max(1, count)


# --- the report ------------------------------------------------------------------------


def _line(test: str, r: dict) -> str:
    if test == "polls":
        return (
            f"{r['jobs']} jobs, {r['calls_per_s']:.1f} calls/s for {r['jobs_per_s']:.0f} jobs/s, "
            f"late {_show(r['late']['p50'])} s, p99 {_show(r['late']['p99'])} s, cpu {r['cpu_share']:.0%}"
        )
    said = f" [{(r['refused'] + r['failures'])[0]}]" if r["refused"] or r["failures"] else ""
    return (
        f"created {r['created']} at {r['created_per_s']:.0f}/s, finished {r['finished']} at "
        f"{_show(r['finished_per_s'], 0)}/s, lost {r['lost']} failed {r['failed']} twice {r['twice']}, "
        f"cpu {r['cpu_per_1k']:.2f} s per 1k{said}"
    )


def tables(results: dict[str, dict[str, list[dict]]]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, head and rows of each."""
    shown = {"tasks": _tasks_table, "polls": _polls_table}
    return [shown[test](by_database) for test, by_database in results.items()]


def _tasks_table(results: dict[str, list[dict]]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for kind, rounds in results.items():
        rows.append(
            [
                kind,
                _median(rounds, "created_per_s", digits=0),
                _median(rounds, "finished_per_s", digits=0),
                _median(rounds, "finished_per_s_middle", digits=0),
                _median(rounds, "cpu_per_1k"),
                _median(rounds, "database_cpu_per_1k"),
                _median(rounds, "create_ms", "p50", digits=1),
                _median(rounds, "create_ms", "p99", digits=1),
                _median(rounds, "rss_peak", digits=0, unit=2**20),
                " / ".join(f"{sum(r[name] for r in rounds):,}" for name in ("created", "finished")),
                f"{sum(len(r['refused']) for r in rounds):,}",
                " / ".join(f"{sum(r[name] for r in rounds):,}" for name in ("lost", "failed", "twice")),
            ]
        )
    head = ["database", "created/s", "finished/s", "finished/s, middle 80 %", "gateway CPU-s per 1k tasks"]
    head += ["database CPU-s per 1k", "create p50 ms", "p99", "RSS peak MiB", "created / finished", "refused"]
    seconds = next(iter(results.values()))[0]["seconds"]
    title = f"tasks: videos created for {seconds:g} s, each brought in {JOB_SECONDS:g} s later or when it is looked at"
    return title, [*head, "lost / failed / made twice"], rows


def _polls_table(results: dict[str, list[dict]]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for kind, rounds in results.items():
        rows.append(
            [
                kind,
                _median(rounds, "calls_per_s", digits=1),
                _median(rounds, "calls_in_a_second", digits=0),
                _median(rounds, "jobs_per_call", digits=1),
                _median(rounds, "jobs_per_s", digits=0),
                _median(rounds, "gap_p50", digits=1),
                _median(rounds, "late", "p50"),
                _median(rounds, "late", "p99"),
                _median(rounds, "never", digits=0),
                _median(rounds, "cpu_share", digits=1, unit=0.01),
                _median(rounds, "cpu_per_1k"),
                _median(rounds, "database_cpu_per_1k"),
                _median(rounds, "rss", digits=0, unit=2**20),
            ]
        )
    one = next(iter(results.values()))[0]
    title = f"polls: {one['jobs']:,} running jobs of one account, looked at for {one['seconds']:.0f} s"
    head = ["database", "calls/s", "most in 1 s", "jobs per call", "jobs/s", "between looks p50 s", "late p50 s", "p99"]
    head += ["never looked at", "gateway CPU %", "CPU-s per 1k jobs", "database CPU-s per 1k", "RSS MiB"]
    return title, head, rows


def _median(rounds: list[dict], *path: str, digits: int = 2, unit: float = 1) -> str:
    found: list[Any] = list(rounds)
    for name in path:
        found = [one[name] for one in found]
    values = [one / unit for one in found if one is not None]
    return _show(statistics.median(values) if values else None, digits)


def _show(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
