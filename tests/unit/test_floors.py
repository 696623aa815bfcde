"""The house stands: imports point down only, a provider's name stays in its file, files stay small and named."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from gateway.upstreams import types

ROOT = Path(__file__).parents[2] / "gateway"
FILES = sorted(path for path in ROOT.rglob("*.py"))
MOST_LINES = 450

FLOORS = (
    ("errors", "types", "config"),
    ("wire", "sse", "http", "sandbox", "drain", "links", "live", "patience"),
    ("upstreams", "db", "state", "storage"),
    ("accounts", "assets", "catalog", "access", "usage", "conversations"),
    ("relay",),
    ("tasks",),
    ("routes", "console"),
    ("app", "cli", "server", "protocol", "banner", "logs", "checkup", "reload", "background", "__main__"),
)
"""Rooms from the ground floor up."""
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
APART = frozenset(FLOORS[2])
"""Rooms of one floor that never know each other."""
NO_ROOMS = {"__init__", "__version__"}

NAMELESS = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "core",
    "manager",
    "service",
    "handler",
    "misc",
    "base_utils",
}

EXCEPTIONS = {
    ("routes/house.py", "sandbox"): "the field of House: whether the stand-in answers every name",
    ("routes/status.py", "sandbox"): "the same, told by GET /api/status",
    ("routes/serving.py", "sandbox"): "the directive of Content-Security-Policy, no provider",
    ("banner.py", "sandbox"): "the same field, told to who starts the gateway",
    ("app.py", "sandbox"): "where that field is filled",
    ("upstreams/dashscope/models.py", "qwen"): "names of models that both have, each by an API of its own",
    ("upstreams/dashscope/dialect.py", "openai_compatible"): "the provider whose relay of text it is built on",
}
"""A provider's name where it may stand outside of its file, and why."""
OWN_ROOMS = {"sandbox": "sandbox/"}
"""Rooms that belong to one provider: what it makes is made there."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: a relative import"
            if node.module == "gateway":
                yield from (f"gateway.{name.name}" for name in node.names)
            else:
                yield node.module or ""


def rooms_known(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("gateway.")} - NO_ROOMS


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in FILES} - NO_ROOMS <= set(FLOOR_OF)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    if here in NO_ROOMS:
        assert rooms_known(path) == set()
        return
    for other in rooms_known(path) - {here}:
        assert FLOOR_OF[other] <= FLOOR_OF[here], f"{here} (floor {FLOOR_OF[here]}) must not know {other}"
        assert not {here, other} <= APART, f"{here} and {other} must not know each other"


def test_nothing_below_the_routes_and_the_client_s_side_knows_the_web_framework() -> None:
    knowing = {room(path) for path in FILES if any(name.split(".")[0] == "starlette" for name in imported(path))}
    assert knowing <= {"routes", "live", "console", "app", "server"}
    assert "upstreams" not in knowing


def test_an_upstream_sees_neither_pool_nor_database_nor_tasks() -> None:
    known = set().union(*(rooms_known(path) for path in FILES if room(path) == "upstreams"))
    assert known <= {"errors", "types", "config", "wire", "sse", "http", "sandbox", "upstreams"}


# --- a provider is one file ---


def docstrings(module: ast.Module) -> set[ast.AST]:
    """The string nodes that stand alone as statements: docs of modules, classes, functions and fields."""
    return {
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def words(path: Path) -> Iterator[str]:
    """Every identifier, imported name and string of a file, docs and comments left out."""
    module = tree(path)
    docs = docstrings(module)
    for node in ast.walk(module):
        match node:
            case ast.Constant(value=str(text)) if node not in docs:
                yield text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield f"{name} {other or ''}"
            case ast.ImportFrom(module=str(name)):
                yield name
            case _:
                pass


def named(provider: str) -> re.Pattern[str]:
    """The name as a word, or as a part of an identifier: `sandbox_seconds`, `SandboxOptions`, `SANDBOX_KEY`."""
    lower, title, upper = re.escape(provider), re.escape(provider.title().replace("_", "")), re.escape(provider.upper())
    return re.compile(rf"(?<![A-Za-z]){lower}(?![a-z])|{title}(?![a-z])|(?<![A-Z]){upper}(?![A-Z])")


def told_of(provider: str) -> list[str]:
    """The files that name a provider and are neither its own nor an exception."""
    own = types()[provider].__module__.removeprefix("gateway.").replace(".", "/")
    found = []
    for path in FILES:
        at = relative(path)
        if at.startswith((f"{own}.py", f"{own}/", OWN_ROOMS.get(provider, "\0"))) or (at, provider) in EXCEPTIONS:
            continue
        if any(named(provider).search(word) for word in words(path)):
            found.append(at)
    return found


@pytest.mark.parametrize("provider", sorted(types()))
def test_a_provider_s_name_is_nowhere_but_in_its_file(provider: str) -> None:
    assert told_of(provider) == []


def test_each_exception_is_still_needed() -> None:
    for (at, provider), why in EXCEPTIONS.items():
        assert any(named(provider).search(word) for word in words(ROOT / at)), f"{at}: {why}"


# --- files ---


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_file_is_too_long(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= MOST_LINES


def test_every_file_and_folder_is_named_for_what_it_is() -> None:
    names = {part.removesuffix(".py") for path in FILES for part in path.relative_to(ROOT).parts}
    assert names & NAMELESS == set()


def test_nobody_else_brings_a_package_of_our_name() -> None:
    assert set(packages_distributions().get("gateway", ())) <= {"mediagate"}
