"""What operators send about accounts: read, checked, and told by name where it cannot be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError
from starlette.requests import Request

from gateway.accounts.book import Entry
from gateway.accounts.roster import Configured
from gateway.config import AccountConfig
from gateway.config.problems import Problem, path_of, sentences
from gateway.errors import ConfigError, Conflict, InvalidRequest, NoMasterKey
from gateway.routes.house import read_body
from gateway.upstreams import types
from gateway.upstreams.base import Upstream
from gateway.wire import body as wire_body

CREDENTIAL: Final = frozenset({"api_key", "token"})
FIXED: Final = frozenset({"name", "upstream", "type"})
"""Another value of these would be another account."""
KEYS: Final = frozenset(AccountConfig.model_fields) | CREDENTIAL

_PATH = re.compile(r"([\w.\[\]-]+): ")


class Draft(NamedTuple):
    """An account that is to be added."""

    upstream: str
    account: AccountConfig
    type: str | None
    """Where it brings its upstream with it: the upstream's type."""
    base_url: str | None
    """Of that upstream. None: the type's own."""


async def values_of(request: Request) -> dict[str, Any]:
    return wire_body.decoded(wire_body.decode(await read_body(request)))


def draft_of(values: Mapping[str, Any], found: Sequence[Configured], entries: Sequence[Entry]) -> Draft:
    """The account that a body asks for. `entries`: those there are.

    Where it names no configured upstream it brings one with it, and so does the next account there: then each of them
    alone keeps it. `base_url` is that of the upstream if it is the first. Raises InvalidRequest.
    """
    given = {name: value for name, value in values.items() if value is not None}
    upstream, type_name = _word(given, "upstream"), _word(given, "type")
    if upstream is None:
        raise _missing("upstream")
    keys = {name: value for name, value in given.items() if name not in ("upstream", "type")}
    configured = next((one for one in found if one.stanza.name == upstream), None)
    if configured is not None:
        if type_name not in (None, configured.stanza.type):
            raise InvalidRequest(f"the upstream {upstream!r} is of type {configured.stanza.type}", param="type")
        first = next((entry for entry in entries if entry.upstream == upstream and entry.type), None)
        account = account_of(keys, type(configured.upstream), ("upstream", "type"))
        return Draft(upstream, account, first.type if first else None, first.base_url if first else None)
    kind = _new_kind(upstream, type_name, [one.stanza.name for one in found])
    account = account_of(keys, kind, ("upstream", "type"))
    return Draft(upstream, account, kind.type_name, account.base_url)


def account_of(keys: Mapping[str, Any], kind: type[Upstream], also: Collection[str] = ()) -> AccountConfig:
    """An account of a type. Raises InvalidRequest that names every wrong key and what is near; `also` are others."""
    try:
        account = AccountConfig.model_validate(keys)
    except ValidationError as error:
        raise _refusal(sentences(error, AccountConfig)) from None
    try:
        kind.account_options_model.model_validate(account.options)
    except ValidationError as error:
        known = KEYS.union(also)
        raise _refusal(sentences(error, kind.account_options_model, also=known)) from None
    if kind.needs_credential and not account.api_key:
        raise _missing("api_key", f"for an account of type {kind.type_name}")
    if account.base_url and "@" in urlsplit(account.base_url).netloc:
        raise InvalidRequest("'base_url' must not hold a user name or password: it is kept readable", param="base_url")
    return account


def changed(entry: Entry, values: Mapping[str, Any], kind: type[Upstream]) -> AccountConfig:
    """The account of an entry with other values; null takes one back. Raises InvalidRequest."""
    keys = {**_kept(entry.account), **values}
    return account_of({name: value for name, value in keys.items() if value is not None}, kind)


def flag(values: Mapping[str, Any], name: str) -> bool | None:
    """None where it is absent; null is the default, true."""
    if name not in values:
        return None
    if not isinstance(values[name], bool | None):
        raise InvalidRequest(f"'{name}' must be true or false", param=name)
    return values[name] is not False


def asked(request: Request, name: str) -> bool:
    """A yes or no of the query; no where it is absent."""
    word = request.query_params.get(name, "false")
    if word not in ("true", "false"):
        raise InvalidRequest(f"'{name}' must be true or false", param=name)
    return word == "true"


@contextmanager
def answered() -> Iterator[None]:
    """What the rooms below say about a configuration, as errors of a request."""
    try:
        yield
    except NoMasterKey as error:
        raise Conflict(str(error), code="no_master_key") from error
    except ConfigError as error:
        path = _PATH.match(str(error))
        raise InvalidRequest(str(error), param=path[1] if path else None) from error


def _kept(account: AccountConfig) -> dict[str, Any]:
    return account.model_dump(exclude_unset=True)


def _word(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not (isinstance(value, str) and value):
        raise InvalidRequest(f"'{name}' must be text, not empty", param=name)
    return value


def _new_kind(upstream: str, type_name: str | None, configured: Sequence[str]) -> type[Upstream]:
    """The type of an upstream that comes into being. Raises InvalidRequest."""
    known = types()
    if type_name is not None:
        if type_name in known:
            return known[type_name]
        raise InvalidRequest(f"'type' {type_name[:40]!r} is not known{_near(type_name, known)}", param="type")
    found = known.get(upstream) or next((kind for kind in known.values() if kind.env_name == upstream), None)
    if found is None:
        raise InvalidRequest(
            f"no upstream {upstream[:40]!r} is configured{_near(upstream, {*configured, *known})}; "
            f"to make one, give its 'type', one of {', '.join(sorted(known))}",
            param="upstream",
        )
    return found


def _near(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else f": there are {', '.join(sorted(known))}"


def _missing(name: str, why: str = "") -> InvalidRequest:
    return InvalidRequest(f"'{name}' is required {why}".rstrip(), param=name, code="missing_required_parameter")


def _refusal(problems: Sequence[Problem]) -> InvalidRequest:
    told = [f"'{path_of(where)}' {_as_a_clause(text)}" if where else f"an account {text}" for where, text in problems]
    (first, text), *_ = problems
    unknown = text.startswith("unknown key")
    code = "unknown_parameter" if unknown else "missing_required_parameter" if text == "is missing" else None
    return InvalidRequest("; ".join(told), param=path_of(first) or None, code=code)


def _as_a_clause(text: str) -> str:
    return f"is an {text}" if text.startswith("unknown key") else text
