"""How commands ask the running instance: over its own API, with its admin key."""

import secrets
import sys
from typing import Any

import httpx
import typer

from commands.configured import running_instance, settings_or_exit


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the API's answer, or print its problem in one line and exit with 1."""
    instance = running_instance(settings_or_exit())
    headers = {"Authorization": f"Bearer {instance['admin_key']}"}
    if method == "POST":
        headers["Idempotency-Key"] = f"cli_{secrets.token_hex(12)}"
    try:
        answer = httpx.request(method, instance["api_url"] + path, json=body, headers=headers, timeout=30)
    except httpx.TransportError as error:
        print(f"The API at {instance['api_url']} does not answer ({error}).", file=sys.stderr)
        raise typer.Exit(1) from error
    content: dict[str, Any] = answer.json() if answer.content else {}
    if not answer.is_success:
        print(f"{answer.status_code} {content.get('code')}: {content.get('detail')}", file=sys.stderr)
        raise typer.Exit(1)
    return content
