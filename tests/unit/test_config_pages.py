"""The example file and the page of docs tell every key that there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from gateway.config import Config, load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"
LONG_ENOUGH = "0123456789abcdef0123456789abcdef"


def sections(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections inside an annotation, each with how a path goes there: by a name, or through a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    for inner in get_args(annotation):
        for step, section in sections(inner):
            yield "[]" if getattr(annotation, "__origin__", None) is tuple else step, section


def paths(model: type[BaseModel], at: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = f"{at}.{name}" if at else name
        inner = list(sections(field.annotation))
        if not inner or inner[0][0] or path in BY_NAME:
            yield path
        for step, section in inner:
            yield from paths(section, path + step)


BY_NAME = {"models.prices", "upstreams[].models[].parameters", "upstreams[].models[].inputs"}
"""Sections that stand in a mapping, under names that the operator gives."""

ALL_PATHS = list(paths(Config))


def written(tree: Any, at: str = "", *, named: bool = False) -> Iterator[str]:
    """`named`: it stands under a name that the operator gave."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            by_name = at in BY_NAME and not named
            path = at if by_name else f"{at}.{key}" if at else key
            yield path
            yield from written(value, path, named=by_name)
    elif isinstance(tree, list):
        for item in tree:
            yield from written(item, f"{at}[]")


def test_the_paths_are_those_of_the_whole_tree() -> None:
    assert {"server.port", "upstreams", "upstreams[].accounts[].weight", "models.aliases"} <= set(ALL_PATHS)


def test_the_example_is_valid(tmp_path: Path) -> None:
    text = EXAMPLE.read_text("utf-8")
    needed = set(re.findall(r"(?<!\$)\$\{(\w+)\}", "\n".join(line.split("#")[0] for line in text.splitlines())))
    config = load({"GATEWAY_CONFIG": str(EXAMPLE)} | dict.fromkeys(needed, LONG_ENOUGH), tmp_path)
    assert config.upstreams[0].options == config.upstreams[0].accounts[0].options == {}


def test_the_example_has_every_key_there_is() -> None:
    assert set(ALL_PATHS) - set(written(yaml.safe_load(EXAMPLE.read_text("utf-8")))) == set()


def test_the_defaults_in_the_example_are_the_defaults(tmp_path: Path) -> None:
    example = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    config = load({}, tmp_path).model_dump(mode="json")
    for section in ("server", "pool", "tasks", "webhooks", "timeouts", "limits", "log"):
        assert example[section] == config[section]


def test_the_page_tells_every_key_and_no_other() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z_.\[\]]+)` \|", page, re.MULTILINE)) == set(ALL_PATHS)
