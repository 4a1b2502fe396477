"""`ledgerline keys`: API keys of the running instance, over its own API with the admin key.

Only the key's hash is kept: it is shown once, when it is made.
"""

from typing import Annotated

import typer

from commands.asking import ask

app = typer.Typer(no_args_is_help=True)


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
    print(made["key"])


@app.command(name="list")
def list_keys() -> None:
    """Print every key's id, merchant, mode and last four characters."""
    for key in ask("GET", "/v1/api_keys")["data"]:
        state = "revoked" if key.get("revoked_at") else "active"
        print(f"{key['id']}  {key.get('merchant') or 'admin':<28} {key['mode']:<5} …{key['last4']}  {state}")


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="key_… as `list` shows it.")]) -> None:
    """Revoke a key; requests with it are refused within half a minute."""
    ask("DELETE", f"/v1/api_keys/{key_id}")
    print(f"{key_id} is revoked")
