"""The gateways measured side by side.

`ours` is mediagate as an operator runs it: key check, four accounts, usage written to the database, a log line a
request. To add one, add an entry to TARGETS.  `{port}`, `{up}` (the fake upstream's port) and
`{dir}` (the folder with installed peers, see setup.sh) are filled in.  A gateway that
already runs needs no entry: `run.py --url name=http://127.0.0.1:8000`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The model names the tests use; gateways that want their models listed get all of them.
MODELS = ["bench", "bench-100x0", "bench-50x20", "bench-50x100"]


@dataclass
class Target:
    argv: list[str] = field(default_factory=list)  # command that serves on {port}; empty: nothing to start
    port: int = 0  # where it listens; 0: a port is given to it
    headers: list[str] = field(default_factory=list)  # sent with every request
    prefix: str = ""  # in front of /v1/...
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # name -> text, written to {work} before the start
    version: list[str] = field(default_factory=list)  # command that prints the version
    cpus: str = ""  # taskset list, when not the run's --gateway-cpus
    ready: str = ""  # path that answers below 500 once the gateway is up (default /v1/models)
    skip: tuple[str, ...] = ()  # tests it cannot do


NGINX = """
worker_processes 1;
daemon off;
pid {work}/nginx.pid;
error_log {work}/nginx-error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_max_body_size 64m;
  client_body_buffer_size 1m;
  client_body_temp_path {work}/nginx-body;
  proxy_temp_path {work}/nginx-proxy;
  fastcgi_temp_path {work}/nginx-fastcgi;
  uwsgi_temp_path {work}/nginx-uwsgi;
  scgi_temp_path {work}/nginx-scgi;
  keepalive_requests 1000000;
  upstream up {{ server 127.0.0.1:{up}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://up;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_buffer_size 64k;
      proxy_buffers 8 64k;
      proxy_busy_buffers_size 128k;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""

LITELLM = (
    "model_list:\n"
    + "".join(
        f"  - model_name: {m}\n    litellm_params:\n      model: openai/{m}\n      api_base: http://127.0.0.1:{{up}}/v1\n      api_key: sk-bench\n"
        for m in MODELS
    )
    + "general_settings:\n  master_key: sk-bench-0123456789\n"
    "litellm_settings:\n  set_verbose: false\n  telemetry: false\n  request_timeout: 600\n"
)
LITELLM_ENV = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_TELEMETRY": "False",
}
LITELLM_ARGV = [
    "{dir}/litellm/bin/litellm",
    "--config",
    "{work}/litellm.yaml",
    "--host",
    "127.0.0.1",
    "--port",
    "{port}",
]


def litellm(*more: str, cpus: str = "") -> Target:
    return Target(
        argv=[*LITELLM_ARGV, *more],
        headers=["Authorization: Bearer sk-bench-0123456789"],
        env=LITELLM_ENV,
        files={"litellm.yaml": LITELLM},
        version=["{dir}/litellm/bin/pip", "list", "--format=freeze"],
        cpus=cpus,
        ready="/health/liveliness",
    )


OURS = """
access: {{keys: [{{name: bench, key: sk-bench-0123456789, role: developer}}]}}
upstreams:
  - name: bench
    type: openai_compatible
    base_url: http://127.0.0.1:{up}/v1
    models: [{{id: bench, kinds: [t2t, t2i, embedding]}}, bench-100x0, bench-50x20, bench-50x100]
    accounts:
"""
OURS += "".join(f"      - {{{{name: a{n}, api_key: sk-upstream-{n}, max_concurrency: 4096}}}}\n" for n in range(4))

TARGETS: dict[str, Target] = {
    "ours": Target(
        argv=[sys.executable, "-m", "gateway", "serve", "--port", "{port}"],
        headers=["Authorization: Bearer sk-bench-0123456789"],
        env={"GATEWAY_CONFIG": "{work}/ours.yaml", "GATEWAY_DATA_DIR": "{work}/var", "PYTHONPATH": str(ROOT)},
        files={"ours.yaml": OURS},
        version=["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        ready="/readyz",
    ),
    "direct": Target(),
    "nginx": Target(
        argv=["nginx", "-p", "{work}", "-c", "{work}/nginx.conf"],
        files={"nginx.conf": NGINX},
        version=["nginx", "-v"],
    ),
    "litellm": litellm("--num_workers", "1"),
    "litellm-2": litellm("--num_workers", "2", cpus="0,1"),
    "litellm-granian": litellm("--num_workers", "1", "--run_granian"),
    "portkey": Target(
        argv=[
            "node",
            "{dir}/portkey/node_modules/@portkey-ai/gateway/build/start-server.js",
            "--headless",
            "--port={port}",
        ],
        headers=[
            "Authorization: Bearer sk-bench",
            "x-portkey-provider: openai",
            "x-portkey-custom-host: http://127.0.0.1:{up}/v1",
        ],
        env={"NODE_ENV": "production"},
        version=[
            "node",
            "-p",
            "require('{dir}/portkey/node_modules/@portkey-ai/gateway/package.json').version + ' node ' + process.version",
        ],
        ready="/",
    ),
    "openai-forward": Target(
        argv=[
            "{dir}/openai-forward/bin/uvicorn",
            "openai_forward.app:app",
            "--host",
            "127.0.0.1",
            "--port",
            "{port}",
            "--no-access-log",
        ],
        headers=["Authorization: Bearer sk-bench"],
        env={
            "FORWARD_CONFIG": '[{{"base_url":"http://127.0.0.1:{up}","route":"/","type":"openai"}}]',
            "TIMEOUT": "120",
        },
        version=["{dir}/openai-forward/bin/pip", "list", "--format=freeze"],
    ),
}
