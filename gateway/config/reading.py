"""From a YAML file and the environment to the tree."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from gateway.config.problems import Location, Problem, config_error, path_of, sentences
from gateway.config.tree import Config
from gateway.errors import ConfigError

OVERRIDES: Final[Mapping[str, tuple[str, ...]]] = {
    "HOST": ("server", "host"),
    "PORT": ("server", "port"),
    "GATEWAY_PUBLIC_URL": ("server", "public_url"),
    "GATEWAY_DATA_DIR": ("data_dir",),
    "DATABASE_URL": ("database_url",),
    "REDIS_URL": ("redis_url",),
    "GATEWAY_BACKGROUND": ("tasks", "background"),
    "STORAGE_URL": ("storage", "url"),
    "GATEWAY_MASTER_KEY": ("master_key",),
}
"""Environment variables that win over the file. One that is set but empty counts as not set."""

PREVIOUS_VARIABLE: Final = "GATEWAY_PREVIOUS_MASTER_KEYS"
"""Several, comma-separated."""
PREVIOUS_LOCATION: Final = ("previous_master_keys",)

NEVER_EMPTY: Final = "GATEWAY_MASTER_KEY"
"""An empty master key is a deployment gone wrong, not a wish for none."""

KEYS_VARIABLE: Final = "API_KEYS"
KEYS_LOCATION: Final = ("access", "keys")
REFERENCE: Final = re.compile(r"(\$\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
"""`$${` is a plain `${`; a `${` that opens no reference is a mistake."""


def load(env: Mapping[str, str], cwd: Path) -> Config:
    """The configuration: the file named by GATEWAY_CONFIG (`config.yaml` if there), then what the environment says.

    Relative paths are relative to `cwd`. Raises ConfigError that tells every problem at once.
    """
    file = _file(env, cwd)
    written = _read(file) if file else {}
    problems: list[Problem] = []
    expanded = _expand(written, (), env, problems)
    given, written = _override(expanded, env), _override(written, env)
    problems += [*_repeats(given, ("upstreams",), "name"), *_repeated_accounts(given)]
    problems += [*_repeats(given, KEYS_LOCATION, "name"), *_repeats(given, KEYS_LOCATION, "key")]
    try:
        config = Config.model_validate(given, context={"cwd": cwd})
    except ValidationError as error:
        told = {location for location, _ in problems}
        problems += [problem for problem in sentences(error, Config, written=written) if problem[0] not in told]
    else:
        if not problems:
            return config
    raise config_error(problems, lambda location: _label(location, env))


def _file(env: Mapping[str, str], cwd: Path) -> Path | None:
    if named := env.get("GATEWAY_CONFIG"):
        file = cwd / named
        if not file.is_file():
            raise ConfigError(f"GATEWAY_CONFIG: must name a YAML file; there is none at {file}")
        return file
    file = cwd / "config.yaml"
    return file if file.is_file() else None


class _Loader(yaml.SafeLoader):
    """Plain YAML in which no key may stand twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(file.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{file}{place}: {error.problem}") from None  # its own text would quote the line
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(f"{file}: must be YAML in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    if not isinstance(tree, dict | None):
        raise ConfigError(f"{file}: must be a mapping of keys to values")
    return tree or {}


def _expand(value: Any, at: Location, env: Mapping[str, str], problems: list[Problem]) -> Any:
    """The value with references read. A key without a value is left out: it means the default."""
    if isinstance(value, str):
        return _text(value, at, env, problems)
    if isinstance(value, list):
        return [_expand(item, (*at, index), env, problems) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    problems += [((*at, str(key)), "must be text: put this key in quotes") for key in value if not isinstance(key, str)]
    return {str(key): _expand(item, (*at, str(key)), env, problems) for key, item in value.items() if item is not None}


def _text(text: str, at: Location, env: Mapping[str, str], problems: list[Problem]) -> str:
    def read(match: re.Match[str]) -> str:
        escaped, name, default = match.groups()
        if escaped:
            return "${"
        if name is None:
            problems.append((at, "must refer to a variable as ${NAME} or ${NAME:-default}; a plain ${ is written $${"))
            return ""
        if default is not None:
            return env.get(name) or default
        if name not in env:
            problems.append((at, f"needs the environment variable {name}, which is not set; ${{{name}:-}} allows that"))
        return env.get(name, "")

    return REFERENCE.sub(read, text)


def _override(tree: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    for variable, location in OVERRIDES.items():
        if env.get(variable) or (variable == NEVER_EMPTY and variable in env):
            tree = _with(tree, location, env[variable])
    if keys := _environment_keys(env):
        tree = _with(tree, KEYS_LOCATION, keys)
    if previous := _listed(env.get(PREVIOUS_VARIABLE, "")):
        tree = _with(tree, PREVIOUS_LOCATION, previous)
    return tree


def _with(tree: Any, location: tuple[str, ...], value: object) -> Any:
    """The tree with one value put in. A part that is no mapping stays, to be complained of."""
    if not location:
        return value
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        return tree
    return tree | {location[0]: _with(tree.get(location[0]), location[1:], value)}


def _environment_keys(env: Mapping[str, str]) -> list[dict[str, str]]:
    keys = _listed(env.get(KEYS_VARIABLE, ""))
    return [{"name": f"env-{number}", "key": key, "role": "admin"} for number, key in enumerate(keys, start=1)]


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _repeats(tree: object, location: Location, field: str) -> list[Problem]:
    """Entries of the list at `location` whose `field` an earlier entry has too."""
    first: dict[str, int] = {}
    problems: list[Problem] = []
    for index, entry in enumerate(_list_at(tree, location)):
        value = entry.get(field) if isinstance(entry, dict) else None
        if not isinstance(value, str):
            continue
        if (earlier := first.setdefault(value, index)) != index:
            problems.append(((*location, index, field), f"is the same as that of {path_of((*location, earlier))}"))
    return problems


def _repeated_accounts(tree: object) -> list[Problem]:
    upstreams = range(len(_list_at(tree, ("upstreams",))))
    return [problem for index in upstreams for problem in _repeats(tree, ("upstreams", index, "accounts"), "name")]


def _list_at(tree: Any, location: Location) -> list[Any]:
    for part in location:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return []
    return tree if isinstance(tree, list) else []


def _label(location: Location, env: Mapping[str, str]) -> str:
    """Where an operator finds the value: the variable it came from, or its path in the file."""
    if location[:2] == KEYS_LOCATION and len(location) > 2 and _environment_keys(env):
        return f"{KEYS_VARIABLE}: env-{int(location[2]) + 1}"
    for variable, place in OVERRIDES.items():
        if location == place and variable in env and (env[variable] or variable == NEVER_EMPTY):
            return variable
    return path_of(location)
