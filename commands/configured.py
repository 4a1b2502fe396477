"""How commands get their settings: from the environment, or from the running instance of the home."""

import json
import sys
from typing import Any

import typer
from pydantic import ValidationError

from settings import Settings, environment_name


def settings_or_exit() -> Settings:
    """Return the settings, or say in one sentence what is wrong with which variable and exit with 2."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = environment_name(str(first["loc"][0]))
        print(f"{variable} is not usable: {first['msg']} (it is {first['input']!r}).", file=sys.stderr)
        raise typer.Exit(2) from error


def running_instance(settings: Settings) -> dict[str, Any]:
    """Return sandbox.json of the running instance, or say that there is none and exit with 2."""
    try:
        content: dict[str, Any] = json.loads(settings.sandbox_file.read_text())
    except (FileNotFoundError, ValueError) as error:
        print(f"No instance runs in {settings.home.absolute()}: start one with `make up`.", file=sys.stderr)
        raise typer.Exit(2) from error
    return content
