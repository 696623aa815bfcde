"""`mediagate accounts`: the accounts of a gateway that runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import yaml

from gateway.cli.calling import KeyOption, UrlOption, gateway_at, path_of
from gateway.cli.plainly import FAILED, printable, stop

app = typer.Typer(no_args_is_help=True, help="See and change the accounts of a gateway that runs, with no restart.")

Account = Annotated[str, typer.Argument(metavar="UPSTREAM/NAME", help="Which account.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
BalanceOption = Annotated[bool, typer.Option("--balance", help="Ask the upstreams what is left.")]
EnvOption = Annotated[str | None, typer.Option("--api-key-env", metavar="NAME", help="The variable that holds it.")]
StdinOption = Annotated[bool, typer.Option("--stdin", help="Read it from standard input.")]
ProxyOption = Annotated[str | None, typer.Option("--proxy-env", metavar="NAME", help="The variable with its proxy.")]


@app.command("list")
def list_all(
    balance: BalanceOption = False, as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Every account and how it stands."""
    found = gateway_at(url, key).ask("GET", "/api/accounts" + ("?balance=true" if balance else ""))["data"]
    if as_json:
        print(json.dumps(found))
        return
    from gateway.cli.account_table import print_list

    print_list(found, balance=balance)


@app.command()
def show(
    account: Account,
    balance: BalanceOption = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """All that is known of one account."""
    found = gateway_at(url, key).ask("GET", path_of(account) + ("?balance=true" if balance else ""))
    if as_json:
        print(json.dumps(found))
        return
    from gateway.cli.account_table import print_one

    print_one(found)


@app.command()
def add(
    account: Account,
    type_name: Annotated[str | None, typer.Option("--type", help="Of an upstream that is not configured yet.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Where it lives, if elsewhere.")] = None,
    label: Annotated[str | None, typer.Option(help="Your own words for it.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other key, as the config has it.")
    ] = None,
    proxy_env: ProxyOption = None,
    api_key_env: EnvOption = None,
    stdin: StdinOption = False,
    no_credential: Annotated[bool, typer.Option("--no-credential", help="For an upstream that needs none.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Add an account; it serves at once. Its credential is asked for, and is never an argument."""
    path_of(account)
    upstream, _, name = account.partition("/")
    body = {**_settings(settings or ()), "upstream": upstream, "name": name}
    given = {"type": type_name, "base_url": base_url, "label": label, "proxy": _variable(proxy_env)}
    body |= {name: value for name, value in given.items() if value is not None}
    gateway = gateway_at(url, key)
    if not no_credential:
        body["api_key"] = _credential(account, api_key_env, stdin)
    added = gateway.ask("POST", "/api/accounts", body)
    _say(f"{account} was added{_fingerprint(added)}")


@app.command("test")
def try_out(account: Account, url: UrlOption = None, key: KeyOption = None) -> None:
    """Ask its upstream whether it works. Spends nothing."""
    told = gateway_at(url, key).ask("POST", path_of(account, "test"))
    if told["ok"] is None:
        _say(f"{account}: {told['message']}")
        return
    if not told["ok"]:
        stop(f"{account} does not work: {told['error']['message']} ({told['error']['code']})", FAILED)
    from gateway.cli.account_table import balance_of

    left = f", {balance_of(told['balance'])} left" if told["balance"] and "error" not in told["balance"] else ""
    _say(f"{account} works ({told['seconds']:g} s{left})")


@app.command()
def disable(account: Account, url: UrlOption = None, key: KeyOption = None) -> None:
    """Give it no new work. What it does already goes on."""
    gateway_at(url, key).ask("POST", path_of(account, "disable"))
    _say(f"{account} is disabled: it gets no new work")


@app.command()
def enable(account: Account, url: UrlOption = None, key: KeyOption = None) -> None:
    """Give it work again."""
    gateway_at(url, key).ask("POST", path_of(account, "enable"))
    _say(f"{account} is enabled")


@app.command()
def renew(account: Account, url: UrlOption = None, key: KeyOption = None) -> None:
    """Forget its faults: whatever was wrong with it was seen to."""
    renewed = gateway_at(url, key).ask("POST", path_of(account, "renew"))
    _say(f"{account} starts afresh: {renewed['standing']['status']}")


@app.command()
def label(
    account: Account,
    text: Annotated[str, typer.Argument(help="Your own words for it; empty for none.")],
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Name it in your own words."""
    gateway_at(url, key).ask("PATCH", path_of(account), {"label": text})
    _say(f"{account} is labelled {text!r}")


@app.command()
def rotate(
    account: Account,
    api_key_env: EnvOption = None,
    stdin: StdinOption = False,
    proxy_env: ProxyOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Give it another credential, which is asked for. It starts afresh."""
    path, gateway, proxy = path_of(account, "credential"), gateway_at(url, key), _variable(proxy_env)
    body = {"api_key": _credential(account, api_key_env, stdin)} | ({"proxy": proxy} if proxy else {})
    rotated = gateway.ask("POST", path, body)
    _say(f"{account} has another credential{_fingerprint(rotated)}")


@app.command()
def remove(
    account: Account,
    force: Annotated[bool, typer.Option("--force", help="Even while tasks need it; they fail.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Remove an account that was added."""
    gateway_at(url, key).ask("DELETE", path_of(account) + ("?force=true" if force else ""))
    _say(f"{account} was removed")


def _say(sentence: str) -> None:
    print(printable(sentence))


def _fingerprint(account: dict[str, Any]) -> str:
    digits = account["credential"]["fingerprint"]
    return f" (fingerprint of its credential: {digits})" if digits else ""


def _settings(given: Sequence[str]) -> dict[str, Any]:
    found = {}
    for setting in given:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            stop(f"--set {setting!r}: write it as KEY=VALUE")
        if name in ("api_key", "token"):
            stop("the credential is never an argument, which others see: use --stdin or --api-key-env NAME")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            stop(f"--set {name}: the value must be YAML, as in the config")
    return found


def _credential(account: str, variable: str | None, stdin: bool) -> str:
    """Read it where nobody else sees it. Ends the command where there is none."""
    if variable is not None:
        return _variable(variable) or ""
    if stdin:
        found = sys.stdin.read().strip()
    elif sys.stdin.isatty():
        found = typer.prompt(f"Credential of {account}", hide_input=True, err=True).strip()
    else:
        stop("there is nobody to ask for the credential: use --stdin or --api-key-env NAME")
    return found or stop("the credential is empty")


def _variable(name: str | None) -> str | None:
    if name is None:
        return None
    return os.environ.get(name, "").strip() or stop(f"the environment variable {printable(name)} is not set, or empty")
