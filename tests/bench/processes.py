"""What /proc tells of processes: their CPU time and memory, those below them included."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (s := stat(int(entry))):
            children.setdefault(int(s[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """CPU time of a process and all below it, the ended children of each included."""
    total = 0
    for pid in tree(root):
        if s := stat(pid):
            total += sum(int(x) for x in s[11:15])
    return total / TICK


def rss(root: int) -> int:
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return total


def listener(port: int) -> int:
    """The pid that listens on a local port: the one highest in its tree."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            f = line.split()
            if f[3] == "0A" and int(f[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{f[9]}]")
    holders = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                for fd in os.scandir(f"/proc/{entry}/fd"):
                    if os.readlink(fd.path) in inodes:
                        holders.add(int(entry))
                        break
            except OSError:
                pass
    for pid in sorted(holders):
        if (s := stat(pid)) and int(s[1]) not in holders:
            return pid
    return 0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class RssPeak(threading.Thread):
    def __init__(self, root: int):
        super().__init__(daemon=True)
        self.root, self.peak, self.done = root, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.2):
            self.peak = max(self.peak, rss(self.root))

    def stop(self) -> int:
        self.done.set()
        self.join()
        return self.peak
