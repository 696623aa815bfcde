"""What a person sees when the gateway has started: what is configured, who answers, what to try."""

from __future__ import annotations

from gateway import __version__
from gateway.routes.house import House
from gateway.upstreams import types

WIDTH = 78


def banner(house: House, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    base = house.config.server.public_url or f"http://{shown}:{port}"
    lines = [
        "",
        f"  mediagate {__version__}  ·  {base}",
        "  " + "─" * WIDTH,
        *_upstreams(house),
        f"  database   {house.database.url.render_as_string(hide_password=True)}",
        f"  storage    {_storage(house)}",
        f"  callers    {_callers(house, host)}",
        "  " + "─" * WIDTH,
        *_commands(base, bool(house.config.access.keys)),
        "",
    ]
    return "\n".join(lines)


def _upstreams(house: House) -> list[str]:
    if house.sandbox:
        return [
            "  upstreams  none configured: the sandbox answers every model name with made-up results.",
            f"             Set {_variables()} or write a config.yaml to reach real ones.",
        ]
    lines = []
    for name, pool in house.relay.pools.items():
        count = len(pool.accounts)
        lines.append(f"  upstream   {name}: {count} account{'s' if count != 1 else ''}")
    return lines


def _variables() -> str:
    """The environment variables that make accounts, one of each provider."""
    return ", ".join(sorted(kind.env_credentials[0] for kind in types().values() if kind.env_credentials))


def _storage(house: House) -> str:
    scheme, _, rest = house.config.storage.url.partition("://")
    return f"{scheme}://{rest}" if scheme == "file" else f"{scheme}://…"


def _callers(house: House, host: str) -> str:
    count = len(house.config.access.keys)
    if count:
        return f"{count} API key{'s' if count != 1 else ''}"
    if house.insecure:
        return f"anybody who reaches {host} (--insecure)"
    return "no API keys: this machine only (set API_KEYS to let others in)"


def _commands(base: str, keys: bool) -> list[str]:
    key = ' -H "Authorization: Bearer $KEY"' if keys else ""
    return [
        "  try        a chat, streamed:",
        f"    curl -N {base}/v1/chat/completions{key} \\",
        '      -d \'{"stream":true,"messages":[{"role":"user","content":"Hello, who are you?"}]}\'',
        "             an image; open the URL in `content`:",
        f"    curl {base}/api/chat{key} \\",
        '      -d \'{"message":"a lighthouse at dusk","chatType":"t2i","size":"16:9"}\'',
        "             a video, ready in a few seconds; open `video_url` in a browser:",
        f"    curl {base}/api/chat{key} \\",
        '      -d \'{"message":"waves rolling in","chatType":"t2v","size":"16:9"}\'',
    ]
