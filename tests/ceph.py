"""A real S3 server for tests: Ceph's object gateway over a monitor and one disk in memory, on loopback.

    def test_x(ceph: Ceph) -> None:
        bucket = ceph.bucket()
        Gateway(env={**ceph.env(), "STORAGE_URL": f"s3://{bucket}"})
        ceph.stop()  # connections are refused
        ceph.start()
        with ceph.frozen():  # connections are accepted and nothing answers
            ...

It starts when the first test asks for it (1 to 5 seconds) and is this process's own (with pytest-xdist: the worker's),
so that stopping it disturbs nobody else. Its programs end with this process, however that ends. Their logs are in
`ceph*/log` below pytest's temporary directory.

Debian: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
Where it is not installed its tests are skipped, and fail if the environment variable CI is set.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.emulators.aws_v4 import signed_headers

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "ceph-authtool", "monmaptool")
REGION = "us-east-1"
START_SECONDS = 30.0
HELD = 'log=$1; shift; "$@" >>"$log" 2>&1 & echo $!; read -r _; kill -9 $! 2>/dev/null; wait'
"""Runs a program until the shell's input ends, which it does with the process that holds the other end."""
SETTINGS = """\
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v1:127.0.0.1:{port}/0]
ms_bind_msgr2 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_crush_update_on_start = false
osd_class_update_on_start = false
osd_objectstore = memstore
memstore_device_bytes = 2147483648
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
rgw_cache_enabled = false
log_file = {home}/log/$name.log
mon_data = {home}/mon
osd_data = {home}/osd
rgw_data = {home}/rgw
keyring = {home}/keyring
run_dir = {home}
admin_socket =
pid_file =
setuser_match_path =
[osd]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
"""


@dataclass(frozen=True)
class User:
    key_id: str
    secret: str


class Ceph:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "log"
        self.endpoint = ""
        self.user = User("", "")
        """Owns every bucket."""
        self._held: list[subprocess.Popen[str]] = []
        self._gateway: tuple[subprocess.Popen[str], int] | None = None

    def env(self, user: User | None = None) -> dict[str, str]:
        """What a process needs in its environment to use `s3://<bucket>`."""
        user = user or self.user
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": user.key_id,
            "AWS_SECRET_ACCESS_KEY": user.secret,
        }

    def bucket(self) -> str:
        """A new one, empty."""
        name = f"test-{secrets.token_hex(8)}"
        self.ask("PUT", name)
        return name

    def keys(self, bucket: str) -> list[str]:
        """What is visible in a bucket, up to 1000 keys."""
        return [part.partition("</Key>")[0] for part in self.ask("GET", bucket).decode().split("<Key>")[1:]]

    def uploads(self, bucket: str) -> int:
        """How many multipart uploads are begun and neither completed nor given up, up to 1000."""
        return self.ask("GET", f"{bucket}?uploads").count(b"<UploadId>")

    def allow(self, bucket: str, user: User, *actions: str) -> None:
        """Give another user these rights (`s3:GetObject` …) to a bucket and all in it, and take away others it had."""
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam:::user/{user.key_id.lower()}"]},
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.ask("PUT", f"{bucket}?policy", json.dumps(policy).encode())

    def new_user(self) -> User:
        """Another, who has no rights to the buckets."""
        user = User(f"K{secrets.token_hex(8)}".upper(), secrets.token_hex(16))
        made = ["user", "create", f"--uid={user.key_id.lower()}", "--display-name=x"]
        self._run("radosgw-admin", *made, f"--access-key={user.key_id}", f"--secret-key={user.secret}")
        return user

    def full(self, bucket: str) -> None:
        """Let a bucket take no more objects."""
        self._run("radosgw-admin", "quota", "set", "--quota-scope=bucket", f"--bucket={bucket}", "--max-objects=0")
        self._run("radosgw-admin", "quota", "enable", "--quota-scope=bucket", f"--bucket={bucket}")

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """One request of the owner's: `bucket`, `bucket/key` or `bucket?policy`."""
        url = f"{self.endpoint}/{path}"
        headers = signed_headers(method, url, body, self.user.key_id, self.user.secret, REGION)
        request = urllib.request.Request(url, data=body or None, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def stop(self) -> None:
        """The gateway is killed; what is stored stays."""
        if self._gateway is not None:
            shell, pid = self._gateway
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            end(shell)
            self._gateway = None

    def start(self) -> None:
        """The gateway is there again, at the same address."""
        address = self.endpoint.removeprefix("http://")
        options = ["-f", "-n", "client.rgw", f"--rgw_frontends=beast endpoint={address}", "--rgw_thread_pool_size=64"]
        self._gateway = self._hold("radosgw", *options)
        self._until(self._answers, "the object gateway")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The gateway stands still: its connections stay open and nothing answers."""
        assert self._gateway is not None
        pid = self._gateway[1]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def begin(self) -> None:
        """Start all of it."""
        for place in ("log", "mon", "osd", "rgw"):
            (self.home / place).mkdir(parents=True)
        fsid, port = str(uuid.uuid4()), free_port()
        (self.home / "ceph.conf").write_text(SETTINGS.format(fsid=fsid, port=port, home=self.home))
        keyring, monmap = str(self.home / "keyring"), str(self.home / "monmap")
        everything = [word for daemon in ("mon", "osd", "mgr") for word in ("--cap", daemon, "allow *")]
        self._run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *everything)
        self._run("monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{port}]", "--fsid", fsid, monmap)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
        self._held.append(self._hold("ceph-mon", "-f", "-i", "a")[0])
        disk = str(uuid.uuid4())
        # The monitor refuses the commands of clients that ask too soon after they connected.
        place = ["ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=here"]
        self._until(lambda: self._tried("ceph", "osd", "new", disk) == 0, "the monitor")
        self._until(lambda: self._tried(*place) == 0, "the monitor")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._held.append(self._hold("ceph-osd", "-f", "-i", "0")[0])
        self.user = self.new_user()
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.start()

    def end(self) -> None:
        self.stop()
        for shell in self._held:
            end(shell)
        for place in ("mon", "osd", "rgw"):
            shutil.rmtree(self.home / place, ignore_errors=True)

    def _run(self, *command: str) -> None:
        assert self._tried(*command) == 0, f"{command[0]} failed, see {self.log}"

    def _tried(self, *command: str) -> int:
        with (self.log / "commands").open("a") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            output = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            return subprocess.run(command, env=self._env, timeout=START_SECONDS, **output).returncode

    def _hold(self, *command: str) -> tuple[subprocess.Popen[str], int]:
        return held(command, self.log / command[0], self._env)

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self.home / "ceph.conf")}

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(self.endpoint, timeout=START_SECONDS):
            return True
        return False

    def _until(self, there: Callable[[], bool], what: str) -> None:
        over = time.monotonic() + START_SECONDS
        while not there():
            assert time.monotonic() < over, f"{what} does not start, see {self.log}"
            time.sleep(0.02)


def held(command: Sequence[str], log: Path, env: Mapping[str, str]) -> tuple[subprocess.Popen[str], int]:
    """A program that ends with us, in a session of its own: an interrupted test run is no signal to it."""
    shell = subprocess.Popen(
        ["/bin/sh", "-c", HELD, "sh", str(log), *command],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert shell.stdout is not None
    return shell, int(shell.stdout.readline())


def end(shell: subprocess.Popen[str]) -> None:
    shell.communicate(timeout=10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {', '.join(missing)}")
    server = Ceph(tmp_path_factory.mktemp("ceph"))
    try:
        server.begin()
        yield server
    finally:
        server.end()
