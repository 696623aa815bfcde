"""What is wrong with a configuration, in sentences that an operator can act on."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.sections import OpenSection
from gateway.errors import ConfigError

Location = tuple[int | str, ...]
Problem = tuple[Location, str]
Options = TypeVar("Options", bound=BaseModel)

LONGEST_VALUE_SHOWN = 60
PLAIN_WORDS = {
    "missing": "is missing",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "frozen_set_type": "must be a list",
    "set_type": "must be a list",
}


def path_of(location: Location) -> str:
    """`("upstreams", 0, "name")` as an operator writes it: `upstreams[0].name`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def sentences(
    error: ValidationError, model: type[BaseModel], *, written: object = None, also: Iterable[str] = ()
) -> list[Problem]:
    """Each error as its location and a sentence.

    `written`: the tree as it stands in the file, with `${NAME}` unread. `also`: further keys known at the top.
    """
    return [
        (location, _sentence(details, location, model, written, also))
        for details in error.errors(include_url=False)
        if details["type"] != "default_factory_not_called"
        for location in [_location(details)]
    ]


def config_error(problems: Sequence[Problem], label: Callable[[Location], str] = path_of) -> ConfigError:
    """One error that tells every problem."""
    lines = [f"{label(location)}: {text}" if location else text for location, text in problems]
    if len(lines) == 1:
        return ConfigError(lines[0])
    return ConfigError("\n  ".join([f"the configuration has {len(lines)} problems:", *lines]))


def read_options(section: OpenSection, model: type[Options], path: str) -> Options:
    """The keys of a stanza or account that belong to its type, checked by the type's own model.

    `path` is where the section stands, like `upstreams[0]`. Raises ConfigError that names each wrong key under it.
    """
    try:
        return model.model_validate(section.options)
    except ValidationError as error:
        problems = sentences(error, model, also=type(section).model_fields)
    raise config_error([((path, *location), text) for location, text in problems])


def _location(details: ErrorDetails) -> Location:
    return tuple(part for part in details["loc"] if part != "[key]")


def _sentence(
    details: ErrorDetails, location: Location, model: type[BaseModel], written: object, also: Iterable[str]
) -> str:
    if details["type"] == "extra_forbidden":
        return _unknown(str(location[-1]), [*_keys_at(model, location[:-1]), *(also if len(location) == 1 else ())])
    if details["type"] != "rule":
        plain = details["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
        return PLAIN_WORDS.get(details["type"], plain)
    return details["msg"] + (_got(details, location, written) if details["ctx"]["shown"] else "")


def _unknown(key: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key; did you mean '{near[0]}'?" if near else f"unknown key; there are {', '.join(known) or 'none'}"


def _got(details: ErrorDetails, location: Location, written: object) -> str:
    value = details["input"]
    if isinstance(value, Mapping | list):
        return ""
    source = _at(written, location)
    if isinstance(source, str) and "${" in source:
        return f' (got what "{source}" stands for)'
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f" (got {text})" if len(text) <= LONGEST_VALUE_SHOWN else f" (got {text[:LONGEST_VALUE_SHOWN]}…)"


def _at(tree: Any, location: Location) -> object:
    for part in location:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _keys_at(model: type[BaseModel], location: Location) -> list[str]:
    """The keys of the section at a location."""
    section = model
    for part in location:
        if isinstance(part, str) and part in section.model_fields:  # else a name that the operator gave
            section = _section_in(section.model_fields[part].annotation) or section
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _section_in(inner))), None)
