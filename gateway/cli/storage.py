"""`mediagate storage`: the storage of a gateway that runs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gateway.cli.calling import KeyOption, UrlOption, gateway_at
from gateway.cli.plainly import FAILED, printable, stop

app = typer.Typer(no_args_is_help=True, help="Look after the storage of a gateway that runs.")

PATH = "/api/storage"
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run/--for-real", help="Only say what would be done.")]


@app.command()
def show(as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None) -> None:
    """What lies there, and what came of the last check, collection and retention."""
    found = gateway_at(url, key).ask("GET", PATH)
    if not _as_json(found, as_json):
        from gateway.cli.storage_table import print_storage

        print_storage(found)


@app.command()
def check(url: UrlOption = None, key: KeyOption = None) -> None:
    """Write, read, list and delete a small object, and say what is wrong where that fails."""
    found = gateway_at(url, key).ask("POST", f"{PATH}/check")
    print(printable(f"the storage works ({', '.join(found['steps'])}: {found['seconds']:g} s)"))


@app.command()
def collect(
    dry_run: DryRunOption = True,
    older_than_hours: Annotated[
        float | None, typer.Option(metavar="HOURS", help="How old an object must be. Default 24, at least 2.")
    ] = None,
    include_earlier: Annotated[
        bool, typer.Option("--include-earlier", help="Also what is older than this installation.")
    ] = False,
    remove_missing: Annotated[
        bool, typer.Option("--remove-missing", help="Also remove rows whose object is missing for as long.")
    ] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Delete objects that nothing names. Only says which ones they are, unless --for-real."""
    body: dict[str, Any] = {
        "dry_run": dry_run,
        "include_earlier": include_earlier,
        "remove_missing": remove_missing,
    }
    if older_than_hours is not None:
        body["older_than_hours"] = older_than_hours
    found = gateway_at(url, key).ask("POST", f"{PATH}/collect", body)
    if not _as_json(found, as_json):
        from gateway.cli.storage_table import print_collection

        print_collection(found)
    if problem := found["problem"] or found["missing"]["problem"]:
        stop(problem, FAILED)


@app.command()
def retention(
    dry_run: DryRunOption = True, as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Remove what is over its time by the config. Only says what that is, unless --for-real."""
    found = gateway_at(url, key).ask("POST", f"{PATH}/retention", {"dry_run": dry_run})
    if _as_json(found, as_json):
        return
    if not found["data"]:
        print("everything is kept for good: the config has no days under 'retention'")
        return
    from gateway.cli.storage_table import print_retention

    print_retention(found)


def _as_json(found: Any, wanted: bool) -> bool:
    if wanted:
        print(json.dumps(found))
    return wanted
