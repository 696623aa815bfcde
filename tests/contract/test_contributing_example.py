"""The provider that CONTRIBUTING.md builds runs as it stands there: its own tests, and behind a real gateway."""

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.acceptance.gateway_process import lines, running, served

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
FILES = dict(
    re.findall(r"`((?:gateway|tests)/[\w/]+\.py)`[^`]*:\n\n```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
PROVIDER = "gateway/upstreams/lantern.py"
EMULATOR = "tests/emulators/lantern.py"
TESTS = "tests/unit/upstreams/test_lantern.py"


def made(monkeypatch: pytest.MonkeyPatch, path: str) -> ModuleType:
    """A file of the page as the module it would be."""
    name = path.removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    parent, _, own = name.rpartition(".")
    monkeypatch.setattr(import_module(parent), own, module, raising=False)
    exec(compile(FILES[path], path, "exec", dont_inherit=True), module.__dict__)
    return module


def test_the_page_shows_the_three_files() -> None:
    assert set(FILES) == {PROVIDER, EMULATOR, TESTS}


async def test_its_own_tests_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    made(monkeypatch, PROVIDER)
    made(monkeypatch, EMULATOR)
    tests = [test for name, test in vars(made(monkeypatch, TESTS)).items() if name.startswith("test_")]
    assert len(tests) >= 4
    for test in tests:
        assert inspect.iscoroutinefunction(test)
        await test()


def test_a_gateway_finds_it_by_its_entry_point_and_serves_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages, home = tmp_path / "packages", tmp_path / "home"
    announced = packages / "lantern-1.0.dist-info"
    announced.mkdir(parents=True)
    home.mkdir()
    (packages / "lantern.py").write_text(FILES[PROVIDER])
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: lantern\nVersion: 1.0\n")
    (announced / "entry_points.txt").write_text("[gateway.upstreams]\nlantern = lantern:Lantern\n")
    made(monkeypatch, PROVIDER)
    emulator = made(monkeypatch, EMULATOR).Emulator()
    with served(emulator.app) as url:
        accounts = [{"name": "a", "api_key": made(monkeypatch, EMULATOR).KEY}]
        stanza = {"name": "stories", "type": "lantern", "base_url": url, "mood": "bright", "accounts": accounts}
        env = {"PYTHONPATH": f"{ROOT}:{packages}"}
        with running(home, {"upstreams": [stanza]}, env=env) as gateway, gateway.client() as http:
            asked = {"model": "lantern-1", "messages": [{"role": "user", "content": "a fox"}], "stream": True}
            answer = http.post("/v1/chat/completions", json=asked)
    assert answer.headers["x-gateway-upstream"] == "stories"
    *chunks, done = lines(answer)
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert (said.split(), done) == (["Once", "there", "was", "a", "fox"], "[DONE]")
    assert emulator.asked[0]["mood"] == "bright"


def test_it_keeps_the_rules_of_the_code(tmp_path: Path) -> None:
    """Linted and formatted as the gateway is."""
    for path, text in FILES.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    config = ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    for command in (["check", "--ignore", "I001"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config, str(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
