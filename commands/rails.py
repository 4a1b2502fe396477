"""`ledgerline rails`: which rails are switched on, and a package to start a new one from."""

import keyword
import re
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from commands.configured import settings_or_exit
from rails.adapter import RailProfile
from rails.configuration import read_configurations
from rails.registry import build_rails
from settings import ROOT

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

TEMPLATE = ROOT / "rails" / "template"
TEMPLATE_NAME = "toy"
RAIL_NAME = re.compile(r"[a-z][a-z0-9_]{1,30}")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".pytest_cache")
NOWHERE = "http://127.0.0.1:9"
NO_DATABASE = "postgresql://127.0.0.1:9/none"


@app.callback()
def rails() -> None:
    """Which rails are switched on, and a package to start a new one from."""


@app.command("list")
def list_rails() -> None:
    """Show the rails this home's configuration switches on. Connects to none of them."""
    settings = settings_or_exit()
    try:
        configurations = read_configurations(settings.rails_path)
        switched_on = build_rails(
            sandbox_url=settings.rails_url or NOWHERE, configurations=configurations, database_url=NO_DATABASE
        )
    except ValueError as error:
        print(f"The rails cannot be built: {error}.", file=sys.stderr)
        raise typer.Exit(2) from error
    table = Table("rail", "flows", "currencies", "final", "re-send safe", title=None)
    for profile in switched_on.all_profiles():
        table.add_row(*_row(profile))
    Console(soft_wrap=True).print(table)
    more = "is read" if settings.rails_path.exists() else "does not exist, so only the sandbox's are on"
    print(f"{settings.rails_path} {more}.")


@app.command("new")
def new_rail(
    name: Annotated[str, typer.Argument(help="The rail's name: lower-case letters, digits and _.")],
    into: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path(),
) -> None:
    """Make a package for a new rail from the template. Nothing that exists is written over."""
    if not RAIL_NAME.fullmatch(name) or keyword.iskeyword(name):
        print(f"{name} is no name for a rail: lower-case letters, digits and _, 2 to 31 of them.", file=sys.stderr)
        raise typer.Exit(2)
    folder = into / f"ledgerline-rail-{name}"
    if folder.exists():
        print(f"{folder} is there already; it stays as it is.", file=sys.stderr)
        raise typer.Exit(2)
    shutil.copytree(TEMPLATE, folder, ignore=NOT_COPIED)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            path.write_text(_renamed(path.read_text("utf-8"), name), "utf-8")
        if TEMPLATE_NAME in path.name:
            path.rename(path.with_name(path.name.replace(TEMPLATE_NAME, name)))
    print(f"{folder} is made; its README.md says what to change in which order.")


def _renamed(text: str, name: str) -> str:
    title = "".join(part.capitalize() for part in name.split("_"))
    return text.replace(TEMPLATE_NAME, name).replace(TEMPLATE_NAME.capitalize(), title)


def _row(profile: RailProfile) -> tuple[str, str, str, str, str]:
    currencies = sorted(profile.currencies)
    shown = ", ".join(currencies) if len(currencies) <= 4 else f"{len(currencies)} currencies"
    flows = ", ".join(sorted(flow.value for flow in profile.flows))
    return (
        profile.name,
        flows,
        shown,
        "at once" if profile.final_funds else "later",
        "yes" if profile.idempotent else "no",
    )
