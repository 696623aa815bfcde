#!/usr/bin/env python3
"""Measure gateways side by side against one fake upstream.  See README.md.

    python bench/run.py --targets direct,nginx,litellm,portkey --quick
    python bench/run.py --targets direct,nginx --url ours=http://127.0.0.1:8000 \
        --header 'ours=Authorization: Bearer sk-...' --full
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import tasks
from processes import RssPeak, cpu_seconds, free_port, listener, rss
from targets import TARGETS, Target

HERE = Path(__file__).resolve().parent


# --- the tests -------------------------------------------------------------------------


@dataclass
class Test:
    name: str
    what: str
    load: list[str]  # options for the load client
    body: str
    path: str = "/v1/chat/completions"
    rounds: int = 0  # 0: the run's rounds
    quick: list[str] = field(default_factory=list)  # options in --quick, None: left out
    in_quick: bool = True
    unit: str = "requests"  # what CPU is counted per 1000 of


def chat(model: str, text: str = "Hello, who are you?", **more) -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}, separators=(",", ":"))


LONG = "The quick brown fox jumps over the lazy dog. " * 1456  # 64 KiB

TESTS = [
    Test("chat", "closed loop, 32 connections, small JSON", ["-c32", "-d5"], chat("bench"), quick=["-c32", "-d3"]),
    Test(
        "chat-64k",
        "closed loop, 16 connections, 64 KiB prompt",
        ["-c16", "-d4"],
        chat("bench", LONG),
        quick=["-c16", "-d2"],
    ),
    Test("rate-25", "open loop, 25 requests/s", ["-r25", "-c500", "-d8"], chat("bench"), in_quick=False),
    Test(
        "rate-100",
        "open loop, 100 requests/s",
        ["-r100", "-c500", "-d8"],
        chat("bench"),
        quick=["-r100", "-c500", "-d4"],
    ),
    Test("rate-200", "open loop, 200 requests/s", ["-r200", "-c500", "-d8"], chat("bench"), in_quick=False),
    Test("rate-400", "open loop, 400 requests/s", ["-r400", "-c500", "-d8"], chat("bench"), in_quick=False),
    Test(
        "sse-burst",
        "closed loop, 16 streams of 100 chunks, 0 ms apart",
        ["-c16", "-d5", "-e100"],
        chat("bench-100x0", stream=True),
        quick=["-c16", "-d3", "-e100"],
        unit="chunks",
    ),
    Test(
        "sse-paced",
        "50 streams at a time, 50 chunks 20 ms apart",
        ["-c50", "-n250", "-R1", "-e50", "-w60"],
        chat("bench-50x20", stream=True),
        quick=["-c50", "-n150", "-R1", "-e50", "-w60"],
        unit="chunks",
    ),
    Test(
        "hold-500",
        "500 streams held, 50 chunks 100 ms apart",
        ["-c500", "-n500", "-R2", "-e50", "-w60"],
        chat("bench-50x100", stream=True),
        rounds=1,
        unit="chunks",
    ),
    Test(
        "hold-1000",
        "1000 streams held, 50 chunks 100 ms apart",
        ["-c1000", "-n1000", "-R2", "-e50", "-w60"],
        chat("bench-50x100", stream=True),
        rounds=1,
        in_quick=False,
        unit="chunks",
    ),
    Test(
        "hold-2000",
        "2000 streams held, 50 chunks 100 ms apart",
        ["-c2000", "-n2000", "-R3", "-e50", "-w60"],
        chat("bench-50x100", stream=True),
        rounds=1,
        in_quick=False,
        unit="chunks",
    ),
    Test(
        "image",
        "closed loop, 4 connections, 1.5 MB b64_json answer",
        ["-c4", "-d4"],
        json.dumps({"model": "bench", "prompt": "a cat"}),
        "/v1/images/generations",
        quick=["-c4", "-d2"],
    ),
    Test(
        "embed",
        "closed loop, 16 connections, 1536 floats",
        ["-c16", "-d4"],
        json.dumps({"model": "bench", "input": "a cat"}),
        "/v1/embeddings",
        in_quick=False,
    ),
]


# --- targets ---------------------------------------------------------------------------


class Running:
    """A started target."""

    def __init__(self, name: str, t: Target, bench: Bench, up_port: int = 0):
        self.name, self.t, self.proc, self.pid = name, t, None, 0
        self.port = t.port or (bench.up_port if name == "direct" else free_port())
        self.cpus = t.cpus or bench.args.gateway_cpus
        work = bench.work / name
        work.mkdir(parents=True, exist_ok=True)
        self.fill = {"port": self.port, "up": up_port or bench.up_port, "dir": bench.args.dir, "work": work}
        self.headers = [self.text(h) for h in t.headers]
        self.started_in = None
        if t.argv:
            for file, text in t.files.items():
                (work / file).write_text(self.text(text))
            argv = ["taskset", "-c", self.cpus, *map(self.text, t.argv)]
            self.log = open(work / "log.txt", "wb")
            env = {**os.environ, **{k: self.text(v) for k, v in t.env.items()}}
            begin = time.monotonic()
            self.proc = subprocess.Popen(
                argv, stdout=self.log, stderr=subprocess.STDOUT, env=env, cwd=work, start_new_session=True
            )
            self.pid = self.proc.pid
            self.wait_ready()
            self.started_in = time.monotonic() - begin
        elif name != "direct":
            self.pid = listener(self.port)
        self.rss_idle = self.rss_warm = rss(self.pid) if self.pid else 0

    def text(self, s: str) -> str:
        return s.format(**self.fill)

    def wait_ready(self, limit: float = 120):
        url = f"http://127.0.0.1:{self.port}{self.t.ready or '/v1/models'}"
        headers = dict(h.split(": ", 1) for h in self.headers)
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                break
            try:
                urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5).read()
                return
            except urllib.error.HTTPError as e:
                if e.code < 500:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        self.stop()
        sys.exit(f"{self.name} did not come up; see {self.log.name}")

    def version(self) -> str:
        if not self.t.version:
            return ""
        r = subprocess.run(list(map(self.text, self.t.version)), capture_output=True, text=True)
        out = (r.stdout + r.stderr).strip()
        if "==" in out:  # pip freeze: the telling ones only
            keep = (
                self.name,
                self.name.split("-")[0],
                self.name.replace("-", "_"),
                "uvicorn",
                "httptools",
                "starlette",
                "fastapi",
                "httpx",
                "aiohttp",
                "uvloop",
                "granian",
            )
            out = ", ".join(line for line in out.splitlines() if line.split("==")[0] in keep)
        return out

    def stop(self):
        if self.proc and self.proc.poll() is None:
            os.killpg(self.proc.pid, signal.SIGTERM)  # our own session, started above
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.proc.pid, signal.SIGKILL)
                self.proc.wait()


# --- the run ---------------------------------------------------------------------------


class Bench:
    def __init__(self, args):
        self.args = args
        self.work = Path(tempfile.mkdtemp(prefix="bench-"))
        self.build()
        self.up_port = args.upstream_port or free_port()
        self.upstream = subprocess.Popen(
            ["taskset", "-c", args.client_cpus, str(self.bin / "upstream"), str(self.up_port)]
        )
        self.running: list[Running] = []

    def build(self):
        self.bin = self.work
        for name in ("upstream", "load"):
            subprocess.run(["cc", "-O2", "-o", str(self.bin / name), str(HERE / "src" / f"{name}.c")], check=True)

    def load(self, r: Running, test: Test, options: list[str]) -> dict:
        body = self.work / f"{test.name}.json"
        body.write_text(test.body)
        argv = ["taskset", "-c", self.args.client_cpus, str(self.bin / "load"), *options, "-b", str(body)]
        for h in r.headers:
            argv += ["-H", h]
        argv += [str(r.port), r.t.prefix + test.path]
        begin, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run(argv, capture_output=True, text=True, timeout=400)
        if out.returncode:
            sys.exit(f"load client failed: {out.stderr}")
        res = json.loads(out.stdout)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        res["wall"] = time.monotonic() - begin
        res["client_cpu"] = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        return res

    def measure(self, r: Running, test: Test, options: list[str]) -> dict:
        peak = None
        if r.pid and test.name.startswith("hold"):
            peak = RssPeak(r.pid)
            peak.start()
        up0, cpu0 = cpu_seconds(self.upstream.pid), cpu_seconds(r.pid) if r.pid else 0.0
        res = self.load(r, test, options)
        res["upstream_cpu"] = cpu_seconds(self.upstream.pid) - up0
        res["driver_busy"] = (res["upstream_cpu"] + res["client_cpu"]) / res["wall"]  # of the one core they share
        if r.pid:
            res["cpu"] = cpu_seconds(r.pid) - cpu0
            done = res["chunks"] if test.unit == "chunks" else res["ok"]
            res["cpu_per_1k"] = 1000 * res["cpu"] / done if done else None
            res["cpu_per_1k_requests"] = 1000 * res["cpu"] / res["ok"] if res["ok"] else None
            res["rss_after"] = rss(r.pid)
            if peak:
                res["rss_peak"] = peak.stop()
                res["rss_per_stream"] = (res["rss_peak"] - r.rss_warm) / max(1, res["concurrent_max"])
        return res

    def start(self):
        time.sleep(0.2)
        for name, t in self.chosen().items():
            print(f"starting {name} ...", file=sys.stderr, flush=True)
            r = Running(name, t, self)
            self.running.append(r)
            for test in TESTS:  # warm up, and see that every kind of request works
                if (
                    test.path in {t.path for t in self.tests()}
                    and test.name in ("chat", "sse-burst", "image", "embed")
                    and test.name not in t.skip
                ):
                    res = self.load(
                        r,
                        test,
                        ["-c8", "-d3" if test.name == "chat" else "-d1", *[o for o in test.load if o.startswith("-e")]],
                    )
                    if not res["ok"] or res["broken"] or res["wrong"] or res["bad_status"]:
                        print(
                            f"  {name}: {test.name} warm-up went wrong: {res['first_error']} (ok {res['ok']})",
                            file=sys.stderr,
                        )
            r.rss_warm = rss(r.pid) if r.pid else 0

    def chosen(self) -> dict[str, Target]:
        out = {}
        for name in filter(None, self.args.targets.split(",")):
            if name not in TARGETS:
                sys.exit(f"no target {name}: have {', '.join(TARGETS)}")
            out[name] = TARGETS[name]
        for spec in self.args.url:
            name, url = spec.split("=", 1)
            u = urlsplit(url)
            if u.hostname not in ("127.0.0.1", "localhost"):
                sys.exit("only gateways on 127.0.0.1 are measured")
            path = u.path.rstrip("/")
            out[name] = Target(port=u.port or 80, prefix=path[:-3] if path.endswith("/v1") else path)
        for spec in self.args.header:
            name, h = spec.split("=", 1)
            out[name].headers.append(h)
        return out

    def tests(self) -> list[Test]:
        only = set(filter(None, self.args.only.split(",")))
        return [t for t in TESTS if (t.name in only if only else self.args.full or t.in_quick)]

    def run(self) -> dict:
        results: dict[str, dict[str, list[dict]]] = {}
        if self.tests():
            self.start()
        for test in self.tests():
            options = test.load if self.args.full or not test.quick else test.quick
            rounds = self.args.rounds or (5 if self.args.full else 3)
            if test.rounds:
                rounds = min(rounds, test.rounds if not self.args.full else 2 * test.rounds)
            for i in range(rounds):
                order = self.running[i % len(self.running) :] + self.running[: i % len(self.running)]
                for r in order:
                    if test.name in r.t.skip:
                        continue
                    res = self.measure(r, test, options)
                    results.setdefault(test.name, {}).setdefault(r.name, []).append(res)
                    bad = res["bad_status"] + res["broken"] + res["wrong"]
                    print(
                        f"{test.name} round {i + 1}/{rounds} {r.name}: ok {res['ok']} bad {bad} {res['rps']:.0f} rps, {res['chunks_per_s']:.0f} chunks/s, cpu {res.get('cpu', 0):.2f}s"
                        + (f" [{res['first_error']}]" if bad else ""),
                        file=sys.stderr,
                        flush=True,
                    )
                    time.sleep(0.3)
        return {
            "when": time.strftime("%Y-%m-%d %H:%M:%S"),
            "machine": {
                "cpu": cpu_model(),
                "cores": os.cpu_count(),
                "kernel": platform.release(),
                "python": platform.python_version(),
            },
            "mode": "full" if self.args.full else "quick",
            "pinning": {"gateway": self.args.gateway_cpus, "upstream and client": self.args.client_cpus},
            "tests": {
                t.name: {"what": t.what, "load": t.load if self.args.full or not t.quick else t.quick}
                for t in self.tests()
            },
            "targets": {
                r.name: {
                    "version": r.version(),
                    "cpus": r.cpus,
                    "rss_idle": r.rss_idle,
                    "rss_end": rss(r.pid) if r.pid else 0,
                    "start_seconds": r.started_in,
                }
                for r in self.running
            },
            "results": results,
            "engine": tasks.run(self) if "ours" in self.chosen() else {},
        }

    def launched(self, name: str, target: Target, up_port: int) -> Running:
        return Running(name, target, self, up_port)

    def stop(self):
        for r in self.running:
            r.stop()
        self.upstream.terminate()
        self.upstream.wait()
        if self.args.keep:
            print(f"logs kept in {self.work}", file=sys.stderr)
        else:
            shutil.rmtree(self.work, ignore_errors=True)


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


# --- the report ------------------------------------------------------------------------


def median(rounds: list[dict], *path: str):
    values = []
    for res in rounds:
        for key in path:
            res = res.get(key) if isinstance(res, dict) else None
        if res is not None:
            values.append(res)
    return statistics.median(values) if values else None


def show(x, digits: int = 2, suffix: str = "") -> str:
    if x is None:
        return "–"
    return f"{x:,.{digits}f}{suffix}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def added(rounds: list[dict], direct: list[dict] | None, *path: str):
    """Median over rounds of this target's figure minus direct's in the same round."""
    if not direct:
        return None
    diffs = [
        median([a], *path) - median([b], *path)
        for a, b in zip(rounds, direct, strict=False)
        if median([a], *path) is not None and median([b], *path) is not None
    ]
    return statistics.median(diffs) if diffs else None


def report(data: dict) -> str:
    res, base = (
        data["results"],
        data.get("baseline") or next((n for n in ("litellm", "portkey", "nginx") if n in data["targets"]), ""),
    )
    m, out = data["machine"], []
    out.append(
        f"{data['when']}, {data['mode']}; {m['cpu']}, {m['cores']} cores, Linux {m['kernel']}; gateway on CPU {data['pinning']['gateway']}, "
        f"upstream and client on CPU {data['pinning']['upstream and client']}. Medians over rounds, targets in turn within each round. "
        "A rate with * is limited by the core of upstream and client: only the CPU column tells there."
    )
    rows = []
    for name, t in data["targets"].items():
        rows.append(
            [
                name,
                t["version"].replace("|", "/"),
                t["cpus"],
                show(t["start_seconds"], 1),
                show(t["rss_idle"] / 2**20, 0),
                show(t["rss_end"] / 2**20, 0),
            ]
        )
    if rows:
        out.append(
            "### Targets\n\n" + table(["target", "version", "CPUs", "start s", "RSS idle MiB", "RSS end MiB"], rows)
        )
    for test, by_target in res.items():
        info, rows = data["tests"][test], []
        direct = by_target.get("direct")
        stream, unit = test.startswith(("sse", "hold")), "chunks" if test.startswith(("sse", "hold")) else "requests"
        base_cpu, base_rate = (
            (median(by_target[base], "cpu_per_1k"), median(by_target[base], "rps"))
            if base in by_target
            else (None, None)
        )
        for name, rounds in by_target.items():
            ok, bad = sum(r["ok"] for r in rounds), sum(r["bad_status"] + r["broken"] + r["wrong"] for r in rounds)
            cpu, rps = median(rounds, "cpu_per_1k"), median(rounds, "rps")
            limited = "*" if (median(rounds, "driver_busy") or 0) > 0.85 and name != "direct" else ""
            row = [name, show(cpu, 3), show(base_cpu / cpu if cpu and base_cpu else None, 1, "×")]
            if stream:
                row += [show(median(rounds, "chunks_per_s"), 0) + limited]
            else:
                row += [show(rps, 0) + limited]
            if not test.startswith("rate"):
                row += [show(rps / base_rate if rps and base_rate else None, 1, "×")]
            if stream:
                for path in (("ttft", "p50"), ("ttft", "p99"), ("chunk", "p50"), ("chunk", "p99")):
                    row.append(show(added(rounds, direct, *path)))
                row.append(show(median(rounds, "jitter", "p99")))
            elif test.startswith("rate"):
                row += [show(added(rounds, direct, "latency", q)) for q in ("p50", "p95", "p99")]
            else:
                row += [show(median(rounds, "latency", q)) for q in ("p50", "p99")]
            if test.startswith("hold"):
                peak, per = median(rounds, "rss_peak"), median(rounds, "rss_per_stream")
                row += [
                    show(peak / 2**20 if peak else None, 0),
                    show(per / 1024 if per else None, 1),
                    show(median(rounds, "concurrent_max"), 0),
                ]
            row.append(f"{ok:,} / {bad:,}")
            rows.append(row)
        head = ["target", f"gateway CPU-s per 1k {unit}", f"{base} CPU ÷ this", "chunks/s" if stream else "requests/s"]
        if not test.startswith("rate"):
            head.append(f"this ÷ {base} rate")
        if stream:
            head += ["TTFT added p50 ms", "p99", "chunk added p50 ms", "p99", "jitter p99 ms"]
        elif test.startswith("rate"):
            head += ["added p50 ms", "p95", "p99"]
        else:
            head += ["latency p50 ms", "p99"]
        if test.startswith("hold"):
            head += ["RSS peak MiB", "KiB per stream", "most at once"]
        head.append("ok / bad")
        out.append(f"### {test}: {info['what']}\n\n" + table(head, rows))
    for title, head, rows in tasks.tables(data.get("engine", {})):
        out.append(f"### {title}\n\n" + table(head, rows))
    return "\n\n".join(out) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--targets",
        default="direct,nginx,ours" if shutil.which("nginx") else "direct,ours",
        help=f"of {', '.join(TARGETS)}",
    )
    p.add_argument(
        "--url", action="append", default=[], metavar="NAME=URL", help="a gateway that already runs on 127.0.0.1"
    )
    p.add_argument("--header", action="append", default=[], metavar="NAME=K: V", help="header to send to a target")
    size = p.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="3 short rounds of the main tests (the default)")
    size.add_argument("--full", action="store_true", help="5 rounds of all tests")
    p.add_argument("--only", default="", help=f"tests: {', '.join([*(t.name for t in TESTS), *tasks.TESTS])}")
    p.add_argument("--rounds", type=int, default=0)
    p.add_argument("--baseline", default="", help="target the ratios are against (default litellm)")
    p.add_argument("--gateway-cpus", default="0")
    p.add_argument("--client-cpus", default="1")
    p.add_argument(
        "--upstream-port", type=int, default=0, help="fix the fake upstream's port, for gateways configured by hand"
    )
    tasks.add_options(p)
    p.add_argument("--dir", default=os.environ.get("BENCH_DIR", "/tmp/bench"), help="where setup.sh put the peers")
    p.add_argument("--json", default="", help="write everything here (default bench-<time>.json in --dir)")
    p.add_argument("--keep", action="store_true", help="keep the peers' logs")
    p.add_argument("--report", default="", metavar="JSON", help="only print the tables of an earlier run")
    args = p.parse_args()
    if args.report:
        data = json.loads(Path(args.report).read_text())
        print(report({**data, "baseline": args.baseline or data.get("baseline")}))
        return
    bench = Bench(args)
    try:
        data = bench.run()
    finally:
        bench.stop()
    data["baseline"] = args.baseline
    path = Path(args.json or Path(args.dir) / time.strftime("bench-%m%d-%H%M%S.json"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1))
    print(report(data))
    print(f"raw figures: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
