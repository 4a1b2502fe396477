"""`ledgerline keys`: API keys of the running instance, over its own API with the admin key.

Only the key's hash is kept: it is shown once, when it is made.
"""

import secrets
import sys
from typing import Annotated

import psycopg
import typer

from commands.asking import ask
from commands.configured import settings_or_exit
from domain.identifiers import new_identifier
from embedded.seed import enter_admin_key
from settings import environment_name

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def keys() -> None:
    """API keys of the running instance."""


@app.command()
def create(
    merchant: Annotated[str | None, typer.Option(help="mer_…; none for an admin key.")] = None,
    mode: Annotated[str, typer.Option(help="test or live.")] = "test",
) -> None:
    """Make a key and print it, once."""
    kind = "secret" if merchant else "admin"
    body = {"kind": kind, "mode": mode} | ({"merchant": merchant} if merchant else {})
    made = ask("POST", "/v1/api_keys", body)
    print(made["secret"])


@app.command()
def first() -> None:
    """Make the first admin key, straight in the database of LEDGERLINE_DATABASE_ADMIN_URL, and print it, once.

    For installations without `ledgerline up`, which makes one by itself.
    """
    settings = settings_or_exit()
    if settings.database_admin_url is None:
        print(f"{environment_name('database_admin_url')} says which database; set it.", file=sys.stderr)
        raise typer.Exit(2)
    key = f"ak_{secrets.token_urlsafe(32)}"
    try:
        enter_admin_key(settings.database_admin_url, new_identifier("key"), key)
    except psycopg.Error as error:
        print(f"No key was made: {' '.join(str(error).split())}.", file=sys.stderr)
        raise typer.Exit(1) from error
    print(key)


@app.command(name="list")
def list_keys() -> None:
    """Print every key's id, merchant, mode and last four characters."""
    for key in ask("GET", "/v1/api_keys")["data"]:
        owner, mode = key["merchant"] or "admin", key["mode"] or ""
        print(f"{key['id']:<32} {owner:<30} {mode:<5} …{key['last4']}  {key['status']}")


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="key_… as `list` shows it.")]) -> None:
    """Revoke a key; requests with it are refused within half a minute."""
    ask("DELETE", f"/v1/api_keys/{key_id}")
    print(f"{key_id} is revoked")
